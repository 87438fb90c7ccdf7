from dataclasses import replace

import cv2
import numpy as np
import pytest

from jaxfacs.data import transforms
from jaxfacs.data.config import BOCKLISCH, NO_AUGMENT, Augment
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


@pytest.mark.parametrize(
    "options",
    [
        {"flip": 1.5},
        {"grey": -0.1},
        {"zoom": (1.2, 0.8)},
        {"crop": 0.0},
        {"crop": 1.1},
        {"jpeg_quality": (0, 50)},
        {"jpeg_quality": (60, 50)},
        {"mixup": -1.0},
        {"mixup": float("nan")},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(UserError):
        Augment(**options)


def moved_point(point_2, drawn, *, source, size):
    landmarks = np.broadcast_to(np.float32(point_2), (1, 68, 2))
    return transforms.move(landmarks, drawn, source=source, size=size)[0, 0]


def test_tilts_and_brightness_steps_are_the_only_ones_drawn():
    options = replace(NO_AUGMENT, tilts=(-6, 0, 3), brightness_steps=(-0.1, 0.2), rotate=20)
    drawn = [transforms.draw(options, np.random.default_rng(s)) for s in range(60)]
    assert {d.tilt for d in drawn} == {-6, 0, 3}
    assert all(d.colour_3x4 is not None for d in drawn)
    offsets = {round(float(d.colour_3x4[0, 3]), 3) for d in drawn}  # pyrefly: ignore
    assert offsets == {-25.5, 51.0}


def test_bocklischs_are_the_papers():
    assert BOCKLISCH.tilts == (-6, -3, 0, 3, 6) and BOCKLISCH.flip == BOCKLISCH.rotate == 0
    assert [255 * step for step in BOCKLISCH.brightness_steps] == [-40, -20, 0, 20]


def test_a_crop_copies_whole_pixels_from_anywhere(frames):
    side = 42  # of 48: 7 places either way
    places = set()
    for seed in range(300):
        out = changed([frames[0]], seed=seed, size=side, crop=0.875)[0]
        found = [
            (y, x)
            for y in range(7)
            for x in range(7)
            if (out == frames[0][y : y + side, x : x + side]).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) == 49


def test_evaluation_sees_the_middle_of_the_crop(frames):
    drawn = transforms.unchanged(Augment(crop=0.875))
    rng = np.random.default_rng(0)
    out = transforms.apply(frames, drawn, size=42, rng=rng)
    np.testing.assert_array_equal(out, np.stack(frames)[:, 3:45, 3:45])
    whole = transforms.apply(frames, transforms.unchanged(Augment()), size=48, rng=rng)
    np.testing.assert_array_equal(whole, np.stack(frames))


def test_hue_turns_colours_and_keeps_luma_and_grey(frames):
    shades = [np.clip(f // 2 + 64, 64, 191).astype(np.uint8) for f in frames]
    turned = changed(shades, hue=30, seed=2).astype(float)
    assert np.abs(turned - np.stack(shades)).mean() > 3
    np.testing.assert_allclose(turned @ transforms.LUMA, shades @ transforms.LUMA, atol=1.1)
    grey = [np.full((8, 8, 3), level, np.uint8) for level in (0, 90, 255)]
    np.testing.assert_array_equal(changed(grey, size=8, hue=90, seed=2), np.stack(grey))


def test_compression_follows_its_quality():
    rng = np.random.default_rng(0)
    noisy = [np.repeat(rng.integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2)]

    def loss(*quality):
        out = changed(noisy, size=64, jpeg=1, jpeg_quality=quality)
        return np.abs(out.astype(float) - noisy).mean()

    assert loss(10, 10) > 2 * loss(90, 90) > 0
    drawn = [
        transforms.draw(Augment(jpeg=1, jpeg_quality=(3, 5)), np.random.default_rng(s)).jpeg
        for s in range(40)
    ]
    assert set(drawn) == {3, 4, 5}


def test_later_options_leave_earlier_clips_as_they_were():
    """A seed means the same clip whether or not crop, hue and compression are on."""
    for bits in (np.random.PCG64, np.random.Philox):
        rngs = [np.random.Generator(bits(3)) for _ in range(2)]
        before = transforms.draw(Augment(), rngs[0])
        after = transforms.draw(Augment(crop=0.8, hue=20, jpeg=1), rngs[1])
        assert (before.flip, before.zoom, before.tilt) == (after.flip, after.zoom, after.tilt)
        plain = np.random.Generator(bits(3))
        plain.random(20)  # what the first version drew
        assert rngs[0].random() == rngs[1].random() == plain.random()


def test_a_generator_apart_depends_on_the_state_alone():
    """grain sets the state of one generator again and again."""
    rng = np.random.Generator(np.random.Philox(1))
    state = rng.bit_generator.state
    first = transforms.apart(rng, 1).random(4)
    other = transforms.apart(rng, 2).random(4)
    rng.random(7)
    moved = transforms.apart(rng, 1).random(4)
    rng.bit_generator.state = state
    np.testing.assert_array_equal(transforms.apart(rng, 1).random(4), first)
    assert (first != other).all() and (first != moved).all() and (first != rng.random(4)).all()


@pytest.mark.parametrize("size", [48, 96, 40])
@pytest.mark.parametrize("seed", range(6))
def test_flow_moves_as_the_picture_does(seed, size):
    """At a point that was shown, the vector leads where the landmark at its tip is shown.

    The field is linear in its place, which resampling keeps.
    """
    source = 96
    rng = np.random.default_rng(seed)
    options = replace(
        NO_AUGMENT, flip=0.5, zoom=(0.8, 1.3), shift=0.1, rotate=20.0, crop=0.9 if seed % 2 else 1
    )
    drawn = transforms.draw(options if seed else NO_AUGMENT, rng)
    y, x = np.mgrid[:source, :source] + 0.5
    field = np.stack([3 + 0.05 * x - 0.02 * y, -2 + 0.04 * y], -1).astype(np.float32)
    carried = transforms.carry(field[None], drawn, size=size)[0]
    for px, py in ((48.0, 48.0), (40.0, 55.0), (58.0, 44.0)):
        tip = (px + 3 + 0.05 * px - 0.02 * py, py - 2 + 0.04 * py)
        start = moved_point((px, py), drawn, source=source, size=size)
        end = moved_point(tip, drawn, source=source, size=size)
        seen = cv2.remap(carried, *np.float32(start - 0.5).reshape(2, 1, 1), cv2.INTER_LINEAR)
        np.testing.assert_allclose(seen[0, 0], end - start, atol=0.03)


def test_mirrored_flow_goes_the_other_way():
    field = np.zeros((1, 8, 8, 2), np.float32)
    field[0, 2, 1] = (3, 5)
    carried = transforms.carry(
        field, transforms.draw(replace(NO_AUGMENT, flip=1), np.random.default_rng(0)), size=8
    )
    np.testing.assert_allclose(carried[0, 2, 6], (-3, 5), atol=1e-6)
    assert np.count_nonzero(carried) == 2
