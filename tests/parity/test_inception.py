"""Inception V3 against torchvision's and Keras', Inception V2 against TF-slim's, whole networks.

Golden arrays: tools/goldens/inception.py, which says how weights are drawn.
"""

import numpy as np
import pytest
from original import converted, drawn, golden, run

from jaxfacs import convert

TOLERANCE = 1e-4


def _check(module, arrays, *, size, middle):
    """Compares the logits and the mean of the tap `middle` with the golden arrays."""
    label = f"{size[0]}x{size[1]}"
    logits = arrays[f"logits_{label}_BA"]
    taps = run(module.backbone, drawn().draw_input((len(logits), *size, 3)))
    ours = module.head(taps, train=False, dropout_key=None)["occurrence"]
    np.testing.assert_allclose(ours, logits, rtol=0, atol=TOLERANCE)
    mean_BC = taps[middle].mean((1, 2))
    np.testing.assert_allclose(mean_BC, arrays[f"middle_{label}_BC"], rtol=0, atol=TOLERANCE)


def _turned(arrays):
    """Tensors in TensorFlow's layout, drawn as torch's: the fan-in that scales them is there."""
    state = {}
    for name, shape in drawn().unpack_shapes(arrays).items():
        if len(shape) == 4:
            value = drawn().draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
        else:
            value = drawn().draw(name, shape[::-1]).T
        state[name] = value
    return state


@pytest.mark.parametrize("size", [pytest.param((299, 299), marks=pytest.mark.slow), (187, 140)])
def test_v3_equals_torchvision(size):
    arrays = golden("inception_v3")
    module = converted("inception_v3", drawn().unpack_shapes(arrays))
    _check(module, arrays, size=size, middle="Mixed_6e")


def test_v3_equals_keras():
    arrays = golden("inception_v3_keras")
    module = convert.from_keras("inception_v3", _turned(arrays))
    _check(module, arrays, size=(139, 139), middle="Mixed_6e")


@pytest.mark.parametrize("size", [(224, 224), (131, 90)])
def test_v2_equals_slim(size):
    arrays = golden("inception_v2")
    module = convert.from_torch("inception_v2", _turned(arrays), form="slim")
    _check(module, arrays, size=size, middle="Mixed_4e")
