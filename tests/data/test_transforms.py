from dataclasses import replace

import cv2
import numpy as np
import pytest

from jaxfacs.data import transforms
from jaxfacs.data.config import NO_AUGMENT, Augment
from jaxfacs.errors import UserError


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    return [cv2.resize(c, (48, 48), interpolation=cv2.INTER_CUBIC) for c in coarse]


def changed(frames, seed=0, size=48, **options):
    rng = np.random.default_rng(seed)
    drawn = transforms.draw(replace(NO_AUGMENT, **options), rng)
    return transforms.apply(frames, drawn, size=size, rng=rng)


def test_no_augmentation_changes_nothing(frames):
    np.testing.assert_array_equal(changed(frames), np.stack(frames))


def test_the_same_generator_gives_the_same_clip(frames):
    def one(seed):
        rng = np.random.default_rng(seed)
        drawn = transforms.draw(Augment(), rng)
        return transforms.apply(frames, drawn, size=48, rng=rng)

    np.testing.assert_array_equal(one(5), one(5))
    assert (one(5) != one(6)).any()


def test_input_frames_stay_as_they_are(frames):
    before = [f.copy() for f in frames]
    changed(frames, flip=1, zoom=(1.1, 1.2), noise=20, grey=1, blur=1, cutout=1, brightness=0.3)
    np.testing.assert_array_equal(np.stack(before), np.stack(frames))


def test_flip_mirrors_each_frame_exactly(frames):
    np.testing.assert_array_equal(changed(frames, flip=1), np.stack(frames)[:, :, ::-1])


def test_zoom_magnifies_about_the_centre():
    frame = np.zeros((65, 65, 3), np.uint8)
    frame[22:43, 22:43] = 255  # a square of 21 about the middle
    out = changed([frame], size=65, zoom=(2, 2))
    inside = (out[0, :, :, 0] > 127).sum(0)
    assert inside.max() in (41, 42, 43)
    rows = np.flatnonzero(out[0, :, 32, 0] > 127)
    assert abs(rows.mean() - 32) <= 0.5


@pytest.mark.parametrize("size", [48, 96, 31])
@pytest.mark.parametrize("seed", range(6))
def test_landmarks_move_as_the_picture_does(seed, size):
    """A blob drawn at a landmark is found again, its middle within a third of a pixel."""
    rng = np.random.default_rng(seed)
    options = replace(NO_AUGMENT, flip=0.5, zoom=(0.8, 1.3), shift=0.1, rotate=20.0)
    drawn = transforms.draw(options if seed else NO_AUGMENT, rng)
    landmarks = rng.uniform(30, 66, (1, 68, 2)).astype(np.float32)
    moved = transforms.move(landmarks, drawn, source=96, size=size)
    y, x = np.mgrid[:96, :96] + 0.5
    for point in (0, 27, 45):
        was = landmarks[0, transforms.MIRRORED_68[point] if drawn.flip else point]
        blob = 255 * np.exp(-((x - was[0]) ** 2 + (y - was[1]) ** 2) / (2 * 4.0**2))
        frame = np.repeat(blob.astype(np.uint8)[..., None], 3, axis=2)
        seen = transforms.apply([frame], drawn, size=size, rng=rng)[0, ..., 0].astype(float)
        where = np.mgrid[:size, :size][::-1] + 0.5
        middle = (where * seen).sum((1, 2)) / seen.sum()
        np.testing.assert_allclose(moved[0, point], middle, atol=0.35)
    assert moved.dtype == np.float32


def test_a_mirrored_face_has_its_points_in_order_again():
    mirrored = transforms.MIRRORED_68
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(68))
    pairs = {0: 16, 17: 26, 21: 22, 31: 35, 36: 45, 37: 44, 39: 42, 40: 47, 41: 46, 48: 54, 49: 53}
    pairs |= {58: 56, 59: 55, 60: 64, 61: 63, 67: 65}
    middle = (8, 27, 28, 29, 30, 33, 51, 57, 62, 66)
    assert all(mirrored[i] == j for i, j in (pairs | {n: n for n in middle}).items())


def test_what_is_unknown_stays_unknown():
    drawn = transforms.draw(Augment(), np.random.default_rng(0))
    unknown = np.full((2, 68, 2), np.nan, np.float32)
    unknown[1] = 3.0
    moved = transforms.move(unknown, drawn, source=48, size=24)
    assert np.isnan(moved[0]).all() and not np.isnan(moved[1]).any()


def test_shrinking_averages():
    """A one-pixel checkerboard is grey when halved; sampling points of it would alias."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    frame = np.repeat(board[..., None], 3, axis=2)
    assert abs(int(changed([frame], size=32).mean()) - 127) <= 1
    tilted = changed([frame], size=32, rotate=5, seed=3)
    assert tilted.std() < 40


def test_a_frame_of_another_size_comes_out_as_asked(frames):
    assert changed(frames, size=20, zoom=(0.8, 1.2), rotate=10).shape == (4, 20, 20, 3)
    assert changed(frames, size=96).shape == (4, 96, 96, 3)


def test_grey_has_no_colour_left(frames):
    out = changed(frames, grey=1, tint=0.3, saturation=0.5).astype(int)
    assert np.ptp(out, axis=-1).max() <= 1


def test_brightness_moves_the_mean_by_no_more_than_said(frames):
    means = [changed(frames, seed=s, brightness=0.1).mean() for s in range(40)]
    before = np.stack(frames).mean()
    assert max(means) - before <= 25.6 and before - min(means) <= 25.6
    assert max(means) - min(means) > 20


def test_noise_has_the_drawn_strength_and_no_bias():
    flat = [np.full((64, 64, 3), 128, np.uint8)] * 8
    rng = np.random.default_rng(2)
    drawn = transforms.draw(replace(NO_AUGMENT, noise=20), rng)
    out = transforms.apply(flat, drawn, size=64, rng=rng).astype(float)
    assert drawn.noise > 2
    assert out.std() == pytest.approx(drawn.noise, rel=0.1)
    assert out.mean() == pytest.approx(128, abs=0.5)
    assert (out[0] != out[1]).any()


def test_cutout_hides_the_same_place_in_all_frames(frames):
    out = changed(frames, seed=1, cutout=1, cutout_size=0.4)
    hidden = (out != np.stack(frames)).any(-1)
    assert 0 < hidden.mean() < 0.17
    assert (out[hidden] == transforms.FILL).all()


def test_one_option_leaves_the_draws_of_others_alone():
    a = transforms.draw(Augment(), np.random.default_rng(3))
    b = transforms.draw(Augment(grey=0, cutout=0, blur=0, noise=0), np.random.default_rng(3))
    assert (a.flip, a.zoom, a.tilt) == (b.flip, b.zoom, b.tilt)
    np.testing.assert_array_equal(a.shift_2, b.shift_2)


@pytest.mark.parametrize("options", [{"flip": 1.5}, {"grey": -0.1}, {"zoom": (1.2, 0.8)}])
def test_impossible_options_are_refused(options):
    with pytest.raises(UserError):
        Augment(**options)
