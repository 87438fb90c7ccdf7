"""Orders of landmarks, the average face, and the squares and centres taken from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.errors import UserError
from jaxfacs.faces import points
from jaxfacs.faces.points import MIRROR_68, AVERAGE_68x2, as_68, centres, haar_square, similarity

# Written out here by hand: which of the 68 an order leaves out.
LEFT_OUT = {68: (), 66: (60, 64), 51: tuple(range(17)), 49: (*range(17), 60, 64)}


def face_of(kind: int) -> np.ndarray:
    """The average face, 200 px wide, in one of the orders."""
    face = 200 * AVERAGE_68x2 + (40, 30)
    if kind == 5:
        eyes = face[36:42].mean(0), face[42:48].mean(0)
        return np.stack([*eyes, face[30], face[48], face[54]])
    return np.delete(face, LEFT_OUT[kind], 0)


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_every_order_has_its_points_at_their_places(kind):
    whole = as_68(face_of(kind))
    for place in range(68):
        if place in LEFT_OUT[kind]:
            assert np.isnan(whole[place]).all()
        else:
            np.testing.assert_array_equal(whole[place], 200 * AVERAGE_68x2[place] + (40, 30))


@pytest.mark.parametrize("kind", points.KINDS)
def test_eyes_and_mouth_are_the_same_in_every_order(kind):
    right, left, mouth = centres(face_of(kind))
    assert right[0] < left[0], "the subject's right eye is on the picture's left"
    assert abs(right[1] - left[1]) < 1e-9 and mouth[1] > right[1] + 60
    np.testing.assert_allclose([right, left, mouth], centres(face_of(68)), atol=1e-9)


@pytest.mark.parametrize("shape", [(12, 2), (67, 2), (68, 3), (136,), (0, 2)])
def test_other_numbers_of_points_are_refused(shape):
    for function in (as_68, centres, haar_square):
        with pytest.raises(UserError, match="known orders; give 68, 66, 51, 49, 5"):
            function(np.zeros(shape))


def test_the_average_face_is_symmetric_and_in_order():
    assert (MIRROR_68[MIRROR_68] == np.arange(68)).all()
    np.testing.assert_allclose(AVERAGE_68x2[MIRROR_68] * (-1, 1) + (1, 0), AVERAGE_68x2, atol=1e-12)
    x, y = AVERAGE_68x2.T
    assert (np.diff(x[:17]) > 0).all() and y[:17].argmax() == 8
    assert y[17:27].max() < y[36:48].min() < y[36:48].max() < y[30] < y[48:].min() < y[8]


@given(
    angle=st.floats(-np.pi, np.pi),
    scale=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
@settings(max_examples=50, deadline=None)
def test_a_similarity_is_found_again(angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = AVERAGE_68x2 @ turn.T + shift
    found = similarity(AVERAGE_68x2, target)
    assert found is not None
    np.testing.assert_allclose(found, np.column_stack([turn, shift]), atol=1e-8 * max(1, scale))


def test_no_similarity_from_one_spot_or_unknown_points():
    assert similarity(np.zeros((5, 2)), AVERAGE_68x2[:5]) is None
    assert similarity(np.full((5, 2), np.nan), AVERAGE_68x2[:5]) is None


@pytest.mark.parametrize("kind", points.KINDS)
def test_the_square_is_the_same_from_every_order(kind):
    np.testing.assert_allclose(haar_square(face_of(kind)), [40, 30, 200, 200], atol=0.2)
    assert np.isnan(haar_square(np.full((kind, 2), np.nan))).all()


def test_a_turned_face_keeps_its_square():
    narrow = face_of(68) * (0.6, 1)
    x, y, width, height = haar_square(narrow)
    assert width == height == pytest.approx(1.1 * np.ptp(narrow[:, 1]), rel=1e-5)
    assert x + width / 2 == pytest.approx(0.6 * 140, abs=0.1) and y < narrow[:, 1].min()
