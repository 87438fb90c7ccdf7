"""Scenes: lights, backgrounds and what the camera does."""

import dataclasses

import numpy as np
import pytest

from jaxfacs.synthface import camera, scene
from jaxfacs.synthface.variation import KINDS, Variation


def sampled(seed: int) -> scene.Scene:
    return scene.sample_scene(np.random.default_rng(seed))


def test_a_scene_is_a_pure_function_of_its_seed():
    assert dataclasses.asdict(sampled(5)) == dataclasses.asdict(sampled(5))
    assert dataclasses.asdict(sampled(5)) != dataclasses.asdict(sampled(6))


@pytest.mark.parametrize("kind", scene.BACKGROUNDS)
def test_backgrounds_fill_the_picture_and_repeat(kind):
    view = dataclasses.replace(sampled(1), background=kind)
    one, same = scene.background(view, 50), scene.background(view, 50)
    assert one.shape == (50, 50, 3)
    assert one.dtype == np.uint8
    assert one.tobytes() == same.tobytes()
    colours = ((0.9, 0.1, 0.2), (0.2, 0.9, 0.1))
    other = dataclasses.replace(view, seed=view.seed + 1, background_rgb=colours)
    assert one.tobytes() != scene.background(other, 50).tobytes()


def test_light_comes_from_every_side_and_only_the_key_light_casts_a_shadow():
    keys = []
    for seed in range(150):
        view = sampled(seed)
        towards = np.array(view.lights[0].towards_3)
        np.testing.assert_allclose(np.linalg.norm(towards), 1, atol=1e-6)
        assert all(light.shadow == 0 for light in view.lights[1:])
        assert 32 <= view.distance <= 190
        keys.append(towards)
    x, y, z = np.array(keys).T
    for seen in (x < -0.6, x > 0.6, y > 0.8, y < -0.2, z < -0.2, z > 0.95):
        assert seen.any()
    assert np.mean(z > 0) > 0.85


def test_exposure_is_monotone_and_never_overflows():
    view = sampled(2)
    light = np.linspace(0, 50, 4000, dtype=np.float32)[:, None].repeat(3, axis=1)
    shown = scene.expose(light, view)[:, 0].astype(int)
    assert np.all(np.diff(shown) >= 0)
    assert shown[0] == 0
    assert shown[-1] >= 250
    assert np.all(scene.expose(np.full((4, 3), -1.0, np.float32), view) == 0)


def test_grey_pictures_are_grey_and_noise_changes_with_the_frame():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
    view = dataclasses.replace(sampled(3), saturation=0.0, jpeg=0, noise=0.01, camera=camera.PLAIN)
    grey = scene.photograph(image, view, 0)
    assert grey.shape == image.shape
    assert np.ptp(grey.astype(int), axis=2).max() <= 1
    assert grey.tobytes() == scene.photograph(image, view, 0).tobytes()
    assert grey.tobytes() != scene.photograph(image, view, 1).tobytes()


def test_what_is_switched_off_leaves_the_rest_of_the_scene():
    def drawn(seed, variation):
        return scene.sample_scene(np.random.default_rng(seed), variation)

    for seed in range(8):
        whole = sampled(seed)
        plain = drawn(seed, Variation.naive())
        assert plain.camera == camera.PLAIN and plain.jpeg == 0 and plain.noise == 0
        assert plain.background == "plain" and plain.things == () and not plain.pattern_depth
        assert all(light.shadow == 0 for light in plain.lights)
        assert [light.rgb for light in plain.lights] == [light.rgb for light in whole.lights]
        for kind in KINDS:
            one = drawn(seed, Variation.without(kind))
            assert (one.seed, one.background_rgb) == (whole.seed, whole.background_rgb)
            if kind != "occlusion":
                assert one.things == whole.things
            if kind != "camera":
                assert one.camera == whole.camera


def test_deep_skin_is_exposed_for_but_stays_deeper():
    view = dataclasses.replace(sampled(4), exposure=1.0)
    fair, deep = (scene.metered(view, share) for share in (0.45, 0.05))
    assert fair.exposure < 1 < deep.exposure
    assert deep.exposure * 0.05 < 0.5 * fair.exposure * 0.45
    assert 0.5 <= scene.metered(view, 0.0).exposure <= 2.6
