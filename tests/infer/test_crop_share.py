"""Where training cut squares out of its records, prediction shows the middle, as evaluation did."""

import numpy as np
import pytest

from jaxfacs.data import transforms
from jaxfacs.data.config import Augment
from jaxfacs.errors import UserError
from jaxfacs.infer.crop_spec import CropSpec

BOX = np.array([60, 40, 100, 100], np.float32)


@pytest.mark.parametrize(
    ("stored", "share", "size"), [(64, 0.875, 56), (64, 0.8, 32), (33, 0.5, 40)]
)
def test_prediction_sees_what_evaluation_saw(stored, share, size):
    frame = np.random.default_rng(0).integers(0, 256, (220, 240, 3), np.uint8)
    card = {"detector": "haar", "margin": 0.1, "size": stored}
    face = CropSpec.of_card(card, stored)(frame, BOX)
    drawn = transforms.unchanged(Augment(crop=share))
    expected = transforms.apply([face], drawn, size=size, rng=np.random.default_rng(0))[0]
    found = CropSpec.of_card({**card, "share": share}, size)(frame, BOX)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(UserError, match="share of a face"):
        CropSpec.of_card({"size": 8, "share": share}, 8)
