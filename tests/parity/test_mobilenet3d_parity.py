"""3D MobileNets against PyTorch: answers in both modes, and a whole training step.

The golden arrays are of tools/goldens/mobilenet3d.py, in float64.
"""

import gradient_check
import jax
import numpy as np
import original
import pytest

from jaxfacs import convert, models
from jaxfacs.train import losses

WIDTH = 0.2
CLIP = (4, 16, 66, 66, 3)
RULES = ((r"^classifier\.1", "head.occurrence"), (r"^features", "backbone.features"))


@pytest.fixture(scope="module", params=["mobilenet3d_v1", "mobilenet3d_v2"])
def parity(request):
    file, drawn = original.golden(request.param), original.drawn()
    shapes = drawn.unpack_shapes(file)
    net = convert.from_torch(request.param, drawn.draw_state(shapes), width=WIDTH, dropout=0.0)
    return file, shapes, net, drawn.draw_input(CLIP, seed=int(file["seed"]))


def test_inference_equals_torch(parity):
    file, _, net, x_BTHWC = parity
    outputs = original.run(net, x_BTHWC)
    np.testing.assert_allclose(outputs["occurrence"], file["inference_BA"], rtol=0, atol=1e-4)


def test_training_step_equals_torch(parity):
    file, shapes, net, x_BTHWC = parity
    graphdef, params, stats = models.split(net)

    @jax.jit
    def run(params, stats, x_BTHWC):
        def loss(params):
            outputs, new = models.apply(graphdef, params, stats, x_BTHWC, train=True)
            total, weight = losses.bce(outputs["occurrence"], file["label_BA"])
            return total / weight, (outputs, new)

        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, (outputs, new_stats)), gradients = run(params, stats, x_BTHWC)
    np.testing.assert_allclose(outputs["occurrence"], file["training_BA"], rtol=0, atol=1e-4)
    assert float(loss) == pytest.approx(float(file["loss"]), rel=0, abs=1e-5)
    assert len(file["gradient_names"]) == len(jax.tree.leaves(gradients))
    assert gradient_check.wrong_gradients(file, shapes, gradients, RULES) == {}
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), stats, new_stats)
    assert min(jax.tree.leaves(moved)) > 0
