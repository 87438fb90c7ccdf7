"""Overlays: any size of picture, the right side of the face."""

import numpy as np
import pytest

from jaxfacs.facs import ACTION_UNITS
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.infer.views import overlay


def result(labels, box=(40, 30, 120, 120), present=True):
    count = len(labels)
    face = FaceResult(
        face_id=3,
        confidence=0.9,
        box_4=np.float32(box),
        probability_A=np.ones(count),
        intensity_A=np.full(count, 4.0),
        present_A=np.full(count, present),
        emotion_E=np.array([0.9, 0.1]),
    )
    return FrameResult(1, 0.5, (face,))


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 3000), (3000, 1), (360, 640), (2160, 3841), (17, 33)]
)
def test_any_picture_becomes_a_frame_of_bounded_even_size(shape):
    frame = np.full((*shape, 3), 90, np.uint8)
    for seen in (FrameResult(1, 0.0, ()), result(("1", "L12"))):
        drawn = overlay.draw(frame, seen, aus=("1", "L12"), emotions=("a", "b"))
        height, width = drawn.shape[:2]
        assert drawn.dtype == np.uint8 and height % 2 == width % 2 == 0
        assert 480 <= height <= 1080 and width <= 1920 + 1.5 * 230


def test_the_subjects_left_is_on_the_right_of_the_picture():
    frame = np.full((480, 480, 3), 128, np.uint8)
    changed = {}
    for label in ("L12", "R12"):
        drawn = overlay.draw(frame, result((label,)), aus=(label,), emotions=("a", "b"))
        empty = overlay.draw(
            frame, result((label,), present=False), aus=(label,), emotions=("a", "b")
        )
        face = (drawn != empty).any(-1)[35:145, 45:155]
        changed[label] = (face[:, :55].sum(), face[:, 55:].sum())
    assert changed["L12"][0] < changed["L12"][1]
    assert changed["R12"][0] > changed["R12"][1]


def test_every_code_has_a_place_or_none():
    for number, unit in ACTION_UNITS.items():
        places = list(overlay.regions(str(number)))
        assert bool(places) == (unit.region in ("upper", "lower")), number
        if unit.sided:
            sides = [set(overlay.regions(f"{side}{number}")) for side in "LR"]
            assert sides[0] | sides[1] == set(places)
            assert {(round(1 - x, 6), *rest) for x, *rest in sides[0]} == {
                (round(x, 6), *rest) for x, *rest in sides[1]
            }
