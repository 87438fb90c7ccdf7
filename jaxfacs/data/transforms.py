"""Random changes of a clip, in numpy and cv2, each drawn from a generator that is passed in."""

from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np

from jaxfacs.data.config import Augment

# ITU-R BT.601 luma: what JPEG and cv2 call grey.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
NOISE_ROWS = 32
FILL = 114  # grey of a cut-out square, near the mean of natural pictures

# iBUG 68: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67. Point i of a mirrored face is
# point MIRRORED_68[i] of the face as it was.
MIRRORED_68 = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Draw:
    """One outcome of all the dice of `Augment`; the same draw changes every frame alike.

    Attributes:
      flip: mirrored?
      zoom, shift_2 (share of the side), tilt (degrees): geometry.
      colour_3x4: RGB out = matrix · (R, G, B, 1), in grey levels; None: unchanged.
      noise: standard deviation in grey levels. blur: sigma in pixels. cut: (x, y, side) or None.
    """

    flip: bool
    zoom: float
    shift_2: np.ndarray
    tilt: float
    colour_3x4: np.ndarray | None
    noise: float
    blur: float
    cut: tuple[float, float, float] | None


def draw(augment: Augment, rng: np.random.Generator) -> Draw:
    """Throws all dice, always the same number of them, so that one option leaves others alone."""
    uniform = rng.random(20)
    signed = 2 * uniform - 1
    low, high = np.log(augment.zoom)
    cut = (uniform[15], uniform[16], augment.cutout_size * (0.3 + 0.7 * uniform[17]))
    return Draw(
        flip=bool(uniform[0] < augment.flip),
        zoom=float(np.exp(low + (high - low) * uniform[1])),
        shift_2=augment.shift * signed[2:4],
        tilt=augment.rotate * float(signed[4]),
        colour_3x4=_colour(augment, signed[5:11], grey=bool(uniform[11] < augment.grey)),
        noise=augment.noise * float(uniform[12]),
        blur=float(0.5 + uniform[14]) if uniform[13] < augment.blur else 0.0,
        cut=cut if uniform[18] < augment.cutout else None,
    )


def _colour(augment: Augment, signed_6: np.ndarray, *, grey: bool) -> np.ndarray | None:
    """Saturation, tint, contrast about mid grey, and brightness as one matrix."""
    saturation = 0.0 if grey else 1 + augment.saturation * signed_6[0]
    gain_3 = (1 + augment.contrast * signed_6[1]) * (1 + augment.tint * signed_6[2:5])
    if grey:
        gain_3 = np.full(3, gain_3.mean())
    mix = saturation * np.eye(3) + (1 - saturation) * LUMA
    offset_3 = 127.5 * (1 - gain_3) + 255 * augment.brightness * signed_6[5]
    matrix = np.concatenate([gain_3[:, None] * mix, offset_3[:, None]], axis=1).astype(np.float32)
    return None if np.allclose(matrix, np.eye(3, 4), atol=1e-6) else matrix


def apply(
    frames: list[np.ndarray], drawn: Draw, *, size: int, rng: np.random.Generator
) -> np.ndarray:
    """uint8 T×size×size×3 from T RGB frames S×S×3, changed as drawn.

    Geometry is one resampling, colour one matrix product: 0.2 ms a frame of 112 pixels.
    """
    out_THWC = np.empty((len(frames), size, size, 3), np.uint8)
    matrix_2x3 = _affine(drawn, frames[0].shape[0], size)
    for frame, out in zip(frames, out_THWC, strict=True):
        if matrix_2x3 is None:
            resize(frame, size, out)
        else:
            _warp(frame, matrix_2x3, out)
    if drawn.blur:
        for out in out_THWC:
            cv2.GaussianBlur(out, (0, 0), drawn.blur, dst=out)
    if drawn.colour_3x4 is not None:
        flat = out_THWC.reshape(-1, size, 3)
        cv2.transform(flat, drawn.colour_3x4, dst=flat)
    if drawn.noise >= 0.5:
        _add_noise(out_THWC, drawn.noise, rng)
    if drawn.cut is not None:
        x, y, side = (round(v * size) for v in drawn.cut)
        out_THWC[:, y : y + side, x : x + side] = FILL
    return out_THWC


def move(landmarks_T682: np.ndarray, drawn: Draw, *, source: int, size: int) -> np.ndarray:
    """float32 T×68×2: the landmarks (x, y) of frames of side `source` as `apply` moves the picture.

    A mirrored face has its left and right points changed over. The middle of the first pixel is at
    (0.5, 0.5) before and after.
    """
    matrix_2x3 = _affine(drawn, source, size)
    if matrix_2x3 is None:
        return (landmarks_T682 * (size / source)).astype(np.float32)
    # The matrix goes from the result to the source, between middles of pixels at whole numbers.
    back_2x2 = np.linalg.inv(matrix_2x3[:, :2])
    moved = (landmarks_T682 - 0.5 - matrix_2x3[:, 2]) @ back_2x2.T + 0.5
    return (moved[:, MIRRORED_68] if drawn.flip else moved).astype(np.float32)


def resize(frame: np.ndarray, size: int, out: np.ndarray) -> None:
    """Writes `frame` (S×S×3) into `out` (size×size×3), averaging where it shrinks."""
    if frame.shape[0] == size:
        out[:] = frame
    else:
        area = frame.shape[0] > size
        cv2.resize(
            frame, (size, size), dst=out, interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR
        )


def _affine(drawn: Draw, source: int, size: int) -> np.ndarray | None:
    """The matrix that takes a pixel of the result to its place in the source; None: no change."""
    if drawn.zoom == 1 and drawn.tilt == 0 and not drawn.flip and not drawn.shift_2.any():
        return None
    scale = source / size / drawn.zoom
    angle = np.deg2rad(drawn.tilt)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * rotation @ np.diag([-1.0 if drawn.flip else 1.0, 1.0])
    # Pixel centres: the middle of the result lands on the shifted middle of the source.
    centre_2 = (source - 1) / 2 + source * drawn.shift_2
    return np.concatenate([linear, (centre_2 - linear @ np.full(2, (size - 1) / 2))[:, None]], 1)


def _warp(frame: np.ndarray, matrix_2x3: np.ndarray, out: np.ndarray) -> None:
    shrink = np.sqrt(abs(np.linalg.det(matrix_2x3[:, :2])))
    if shrink > 1.5:  # bilinear sampling would alias: average down first
        side = round(frame.shape[0] / shrink)
        ratio = side / frame.shape[0]
        frame = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        matrix_2x3 = matrix_2x3 * ratio
        matrix_2x3[:, 2] += (ratio - 1) / 2
    cv2.warpAffine(
        frame,
        matrix_2x3,
        out.shape[1::-1],
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _add_noise(frames_THWC: np.ndarray, sigma: float, rng: np.random.Generator) -> None:
    """Adds Gaussian noise in place: random bytes through a table of quantiles (max 2.9 σ).

    Each frame sees the same field from another row on. Drawing a normal number for each pixel of
    16 frames took 5 ms, this takes 0.5.
    """
    size = frames_THWC.shape[1]
    level_256 = np.rint(sigma * QUANTILES).astype(np.int16)
    rows = size + NOISE_ROWS
    field_HWC = level_256[rng.integers(0, 256, (rows, size, 3), np.uint8)]
    starts_T = rng.integers(0, NOISE_ROWS, len(frames_THWC))
    for frame, start in zip(frames_THWC, starts_T.tolist(), strict=True):
        cv2.add(frame, field_HWC[start : start + size], dst=frame, dtype=cv2.CV_8U)
