"""What cameras and files do to a picture, and what stands behind a face."""

import dataclasses

import cv2
import numpy as np
import pytest

from jaxfacs.synthface import backgrounds, camera
from jaxfacs.synthface.camera import PLAIN, Camera


def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.integers(30, 220, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (64, 64), interpolation=cv2.INTER_CUBIC)


def taken(one: Camera, image: np.ndarray | None = None, **changes) -> np.ndarray:
    plain = {"blur": 0.0, "saturation": 1.0, "noise": 0.0, "grain": 0.0, "jpeg": 0, "face": 1.0}
    rng = np.random.default_rng(1)
    image = picture() if image is None else image
    return camera.take(image, one, rng=rng, **(plain | changes))  # type: ignore[arg-type]


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image, cv2.CV_64F).std())


def test_a_plain_camera_changes_nothing():
    np.testing.assert_array_equal(taken(PLAIN), picture())


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"shake": 0.12}, False),
        ({"face_pixels": 24.0}, False),
        ({"sharpen": 1.5}, True),
        ({"quality_again": 20}, None),
        ({"smear": 1.0}, None),
    ],
)
def test_each_fault_does_what_its_name_says(changes, more):
    noisy = np.clip(picture() + np.random.default_rng(2).normal(0, 12, (64, 64, 3)), 0, 255)
    noisy = noisy.astype(np.uint8)
    made = taken(dataclasses.replace(PLAIN, **changes), noisy)
    assert made.shape == noisy.shape and made.dtype == np.uint8
    assert not np.array_equal(made, noisy)
    if more is not None:
        assert (detail(made) > 1.2 * detail(noisy)) == more
        assert (detail(made) < 0.8 * detail(noisy)) != more


def test_tones():
    image = picture()
    warm = taken(dataclasses.replace(PLAIN, white_3=(1.2, 1.0, 0.8)))
    assert warm[..., 0].mean() > image[..., 0].mean() > 0
    assert warm[..., 2].mean() < image[..., 2].mean()
    assert taken(dataclasses.replace(PLAIN, contrast=1.4)).std() > 1.15 * image.std()
    assert taken(dataclasses.replace(PLAIN, lift=0.2)).min() > image.min() + 15
    assert taken(dataclasses.replace(PLAIN, tone=0.6)).mean() > image.mean() + 8
    brown = taken(dataclasses.replace(PLAIN, sepia=1.0)).astype(int)
    assert np.all(brown[..., 0] >= brown[..., 2])
    framed = taken(dataclasses.replace(PLAIN, border_4=(0.25, 0.0, 0.0, 0.0)))
    assert framed[:, :16].max() == 0 and framed[:, 16:].mean() > 50
    corners = camera.vignette(dataclasses.replace(PLAIN, vignette=0.5), 64)
    assert corners[0, 0] < 0.55 and corners[32, 32] > 0.99


def test_most_cameras_leave_a_face_to_be_read():
    cameras = []
    for k in range(300):
        rng = np.random.default_rng(k)
        cameras.append(camera.sample_camera(rng, camera.sample_grade(rng)))
    assert 0.2 < np.mean([c.face_pixels > 0 for c in cameras]) < 0.6
    assert min(c.face_pixels for c in cameras if c.face_pixels) >= camera.LEAST_FACE
    kept = []
    for one in cameras[:60]:
        made = taken(one, noise=0.01, jpeg=60, face=0.8).astype(float)
        seen = cv2.GaussianBlur(picture(), (0, 0), 3).astype(float).mean(axis=2).ravel()
        kept.append(np.corrcoef(seen, made.mean(axis=2).ravel())[0, 1])
    assert np.mean(np.array(kept) > 0.7) > 0.9


@pytest.mark.parametrize("kind", backgrounds.PLACES)
def test_places_are_busy_and_differ(kind):
    first, second = np.array([0.3, 0.4, 0.5]), np.array([0.7, 0.6, 0.2])
    one, same, other = (
        backgrounds.place(np.random.default_rng(k), kind, first, second) for k in (1, 1, 2)
    )
    assert one.shape == (backgrounds.SIDE, backgrounds.SIDE, 3)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).mean() > 0.02
    spread = [
        backgrounds.place(np.random.default_rng(k), kind, first, second).std() for k in range(6)
    ]
    assert max(spread) > 0.06


def test_a_better_grade_has_the_same_faults_weaker():
    good, bad = (camera.sample_camera(np.random.default_rng(5), grade) for grade in (0.3, 1.0))
    assert good.shake_deg == bad.shake_deg and good.colour_noise == bad.colour_noise
    assert abs(np.log(good.contrast) - 0.1) <= abs(np.log(bad.contrast) - 0.1)
    assert np.ptp(good.white_3) < np.ptp(bad.white_3)
