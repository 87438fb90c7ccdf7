"""Swin against torchvision's, and against ME-GraphAU's copy of Microsoft's.

Golden arrays: tools/goldens/swin.py, which says how weights are drawn.
"""

import numpy as np
import pytest
from original import converted, drawn, golden, run

TOLERANCE = 1e-4
BATCH = 2


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("swin_t", (224, 224)),
        ("swin_t", (199, 90)),  # windows, merging and shifts all need padding here
        pytest.param("swin_s", (224, 224), marks=pytest.mark.slow),
        pytest.param("swin_s", (199, 90), marks=pytest.mark.slow),
        pytest.param("swin_b", (224, 224), marks=pytest.mark.slow),
        pytest.param("swin_b", (199, 90), marks=pytest.mark.slow),
    ],
)
def test_torchvision(name, size):
    expected = golden(name)
    net = converted(name, drawn().unpack_shapes(expected))
    x_NHWC = drawn().draw_input((BATCH, *size, 3))
    taps = run(net.backbone, x_NHWC)
    logits = net.head(taps, train=False, dropout_key=None)["occurrence"]
    label = f"{size[0]}x{size[1]}"
    assert np.abs(logits - expected[f"logits_{label}_BA"]).max() <= TOLERANCE
    layer3 = taps["layer3"].mean((1, 2))
    assert np.abs(layer3 - expected[f"layer3_{label}_BC"]).max() <= TOLERANCE


@pytest.mark.slow
def test_me_graphau():
    expected = golden("swin_b_graphau")
    net = converted("swin_b", drawn().unpack_shapes(expected))
    taps = run(net.backbone, drawn().draw_input((BATCH, 224, 224, 3)))
    tokens_BTC = taps["map"].reshape(BATCH, 49, -1)
    direction_C = drawn().draw("direction", (1, tokens_BTC.shape[-1]))[0]
    assert np.abs(tokens_BTC.mean(1) - expected["mean_BC"]).max() <= TOLERANCE
    assert np.abs(tokens_BTC @ direction_C - expected["projected_BT"]).max() <= TOLERANCE
    assert np.abs(taps["features"] - expected["mean_BC"]).max() <= TOLERANCE
