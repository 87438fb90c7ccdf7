"""AlexNet, VGG16, MobileNetV2 and ResNets against torchvision's classes, whole networks.

Golden arrays: tools/goldens/torchvision_nets.py, which says how the weights are drawn and what
stands in for Caffe's AlexNet.
"""

import jax
import numpy as np
import pytest
from flax import nnx
from original import drawn, golden

from jaxfacs import convert, models

# golden -> (network, form of its weights, tap in the middle, whether the original reads B, G, R)
NETS = {
    "alexnet": ("alexnet", "torchvision", "conv3", False),
    "alexnet_caffe": ("alexnet", "caffe", "conv3", True),
    "vgg16": ("vgg16", "torchvision", "conv3_3", False),
    "mobilenet_v2": ("mobilenet_v2", "torchvision", "features10", False),
    "resnet18": ("resnet18", "torchvision", "layer2", False),
    "resnet50": ("resnet50", "torchvision", "layer2", False),
    "resnet101": ("resnet101", "torchvision", "layer2", False),
}


@pytest.mark.slow  # up to 138 million weights are drawn, and one program is compiled a size
@pytest.mark.parametrize("name", NETS)
def test_network_equals_torchvision(name):
    network, form, middle, bgr = NETS[name]
    arrays = golden(name)
    shapes = drawn().unpack_shapes(arrays)
    state = drawn().draw_state(shapes)
    for key, scale in zip(shapes, arrays["scales"], strict=True):
        state[key] *= scale
    module = convert.from_torch(network, state, form=form)
    graphdef, params, stats = models.split(module)

    @jax.jit
    def answer(params, stats, x_NHWC):
        net = nnx.merge(graphdef, params, stats)
        taps = net.backbone(x_NHWC, train=False, dropout_key=None)
        return net(x_NHWC[:, None], train=False)["occurrence"], taps[middle]

    sizes = [int(key.split("_")[1]) for key in arrays if key.startswith("logits")]
    assert len(sizes) == 2
    for size in sizes:
        logits = arrays[f"logits_{size}_BA"]
        x = drawn().draw_input((len(logits), size, size, 3))
        ours, tap = map(np.asarray, answer(params, stats, x[..., ::-1] if bgr else x))
        np.testing.assert_allclose(ours, logits, rtol=0, atol=1e-4)
        projection = (tap.astype(np.float64) * drawn().draw(f"{name}.{size}", tap.shape)).sum()
        np.testing.assert_allclose(
            [tap.mean(dtype=np.float64), projection], arrays[f"middle_{size}"], rtol=0, atol=1e-4
        )
