"""Crops: geometry, edges, antialiasing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.faces.crop import crop, square


def test_identity_crop_returns_the_pixels():
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    out = crop(frame, np.float32([10, 5, 16, 16]), size=16, margin=0.0)
    np.testing.assert_array_equal(out, frame[5:21, 10:26])


def test_shrinking_averages_instead_of_picking():
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[::2] = 255  # stripes of one pixel: picking rows would give black or white
    out = crop(frame, np.float32([0, 0, 64, 64]), size=16, margin=0.0)
    assert abs(float(out.mean()) - 127.5) < 1 and out.std() < 2


def test_outside_repeats_the_edge():
    frame = np.full((20, 20, 3), 40, np.uint8)
    frame[:, -1] = 200
    for size in (8, 30):
        out = crop(frame, np.float32([15, 4, 10, 10]), size=size, margin=0.0)
        assert (out[:, -size // 4 :] == 200).all()


def test_margin_widens_both_sides():
    low, side = square(np.float32([10, 20, 30, 20]), 0.25)
    assert side == 45 and tuple(low) == (25 - 22.5, 30 - 22.5)


@settings(max_examples=60, deadline=None)
@given(
    box=st.tuples(*[st.floats(-200, 200)] * 2, *[st.floats(0.0, 300)] * 2),
    size=st.integers(1, 64),
)
def test_any_box_gives_a_picture_of_the_asked_size(box, size):
    frame = np.random.default_rng(1).integers(0, 256, (37, 53, 3), np.uint8)
    out = crop(frame, np.float32(box), size=size)
    assert out.shape == (size, size, 3) and out.dtype == np.uint8
