"""VGG16 and ResNet50 against Keras, ResNet50 against TF-slim, whole networks.

Golden arrays: tools/goldens/keras_nets.py and resnet_slim.py, which say how weights are drawn.
"""

import jax
import numpy as np
import pytest
from flax import nnx
from original import drawn, golden, run

from jaxfacs import convert, models

ODD = 183


def _state(arrays):
    """Tensors in Keras' layout, drawn as torch's: the fan-in that scales them is read there."""
    state = {}
    for (name, shape), scale in zip(
        drawn().unpack_shapes(arrays).items(), arrays["scales"], strict=True
    ):
        if len(shape) == 4:
            turned = drawn().draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
        else:
            turned = drawn().draw(name, shape[::-1]).T
        state[name] = turned * scale
    return state


@pytest.mark.slow  # up to 138 million weights are drawn, and one program is compiled a size
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_network_equals_keras(name):
    arrays = golden(f"{name}_keras")
    module = convert.from_keras(name, _state(arrays))
    # Keras' networks read B, G, R; conversion turns the first layer to R, G, B.
    x = drawn().draw_input((2, 224, 224, 3))[..., ::-1]
    ours = run(module, x[:, None])["occurrence"]
    np.testing.assert_allclose(ours, arrays["logits_BA"], rtol=0, atol=1e-4)

    graphdef, params, stats = models.split(module)

    @jax.jit
    def pooled(params, stats, x_NHWC):
        net = nnx.merge(graphdef, params, stats)
        return net.backbone(x_NHWC, train=False, dropout_key=None)["map"].mean((1, 2))

    x = drawn().draw_input((2, ODD, ODD, 3))[..., ::-1]
    ours = pooled(params, stats, x)
    np.testing.assert_allclose(ours, arrays["pooled_BC"], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_resnet50_equals_slim():
    arrays = golden("resnet50_slim")
    module = convert.from_torch("resnet50", _state(arrays), form="slim")
    for size in (224, ODD):
        x = drawn().draw_input((2, size, size, 3))
        ours = run(module, x[:, None])["occurrence"]
        np.testing.assert_allclose(ours, arrays[f"logits_{size}_BA"], rtol=0, atol=1e-4)
