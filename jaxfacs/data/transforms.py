"""Random changes of a clip, in numpy and cv2, each drawn from a generator that is passed in."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np

from jaxfacs.data.config import NO_AUGMENT, Augment

# ITU-R BT.601 luma: what JPEG and cv2 call grey.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
NOISE_ROWS = 32
# NTSC's luma and chroma; the rows of the chroma sum to 0, so that grey stays grey.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
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
      crop: (x, y) in [0, 1) of the room that the cut-out square has, and its share of the side.
      jpeg: quality of one more compression; 0: none.
    """

    flip: bool
    zoom: float
    shift_2: np.ndarray
    tilt: float
    colour_3x4: np.ndarray | None
    noise: float
    blur: float
    cut: tuple[float, float, float] | None
    crop: tuple[float, float, float] = (0.5, 0.5, 1.0)
    jpeg: int = 0


def draw(augment: Augment, rng: np.random.Generator) -> Draw:
    """Throws all dice, always the same number of them, so that one option leaves others alone."""
    uniform, more = rng.random(20), apart(rng, 1).random(20)
    signed = 2 * uniform - 1
    low, high = np.log(augment.zoom)
    cut = (uniform[15], uniform[16], augment.cutout_size * (0.3 + 0.7 * uniform[17]))
    worst, best = augment.jpeg_quality
    return Draw(
        flip=bool(uniform[0] < augment.flip),
        zoom=float(np.exp(low + (high - low) * uniform[1])),
        shift_2=augment.shift * signed[2:4],
        tilt=_one_of(augment.tilts, uniform[4], augment.rotate),
        colour_3x4=_colour(
            augment,
            signed[5:10],
            brightness=_one_of(augment.brightness_steps, uniform[10], augment.brightness),
            hue=augment.hue * (2 * more[2] - 1),
            grey=bool(uniform[11] < augment.grey),
        ),
        noise=augment.noise * float(uniform[12]),
        blur=float(0.5 + uniform[14]) if uniform[13] < augment.blur else 0.0,
        cut=cut if uniform[18] < augment.cutout else None,
        crop=(more[0], more[1], augment.crop),
        jpeg=worst + int((best - worst + 1) * more[4]) if more[3] < augment.jpeg else 0,
    )


def unchanged(augment: Augment) -> Draw:
    """What evaluation sees: the middle of what `augment.crop` cuts out, and nothing else."""
    plain = draw(NO_AUGMENT, np.random.default_rng(0))
    return replace(plain, crop=(0.5, 0.5, augment.crop))


def apart(rng: np.random.Generator, streams: int) -> np.random.Generator:
    """A generator of its own, as pure a function of the state of `rng`, which it leaves alone.

    Later options take their dice from one, so that the clips of earlier seeds stay what they were.
    (`spawn` counts its children instead, and grain lends one generator to many clips.)
    """
    return np.random.Generator(rng.bit_generator.jumped(streams))  # type: ignore[attr-defined]


def _one_of(values: tuple[float, ...], uniform: float, reach: float) -> float:
    """One of the values, each as likely; without any a number within ±reach."""
    if values:
        return float(values[int(len(values) * uniform)])
    return reach * float(2 * uniform - 1)


def _colour(
    augment: Augment, signed_5: np.ndarray, *, brightness: float, hue: float, grey: bool
) -> np.ndarray | None:
    """Hue, saturation, tint, contrast about mid grey, and brightness as one matrix."""
    saturation = 0.0 if grey else 1 + augment.saturation * signed_5[0]
    gain_3 = (1 + augment.contrast * signed_5[1]) * (1 + augment.tint * signed_5[2:5])
    if grey:
        gain_3 = np.full(3, gain_3.mean())
    mix = saturation * np.eye(3) + (1 - saturation) * LUMA
    if hue:
        mix = mix @ _turned(hue)
    offset_3 = 127.5 * (1 - gain_3) + 255 * brightness
    matrix = np.concatenate([gain_3[:, None] * mix, offset_3[:, None]], axis=1).astype(np.float32)
    return None if np.allclose(matrix, np.eye(3, 4), atol=1e-6) else matrix


def _turned(degrees: float) -> np.ndarray:
    """The matrix that turns the colours of RGB about the grey axis and keeps their luma."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.linalg.solve(YIQ, np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ YIQ)


def apply(
    frames: list[np.ndarray], drawn: Draw, *, size: int, rng: np.random.Generator
) -> np.ndarray:
    """uint8 T×size×size×3 from T RGB frames S×S×3, changed as drawn.

    Geometry is one resampling, colour one matrix product: 0.2 ms a frame of 112 pixels.
    """
    out_THWC = np.empty((len(frames), size, size, 3), np.uint8)
    source = frames[0].shape[0]
    (x, y), side = _square(drawn, source)
    matrix_2x3 = None if _upright(drawn) else _affine(drawn, source, size)
    for frame, out in zip(frames, out_THWC, strict=True):
        if matrix_2x3 is None:
            resize(frame[y : y + side, x : x + side], size, out)
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
    if drawn.jpeg:
        for out in out_THWC:
            _compress(out, drawn.jpeg)
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


def carry(flow_FHW2: np.ndarray, drawn: Draw, *, size: int) -> np.ndarray:
    """float32 F×size×size×2: optical flow in pixels as it is in the picture that `apply` makes.

    Both the places and the vectors move: a mirrored face moves to the other side, one shown half as
    large moves half as far.
    """
    source = flow_FHW2.shape[1]
    out_FHW2 = np.empty((len(flow_FHW2), size, size, 2), np.float32)
    matrix_2x3 = _affine(drawn, source, size)
    if matrix_2x3 is None:
        if size == source:
            return flow_FHW2
        for field, out in zip(flow_FHW2, out_FHW2, strict=True):
            resize(field, size, out)
        return out_FHW2 * np.float32(size / source)
    back_2x2 = np.linalg.inv(matrix_2x3[:, :2]).astype(np.float32)
    for field, out in zip(flow_FHW2, out_FHW2, strict=True):
        _warp(field, matrix_2x3, out)
        cv2.transform(out, back_2x2, dst=out)
    return out_FHW2


def resize(frame: np.ndarray, size: int, out: np.ndarray) -> None:
    """Writes `frame` (S×S×C) into `out` (size×size×C), averaging where it shrinks."""
    if frame.shape[0] == size:
        out[:] = frame
    else:
        area = frame.shape[0] > size
        cv2.resize(
            frame, (size, size), dst=out, interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR
        )


def _affine(drawn: Draw, source: int, size: int) -> np.ndarray | None:
    """The matrix that takes a pixel of the result to its place in the source; None: no change."""
    corner_2, side = _square(drawn, source)
    if side == source and _upright(drawn):
        return None
    scale = side / size / drawn.zoom
    angle = np.deg2rad(drawn.tilt)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * rotation @ np.diag([-1.0 if drawn.flip else 1.0, 1.0])
    # Pixel centres: the middle of the result lands on the shifted middle of what is cut out.
    centre_2 = corner_2 + (side - 1) / 2 + source * drawn.shift_2
    return np.concatenate([linear, (centre_2 - linear @ np.full(2, (size - 1) / 2))[:, None]], 1)


def _square(drawn: Draw, source: int) -> tuple[np.ndarray, int]:
    """Top left corner (x, y) and side of what is cut out, in whole pixels of the stored frame."""
    *offset_2, share = drawn.crop
    side = max(1, round(source * share))
    return np.floor((source - side + 1) * np.array(offset_2)).astype(int), side


def _upright(drawn: Draw) -> bool:
    """Whether nothing but a square of whole pixels is cut out."""
    return drawn.zoom == 1 and drawn.tilt == 0 and not drawn.flip and not drawn.shift_2.any()


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


def _compress(frame_HWC: np.ndarray, quality: int) -> None:
    bgr = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    frame_HWC[:] = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)


def _add_noise(frames_THWC: np.ndarray, sigma: float, rng: np.random.Generator) -> None:
    """Adds Gaussian noise in place: random bytes through a table of quantiles (max 2.9 σ).

    Each frame sees the same field from another row on. Drawing a normal number for each pixel of
    16 frames took 5 ms, this takes 0.5.
    """
    size = frames_THWC.shape[1]
    level_256 = np.rint(sigma * QUANTILES).astype(np.int16)
    rows = size + NOISE_ROWS
    field_HWC = cv2.LUT(rng.integers(0, 256, (rows, size, 3), np.uint8), level_256)
    starts_T = rng.integers(0, NOISE_ROWS, len(frames_THWC))
    for frame, start in zip(frames_THWC, starts_T.tolist(), strict=True):
        cv2.add(frame, field_HWC[start : start + size], dst=frame, dtype=cv2.CV_8U)
