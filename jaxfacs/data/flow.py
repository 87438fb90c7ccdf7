"""Optical flow found once, when a set is built: how it is packed into records, and stacked again.

Field k of a recording leads from frame k to frame k + 1 of the prepared crops: dense flow by
Farneback's algorithm, in pixels a frame. The network of Bocklisch et al. 2015, section 2.3, sees
the five fields before and the five after a frame, so a clip of the frames a … b carries the fields
a − 5 … b + 4, which are F = T + 9, and each of its frames has all ten.

The rule at borders: before the first and after the last frame of a recording nothing moves (fields
of zeros); where a clip begins or ends inside a recording, its outer fields are the real ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

import cv2
import numpy as np

from jaxfacs.data.config import FlowComponents
from jaxfacs.faces.farneback import FARNEBACK

COMPONENTS = tuple(name for name in get_args(FlowComponents) if name)
PRECEDING = SUCCEEDING = 5
AROUND = PRECEDING + SUCCEEDING

ZERO, LARGEST = 128, 127  # the grey level that says 0, and how many levels it has on either side
# Runs of equal differences are what a smooth field has: of a face of 112 pixels 6.3 KB in 0.3 ms;
# zlib's usual search at its highest effort makes 6.8 KB in 13 ms.
PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def fields(frames: Iterable[np.ndarray]) -> Iterator[tuple[bytes, float]]:
    """Yields the T − 1 packed fields (`pack`) of T crops of one recording, in order.

    One frame is kept at a time.

    Args:
      frames: uint8 RGB S×S×3 as they are stored, of one size.
    """
    before = None
    for frame in frames:
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if before is not None:
            yield pack(farneback(before, grey))
        before = grey


def farneback(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 S×S×2 pixels: where each pixel of one grey picture is in the next (x, y)."""
    names = ("pyr_scale", "levels", "winsize", "iterations", "poly_n", "poly_sigma")
    options = [FARNEBACK[name] for name in names]
    return cv2.calcOpticalFlowFarneback(before, after, None, *options, 0)  # pyrefly: ignore


def pack(flow_HW2: np.ndarray) -> tuple[bytes, float]:
    """A field as one grey PNG S×2S, horizontal part left of the vertical one, and its scale.

    Level 128 + v says v / 127 of the scale, the largest part of any vector in pixels, so that a
    value comes back within scale / 254. A field without motion has the scale 0.
    """
    scale = np.float32(np.abs(flow_HW2).max())
    level_HW2 = np.rint(flow_HW2 * (LARGEST / max(scale, np.float32(1e-30)))) + ZERO
    return _png(np.hstack([level_HW2[..., 0], level_HW2[..., 1]]).astype(np.uint8)), float(scale)


def unpack(png: bytes, scale: float) -> np.ndarray:
    """float32 S×S×2 pixels. Raises ValueError where the picture is not what `pack` makes."""
    level = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) if png else None
    if level is None or level.shape[1] != 2 * level.shape[0]:
        raise ValueError("the picture of a flow field does not decode")
    size = len(level)
    pixels_256 = (np.arange(256, dtype=np.float32) - ZERO) * np.float32(scale / LARGEST)
    return cv2.LUT(cv2.merge((level[:, :size], level[:, size:])), pixels_256)


def still(size: int) -> tuple[bytes, float]:
    """A packed field in which nothing moves."""
    return _png(np.full((size, 2 * size), ZERO, np.uint8)), 0.0


def of_clip(
    packed: Sequence[tuple[bytes, float]], first: int, length: int, *, size: int = 0
) -> tuple[list[bytes], np.ndarray]:
    """`Clip.flow` and `Clip.flow_scale_F` of the frames first … first + length − 1.

    Args:
      packed: all fields of the recording, one fewer than it has frames.
      first, length: of the clip, in frames of the recording.
      size: side S of the crops; needed only for a recording of one frame, which has no field.

    Raises:
      ValueError: the clip is not within the recording, or the size is needed and missing.
    """
    if not 0 <= first < first + length <= len(packed) + 1:
        raise ValueError(f"frames {first} to {first + length - 1} of {len(packed) + 1}")
    size = size or (_height(packed[0][0]) if packed else 0)
    if not size:
        raise ValueError("the flow of a single frame needs the size of its picture")
    border = still(size)
    places = range(first - PRECEDING, first + length - 1 + SUCCEEDING)
    taken = [packed[k] if 0 <= k < len(packed) else border for k in places]
    return [png for png, _ in taken], np.array([scale for _, scale in taken], np.float32)


def channels(components: str) -> int:
    """How many channels the stack of one frame has."""
    return AROUND * (2 if components == "xy" else 1)


def stacks(
    flow_FHW2: np.ndarray, places_T: np.ndarray, *, components: str, limit: float
) -> np.ndarray:
    """float16 T×H×W×C in [−1, 1]: the ten fields around each frame, in the order of time.

    Channels and scaling are those of `models.flow_input.FlowStack` with five preceding and five
    succeeding fields, so that a network may take either: what `components` keeps of each field (its
    vertical part, its horizontal part, its length, or both parts, all horizontal channels first),
    divided by `limit` pixels and cut off at ±1.

    Args:
      flow_FHW2: float32 pixels, the unpacked fields of a clip.
      places_T: of which frames of the clip.
    """
    part_FHWP = _parts(flow_FHW2, components) * np.float32(1 / limit)
    np.clip(part_FHWP, -1, 1, out=part_FHWP)
    out = np.empty((len(places_T), *flow_FHW2.shape[1:3], channels(components)), np.float16)
    half_HWFP = np.ascontiguousarray(part_FHWP.astype(np.float16).transpose(1, 2, 0, 3))
    for stack, place in zip(out, places_T.tolist(), strict=True):
        around_HWFP = half_HWFP[:, :, place : place + AROUND]
        for part in range(half_HWFP.shape[-1]):
            stack[..., part * AROUND : (part + 1) * AROUND] = around_HWFP[..., part]
    return out


def _parts(flow_FHW2: np.ndarray, components: str) -> np.ndarray:
    """float32 F×H×W×P, in memory of its own."""
    if components == "magnitude":
        return np.hypot(flow_FHW2[..., :1], flow_FHW2[..., 1:])
    column = {"x": slice(0, 1), "y": slice(1, 2), "xy": slice(0, 2)}[components]
    return flow_FHW2[..., column].copy()


def _png(level_HW: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", level_HW, PNG_OPTIONS)
    assert done, "cv2 cannot encode this field"
    return data.tobytes()


def _height(png: bytes) -> int:
    # The header chunk of a PNG begins at byte 16 with the width and the height (RFC 2083, 4.1.1).
    return int.from_bytes(png[20:24], "big")
