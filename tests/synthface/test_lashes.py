"""Lashes: a dark band that follows the lid, of the thickness that the look says."""

import dataclasses

import numpy as np
import pytest

from jaxfacs.synthface import lashes
from jaxfacs.synthface.look import sample_look

SIZE = 120
LOOK = dataclasses.replace(sample_look(np.random.default_rng(0)), lash=0.8, liner=0.0)
NOTHING = np.zeros(68, bool)


def eyes(gap_cm: float) -> np.ndarray:
    """Landmarks in cm of a face whose lids are so far apart; the lower lids stay."""
    marks = np.zeros((68, 3))
    marks[27], marks[8] = (0, 0, 0), (0, -11, 0)
    for side, upper, lower in ((-1, (36, 37, 38, 39), (41, 40)), (1, (42, 43, 44, 45), (47, 46))):
        x = side * 3 + np.array([-1.5, -0.5, 0.5, 1.5])
        marks[list(upper), 0] = x
        marks[list(upper), 1] = -1.5 + np.array([0, gap_cm, gap_cm, 0])
        marks[list(lower), 0] = x[1:3]
        marks[list(lower), 1] = -1.5
    return marks


def drawn(gap_cm: float, look=LOOK, hidden=NOTHING):
    marks = eyes(gap_cm)
    places = (marks[:, :2] * (8, -8) + (SIZE / 2, 20)).astype(np.float32)  # 8 samples a cm
    return lashes.bands(marks, places, look, hidden, size=SIZE, unit=1.0), places


def test_they_frame_an_open_eye_from_above():
    mask, places = drawn(1.0)
    column = mask[:, round(float(places[37, 0]))]
    assert abs(int(column.argmax()) - places[37, 1]) <= 1
    assert not column[: round(float(places[37, 1])) - 3].any()


def test_they_lie_below_the_edge_of_a_closed_lid():
    shut, places = drawn(0.0)
    ajar, _ = drawn(1.0)
    row = round(float(places[41, 1])) + 3  # 0.4 cm below the lower lid's edge
    assert shut[row].sum() > ajar[row].sum() + 255


def test_thick_ones_are_darker_and_none_are_none():
    thin, thick = (drawn(0.0, dataclasses.replace(LOOK, lash=x))[0] for x in (0.2, 1.0))
    assert thick.sum() > 2 * thin.sum() > 0
    assert drawn(0.0, dataclasses.replace(LOOK, lash=0.0))[0] is None
    lined, _ = drawn(0.0, dataclasses.replace(LOOK, lash=0.2, liner=1.0))
    assert lined.sum() > thin.sum()


@pytest.mark.parametrize(("first", "half"), [(36, slice(0, 60)), (42, slice(60, 120))])
def test_an_eye_behind_the_nose_has_none(first, half):
    hidden = NOTHING.copy()
    hidden[first : first + 4] = True
    mask, _ = drawn(0.5, hidden=hidden)
    assert not mask[:, half].any() and mask.any()
