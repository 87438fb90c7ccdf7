"""Xception against Keras', whole network.

Golden arrays: tools/goldens/xception.py, which says how weights are drawn.
"""

import numpy as np
import pytest
from original import drawn, golden, run

from jaxfacs import convert

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def arrays():
    return golden("xception")


@pytest.fixture(scope="module")
def module(arrays):
    state = {}
    shapes = drawn().unpack_shapes(arrays)
    for (name, shape), scale in zip(shapes.items(), arrays["scales"], strict=True):
        if len(shape) == 4:
            value = drawn().draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
        else:
            value = drawn().draw(name, shape[::-1]).T
        state[name] = scale * value
    return convert.from_keras("xception", state)


@pytest.mark.parametrize("size", [96, 107])
def test_network_equals_keras(arrays, module, size):
    logits = arrays[f"logits_{size}_BA"]
    taps = run(module.backbone, drawn().draw_input((len(logits), size, size, 3)))
    ours = module.head(taps, train=False, dropout_key=None)["occurrence"]
    np.testing.assert_allclose(ours, logits, rtol=0, atol=TOLERANCE)
    middle = taps["block7"].mean((1, 2))
    np.testing.assert_allclose(middle, arrays[f"middle_{size}_BC"], rtol=0, atol=TOLERANCE)
