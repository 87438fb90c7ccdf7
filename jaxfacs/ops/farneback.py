"""Dense optical flow by polynomial expansion, equal to cv2.calcOpticalFlowFarneback.

Farneback, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003. What the paper
leaves open is as OpenCV 4 has it (opencv/opencv: modules/video/src/optflowgf.cpp): the pyramid,
what is repeated or mirrored beyond the borders, the weights near them, the 1e-3 beside the
determinant.

Every filter is separable, and a sum of shifted arrays; changes of size are products with a small
matrix. What costs is memory, not arithmetic: per pixel and iteration four gathers of five numbers,
and two passes over five planes for the window. XLA on CPU fuses through everything but loops and
products, and would then recompute the flow for each of the twenty gathered numbers: the scan over
iterations is what keeps it from that (3 times faster than the unrolled loop).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LEAST_SIZE = 32  # px: no level of the pyramid is smaller
REGULARISER = 1e-3  # added to the determinant, where a window has no texture
# Weight of the equations of the outermost five pixels.
BORDER_WEIGHTS = (0.14, 0.14, 0.4472, 0.4472, 0.4472)
MID_GREY = 128.0  # an expansion has no use for the level; without it less is rounded away

Planes = tuple[jax.Array, ...]


def farneback(prev_NHW: jax.Array, next_NHW: jax.Array, **options: Any) -> jax.Array:
    """Returns the motion (N, H, W, 2) of each pixel of `prev_NHW`, (x, y) in pixels, float32.

    The pixel of `prev` at (x, y) is seen in `next` at (x, y) + flow. Equal to cv2's to rounding
    (median difference 1e-6 px), except where the algorithm itself jumps: a border pixel whose
    motion is 0 to rounding lies inside the next frame or outside by chance, in cv2 as here.
    There is no gradient: the flow is a constant to whatever is trained on it.

    Args:
      prev_NHW, next_NHW: grey pictures, 0..255 (the regulariser is made for that range).
      **options: of `farneback_clip`.

    Raises:
      ValueError: the pictures differ in shape or are smaller than 2 pixels, or an option is out of
        its range.
    """
    if prev_NHW.shape[1:] != next_NHW.shape[1:] or prev_NHW.ndim != 3 or next_NHW.ndim != 3:
        raise ValueError(f"two (N, H, W) of one size are needed: {prev_NHW.shape, next_NHW.shape}")
    return farneback_clip(jnp.stack([prev_NHW, next_NHW], 1), **options)[:, 0]


@partial(
    jax.jit,
    static_argnames=(
        "pyr_scale", "levels", "winsize", "iterations", "poly_n", "poly_sigma", "gaussian",
    ),
)  # fmt: skip
def farneback_clip(
    grey_NTHW: jax.Array,
    *,
    pyr_scale: float = 0.5,
    levels: int = 3,
    winsize: int = 15,
    iterations: int = 3,
    poly_n: int = 5,
    poly_sigma: float = 1.1,
    gaussian: bool = False,
) -> jax.Array:
    """Returns the motion (N, T-1, H, W, 2) from each frame of a clip to its successor, float32.

    As `farneback` of neighbours, but each frame is expanded once and not twice. Needs about 250
    bytes of memory for each pixel of one frame of each clip.

    Args:
      grey_NTHW: grey frames, 0..255; H and W must be known when compiling, N need not.
      pyr_scale: size of a level of the pyramid relative to the one below, in (0, 1).
      levels: how many levels there are above the frame itself; fewer where they would be smaller
        than 32 pixels.
      winsize: pixels over which motion is taken to be constant.
      iterations: on each level.
      poly_n: reach of the neighbourhood that is expanded into a polynomial; OpenCV's word for
        a (2n+1)-wide window, usually 5 or 7.
      poly_sigma: of its Gaussian weights, pixels; 1.1 goes with 5, 1.5 with 7.
      gaussian: weigh the window by a Gaussian (OPTFLOW_FARNEBACK_GAUSSIAN), not evenly.

    Raises:
      ValueError: wrong rank, fewer than 2 frames or pixels, or an option out of its range.
    """
    if grey_NTHW.ndim != 4 or min(grey_NTHW.shape[1:]) < 2:
        raise ValueError(f"a clip must be (N, T, H, W), 2 or more of each: {grey_NTHW.shape}")
    if not 0.0 < pyr_scale < 1.0 or levels < 0 or poly_sigma <= 0.0:
        raise ValueError(f"pyr_scale {pyr_scale}, levels {levels}, poly_sigma {poly_sigma}")
    if min(winsize // 2, iterations, poly_n) < 1:
        raise ValueError(f"winsize {winsize}, iterations {iterations}, poly_n {poly_n}")
    height, width = grey_NTHW.shape[2:]
    grey_TNHW = jnp.moveaxis(lax.stop_gradient(grey_NTHW).astype(jnp.float32) - MID_GREY, 1, 0)
    pyramid = _pyramid(height, width, pyr_scale, levels)
    window = _window(winsize, gaussian=gaussian)

    def expand(grey_NHW: jax.Array) -> Planes:
        return tuple(
            _expand(_shrunk(grey_NHW, size, blur), poly_n, poly_sigma) for size, blur in pyramid
        )

    def follow(last: Planes, grey_NHW: jax.Array) -> tuple[Planes, jax.Array]:
        now, flow = expand(grey_NHW), ()
        for r0, r1 in zip(last, now, strict=True):
            flow = _enlarged(flow, r0, pyr_scale)
            r0_5NHW = jnp.moveaxis(r0, -1, 0)

            def iterate(flow: Planes, _: None, r0=r0_5NHW, r1=r1) -> tuple[Planes, None]:
                rows = _filtered(_equations(r0, r1, flow), 2, (window,))[0]
                return _solve(_filtered(rows, 3, (window,))[0]), None

            flow, _ = lax.scan(iterate, flow, length=iterations)
        return now, jnp.stack(flow, -1)

    # Frame by frame: what is worked on stays small, and each frame is expanded once.
    _, flow_TNHW2 = lax.scan(follow, expand(grey_TNHW[0]), grey_TNHW[1:])
    return jnp.moveaxis(flow_TNHW2, 0, 1)


def _enlarged(flow: Planes, r_NHWx5: jax.Array, pyr_scale: float) -> Planes:
    """The flow of the level above at this one's size; without one, none."""
    if not flow:
        return (jnp.zeros(r_NHWx5.shape[:3], jnp.float32),) * 2
    return tuple(
        _resized(plane, (r_NHWx5.shape[1], r_NHWx5.shape[2])) / pyr_scale for plane in flow
    )


def _pyramid(
    height: int, width: int, pyr_scale: float, levels: int
) -> list[tuple[tuple[int, int], np.ndarray]]:
    """The ((height, width), kernel that blurs the frame beforehand) of each level, coarse first."""
    found = []
    for level in range(levels + 1):
        scale = pyr_scale**level
        if level and min(height, width) * scale < LEAST_SIZE:
            break
        sigma = 0.5 * (1.0 / scale - 1.0)
        taps = max(round(5.0 * sigma) | 1, 3)
        # At the frame's own size sigma is 0, for which cv2.GaussianBlur has a table.
        blur = _gaussian(taps // 2, sigma) if level else np.array([0.25, 0.5, 0.25])
        found.append(((round(height * scale), round(width * scale)), blur))
    return found[::-1]


def _gaussian(reach: int, sigma: float) -> np.ndarray:
    x = np.arange(-reach, reach + 1.0)
    weights = np.exp(-(x**2) / (2.0 * sigma**2))
    return weights / weights.sum()


def _window(winsize: int, *, gaussian: bool) -> np.ndarray:
    """Weights along one axis. Of an even winsize cv2 sums winsize + 1 and divides by winsize."""
    reach = winsize // 2
    return _gaussian(reach, 0.3 * reach) if gaussian else np.full(2 * reach + 1, 1.0 / winsize)


def _filtered(
    x: jax.Array,
    axis: int,
    kernels: Sequence[np.ndarray],
    borders: Literal["edge", "reflect"] = "edge",
) -> list[jax.Array]:
    """Correlates `x` with each of some kernels of one length, as sums of shifted arrays."""
    taps = len(kernels[0])
    padding = [(taps // 2,) * 2 if i == axis else (0, 0) for i in range(x.ndim)]
    length = x.shape[axis]
    # Without the barrier the padding is done again for every tap.
    padded = lax.optimization_barrier(jnp.pad(x, padding, mode=borders))
    shifted = [lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(taps)]
    return [
        sum(
            (np.float32(w) * s for w, s in zip(kernel[1:], shifted[1:], strict=True)),
            np.float32(kernel[0]) * shifted[0],
        )
        for kernel in kernels
    ]


def _shrunk(grey_NHW: jax.Array, size: tuple[int, int], blur: np.ndarray) -> jax.Array:
    """Blurred as cv2.GaussianBlur does, then resized as cv2.resize does."""
    if grey_NHW.shape[1:] == size:
        (rows,) = _filtered(grey_NHW, 1, (blur,), "reflect")
        return _filtered(rows, 2, (blur,), "reflect")[0]
    return _resized(grey_NHW, size, blur)


def _resized(x_NHW: jax.Array, size: tuple[int, int], blur: np.ndarray | None = None) -> jax.Array:
    """Blurred and bilinearly resized: a small matrix for each axis."""
    for axis, length in zip((1, 2), size, strict=True):
        matrix = _bilinear(x_NHW.shape[axis], length)
        if blur is not None:
            matrix = matrix @ _blurring(x_NHW.shape[axis], blur)
        product = jnp.tensordot(
            x_NHW,
            jnp.asarray(matrix, jnp.float32),
            ((axis,), (1,)),
            precision=lax.Precision.HIGHEST,  # not TF32: flow is made of small differences
        )
        x_NHW = jnp.moveaxis(product, -1, axis)
    return x_NHW


def _bilinear(length: int, new: int) -> np.ndarray:
    """The (new, length) matrix of cv2's INTER_LINEAR: pixel centres at .5, borders repeated."""
    places = (np.arange(new) + 0.5) * (length / new) - 0.5
    places = np.clip(places, 0, length - 1)
    left = np.minimum(places.astype(int), length - 2)
    matrix = np.zeros((new, length))
    matrix[np.arange(new), left] = 1.0 - (places - left)
    matrix[np.arange(new), left + 1] = places - left
    return matrix


def _blurring(length: int, kernel: np.ndarray) -> np.ndarray:
    """The (length, length) matrix of a filter with BORDER_REFLECT_101."""
    matrix = np.zeros((length, length))
    rows, reach = np.arange(length), len(kernel) // 2
    for offset, weight in enumerate(kernel, start=-reach):
        places = np.abs(rows + offset) % (2 * (length - 1))
        np.add.at(matrix, (rows, np.minimum(places, 2 * (length - 1) - places)), weight)
    return matrix


def _expand(x_NHW: jax.Array, reach: int, sigma: float) -> jax.Array:
    """The coefficients (N, h, w, 5) of y, x, y², x², xy in the neighbourhood of each pixel."""
    u = np.arange(-reach, reach + 1.0)
    g = _gaussian(reach, sigma)
    second, fourth = (g * u**2).sum(), (g * u**4).sum()
    # Least squares with weights g(y)g(x) over 1, x, y, x², y², xy: odd ones are by themselves;
    # 1, x² and y² share a 3 x 3 system.
    inverse = np.linalg.inv(
        np.array(
            [
                [1.0, second, second],
                [second, fourth, second**2],
                [second, second**2, fourth],
            ]
        )
    )
    first, constant, square = 1.0 / second, inverse[0, 1], inverse[1, 1]
    mixed = 1.0 / second**2

    by_1, by_y, by_yy = lax.optimization_barrier(_filtered(x_NHW, 1, (g, g * u, g * u**2)))
    # What is even in x and in y goes through one filter less: constant * 1 + square * x².
    x, one, xx = _filtered(by_1, 2, (first * g * u, constant * g, constant * g + square * g * u**2))
    y, xy = _filtered(by_y, 2, (first * g, mixed * g * u))
    (yy,) = _filtered(by_yy, 2, (square * g,))
    return jnp.stack([y, x, one + yy, xx, xy], -1)


def _equations(r0_5NHW: jax.Array, r1_NHWx5: jax.Array, flow: Planes) -> jax.Array:
    """The five numbers (5, N, h, w) of each pixel's normal equations: G11, G12, G22, h1, h2."""
    height, width = r0_5NHW.shape[2:]
    dx, dy = flow
    x = jnp.arange(width, dtype=jnp.float32)[None, None] + dx
    y = jnp.arange(height, dtype=jnp.float32)[None, :, None] + dy
    left, top = jnp.floor(x), jnp.floor(y)
    right_share, low_share = x - left, y - top
    inside = (left >= 0) & (left < width - 1) & (top >= 0) & (top < height - 1)
    place = jnp.clip(top, 0, height - 2).astype(jnp.int32) * width + jnp.clip(
        left, 0, width - 2
    ).astype(jnp.int32)
    known = inside.astype(jnp.float32)
    sampled = sum(
        weight[..., None] * _taken(r1_NHWx5, place + step)
        for weight, step in (
            ((1.0 - low_share) * (1.0 - right_share) * known, 0),
            ((1.0 - low_share) * right_share * known, 1),
            (low_share * (1.0 - right_share) * known, width),
            (low_share * right_share * known, width + 1),
        )
    )
    s = jnp.moveaxis(jnp.asarray(sampled), -1, 0)
    # Squares are averaged over both frames, or are the first's where the second ends.
    mean = jnp.where(inside, 0.5, 1.0)
    weight = jnp.asarray(np.outer(_border(height), _border(width)), jnp.float32)[None]
    yy = (r0_5NHW[2] + s[2]) * mean * weight
    xx = (r0_5NHW[3] + s[3]) * mean * weight
    xy = (r0_5NHW[4] + s[4]) * mean * (0.5 * weight)
    from_y = (r0_5NHW[0] - s[0]) * (0.5 * weight) + yy * dy + xy * dx
    from_x = (r0_5NHW[1] - s[1]) * (0.5 * weight) + xy * dy + xx * dx
    return jnp.stack(
        [
            yy * yy + xy * xy,
            (yy + xx) * xy,
            xx * xx + xy * xy,
            yy * from_y + xy * from_x,
            xy * from_y + xx * from_x,
        ]
    )


def _taken(r_NHWx5: jax.Array, place_NHW: jax.Array) -> jax.Array:
    """The five numbers at each place, an index into the pixels of a picture; all lie inside."""
    rows = r_NHWx5.reshape(r_NHWx5.shape[0], -1, 5)
    places = place_NHW.reshape(place_NHW.shape[0], -1)
    taken = jax.vmap(lambda row, place: row.at[place].get(mode="promise_in_bounds"))(rows, places)
    return taken.reshape(r_NHWx5.shape)


def _border(length: int) -> np.ndarray:
    weights = np.ones(length)
    for i, weight in enumerate(BORDER_WEIGHTS[:length]):
        weights[i] *= weight
        weights[length - 1 - i] *= weight
    return weights


def _solve(equations_5NHW: jax.Array) -> Planes:
    g11, g12, g22, h1, h2 = equations_5NHW
    inverse = 1.0 / (g11 * g22 - g12 * g12 + REGULARISER)
    return (g11 * h2 - g12 * h1) * inverse, (g22 * h1 - g12 * h2) * inverse
