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
