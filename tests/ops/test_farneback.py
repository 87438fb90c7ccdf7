"""Optical flow against OpenCV's, on pictures that move in known ways and on rendered faces."""

from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxfacs import ops
from jaxfacs.synthface.clip import clip

SIZE, MARGIN = 72, 24
# OpenCV's usual settings; those of Bocklisch et al.'s code; a Gaussian window; an even window.
SETTINGS = {
    "usual": {},
    "paper": {"poly_n": 2},
    "gaussian": {"gaussian": True, "poly_n": 7, "poly_sigma": 1.5},
    "even": {"winsize": 14, "pyr_scale": 0.7, "levels": 2, "iterations": 2},
}
ANGLE = np.deg2rad(3.0)
# What happens to the picture about its centre: a 2 x 2 matrix and a shift (x, y) in pixels.
MOTIONS = {
    "shift": ((1, 0, 0, 1), (2.0, -1.0)),
    "subpixel": ((1, 0, 0, 1), (0.37, -0.62)),
    "rotation": ((np.cos(ANGLE), -np.sin(ANGLE), np.sin(ANGLE), np.cos(ANGLE)), (0.0, 0.0)),
    "affine": ((1.03, 0.02, -0.01, 0.97), (0.5, -0.3)),
}


def texture() -> np.ndarray:
    rng = np.random.default_rng(0)
    side = SIZE + 2 * MARGIN
    smooth = cv2.GaussianBlur(rng.uniform(0, 255, (side, side)).astype(np.float32), (0, 0), 2.0)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255


def moved(picture: np.ndarray, matrix, shift) -> np.ndarray:
    centre = np.array([(n - 1) / 2 for n in picture.shape[::-1]])
    linear = np.reshape(matrix, (2, 2)).astype(float)
    offset = (np.eye(2) - linear) @ centre + shift
    warped = cv2.warpAffine(
        picture, np.hstack([linear, offset[:, None]]), picture.shape[::-1], flags=cv2.INTER_CUBIC
    )
    inner = warped[MARGIN : MARGIN + SIZE, MARGIN : MARGIN + SIZE]
    return np.clip(np.round(inner), 0, 255).astype(np.uint8)


def opencv(
    first: np.ndarray,
    second: np.ndarray,
    *,
    pyr_scale=0.5,
    levels=3,
    winsize=15,
    iterations=3,
    poly_n=5,
    poly_sigma=1.1,
    gaussian=False,
) -> np.ndarray:
    flags = cv2.OPTFLOW_FARNEBACK_GAUSSIAN if gaussian else 0
    rest = pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, flags
    return cv2.calcOpticalFlowFarneback(first, second, None, *rest)


def difference(flow: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.linalg.norm(flow - expected, axis=-1)


@pytest.fixture(scope="module")
def pairs():
    still = moved(texture(), (1, 0, 0, 1), (0, 0))
    return {name: (still, moved(texture(), *motion)) for name, motion in MOTIONS.items()}


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_opencv(pairs, settings):
    options = SETTINGS[settings]
    first, second = (np.stack(frames) for frames in zip(*pairs.values(), strict=True))
    flow = np.asarray(jax.jit(lambda a, b: ops.farneback(a, b, **options))(first, second))
    assert flow.shape == (len(pairs), SIZE, SIZE, 2) and flow.dtype == np.float32
    for name, answered, a, b in zip(pairs, flow, first, second, strict=True):
        worst = difference(answered, opencv(a, b, **options))
        assert np.median(worst) < 1e-5, name
        assert np.percentile(worst, 99) < 1e-3, name


def test_finds_the_motion(pairs):
    """Of a shift; what leaves or enters at the borders has none that could be found."""
    flow = np.asarray(ops.farneback(*(frame[None] for frame in pairs["subpixel"])))[0]
    inner = flow[12:-12, 12:-12]
    np.testing.assert_allclose(np.median(inner, (0, 1)), MOTIONS["subpixel"][1], atol=0.05)


def test_faces_equal_opencv():
    """A rendered face: much of it is smooth, and around it nothing moves."""
    made = clip(seed=3, frames=4, size=96)
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in made.frames_THWC])
    flow = np.asarray(ops.farneback_clip(grey[None]))[0]
    for answered, a, b in zip(flow, grey[:-1], grey[1:], strict=True):
        worst = difference(answered, opencv(a, b))[10:-10, 10:-10]
        assert np.median(worst) < 1e-4 and np.percentile(worst, 99) < 1e-2


def test_still_pictures_do_not_move(pairs):
    """But at the borders: the last row and column of the second picture count as unknown."""
    still = pairs["shift"][0]
    flow = np.asarray(ops.farneback(still[None], still[None]))[0]
    assert np.abs(flow[20:-20, 20:-20]).max() < 1e-3
    assert np.abs(opencv(still, still)).max() > 1e-2  # as in OpenCV


def test_clip_is_its_pairs_for_any_batch_size(pairs):
    flow_of = partial(ops.farneback_clip, levels=0, iterations=2, winsize=5)
    frames = np.stack([pairs["shift"][0], pairs["shift"][1], pairs["affine"][1]])
    grey = np.stack([frames, frames[::-1]]).astype(np.int32)
    whole = np.asarray(flow_of(grey))
    two = np.stack([grey[:, :2], grey[:, 1:]], 1).reshape(4, 2, SIZE, SIZE)
    by_pairs = np.asarray(flow_of(two)).reshape(whole.shape)
    np.testing.assert_allclose(whole, by_pairs, atol=1e-4)
    (batch,) = export.symbolic_shape("b")
    form = jax.ShapeDtypeStruct((batch, *grey.shape[1:]), grey.dtype)
    exported = export.export(jax.jit(flow_of))(form)
    np.testing.assert_allclose(exported.call(grey), whole, atol=1e-4)
    mapped = jax.vmap(lambda g: flow_of(g[None])[0])(grey)
    np.testing.assert_allclose(mapped, whole, atol=1e-4)


def test_has_no_gradient(pairs):
    first, second = (jnp.asarray(f[None], jnp.float32) for f in pairs["shift"])
    gradient = jax.grad(lambda f: ops.farneback(f, second, levels=0, iterations=1).sum())(first)
    assert not np.any(gradient)


@pytest.mark.parametrize(
    "shapes", [((1, 8, 8), (1, 8, 9)), ((8, 8), (8, 8)), ((1, 8, 1), (1, 8, 1))]
)
def test_wrong_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="N, "):
        ops.farneback(*(jnp.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    "options",
    [{"pyr_scale": 1.0}, {"levels": -1}, {"winsize": 1}, {"iterations": 0}, {"poly_n": 0}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ops.farneback(jnp.zeros((1, 8, 8)), jnp.zeros((1, 8, 8)), **options)
