"""The words of a live session: what a client may say, read without trusting it."""

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxfacs.serve.limits import Limits
from jaxfacs.serve.pictures import too_long

_HEAD = struct.Struct("<IdI")  # sequence, time in seconds, length in bytes
_PLAIN_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_LONGEST_TEXT = 4096
_LONGEST_TIME_S = 1e9
_LONGEST_SMOOTHING_S = 10.0
_LONGEST_BASELINE_S = 30.0  # what is kept of a live session, see `infer.baseline`


class BadMessage(Exception):
    """A message that no client of ours sends; the text says what is wrong with it."""


class Frame(NamedTuple):
    """One frame as it came: its number, its time in seconds, its bytes."""

    sequence: int
    timestamp: float
    data: bytes


@dataclass(frozen=True)
class Start:
    """The first message: how frames come and how they are answered.

    `width` and `height` are in pixels, 0 for JPEG; `baseline` and `smooth_s` as in `jaxfacs
    predict`.
    """

    format: str
    width: int = 0
    height: int = 0
    baseline: str = "none"
    smooth_s: float = 0.0


def read_text(text: str) -> dict[str, Any]:
    """A text message: a JSON object with a "type"."""
    if len(text) > _LONGEST_TEXT:
        raise BadMessage(f"a text message is longer than {_LONGEST_TEXT} characters")
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadMessage("a text message is not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise BadMessage('a text message is a JSON object with a "type"')
    return message


def read_start(message: dict[str, Any], limits: Limits) -> Start:
    if message["type"] != "start":
        raise BadMessage('the first message is {"type": "start", ...}')
    kind = message.get("format")
    if kind not in ("jpeg", "raw"):
        raise BadMessage('"format" is "jpeg" or "raw"')
    width, height = (_whole(message, name) for name in ("width", "height"))
    if kind == "raw":
        if not width or not height:
            raise BadMessage('raw frames need "width" and "height" in pixels')
        if width * height > limits.frame_pixels or 3 * width * height > limits.frame_bytes:
            raise BadMessage(
                f"frames of {width}x{height} are too large; {limits.frame_pixels} pixels and "
                f"{limits.frame_bytes} bytes are the most"
            )
        if too_long(width, height):
            raise BadMessage(f"frames of {width}x{height} are no camera's; make them less long")
    return Start(
        kind,
        width,
        height,
        baseline(message.get("baseline", "none")),
        seconds(message.get("smooth_s", 0), "smooth_s", _LONGEST_SMOOTHING_S),
    )


def read_baseline(message: dict[str, Any]) -> float | None:
    """Seconds that are the person's neutral face; None: no longer any."""
    action = message.get("action")
    if action == "clear":
        return None
    if action != "set":
        raise BadMessage('the "action" of a baseline is "set" or "clear"')
    length_s = seconds(message.get("seconds", 2), "seconds", _LONGEST_BASELINE_S)
    if length_s <= 0:
        raise BadMessage('"seconds" of a baseline is above 0')
    return length_s


def read_frames(data: bytes, limits: Limits) -> list[Frame]:
    """The frames of a binary message, 1 to `frames_per_message`."""
    frames: list[Frame] = []
    at = 0
    while at < len(data):
        if len(frames) == limits.frames_per_message:
            raise BadMessage(f"a message holds more than {limits.frames_per_message} frames")
        if at + _HEAD.size > len(data):
            raise BadMessage("a message ends inside the head of a frame")
        sequence, timestamp, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if not math.isfinite(timestamp) or not 0 <= timestamp <= _LONGEST_TIME_S:
            raise BadMessage("the time of a frame is not a number of seconds, 0 or more")
        if length > len(data) - at:
            raise BadMessage("a message ends inside a frame")
        frames.append(Frame(sequence, timestamp, data[at : at + length]))
        at += length
    if not frames:
        raise BadMessage("a binary message without a frame")
    return frames


def baseline(value: Any) -> str:
    """ "none", "median" or "first:SECONDS": what a client may choose, never a path."""
    if value in ("none", "median"):
        return value
    if isinstance(value, str) and value.startswith("first:"):
        text = value.removeprefix("first:")
        if _PLAIN_NUMBER.fullmatch(text):
            length_s = seconds(float(text), "baseline", _LONGEST_BASELINE_S)
            if length_s > 0:
                return f"first:{length_s:g}"
    raise BadMessage(
        f'"baseline" is "none", "median" or "first:SECONDS", up to {_LONGEST_BASELINE_S:g} seconds'
    )


def seconds(value: Any, name: str, most: float) -> float:
    """A number of seconds from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadMessage(f'"{name}" is a number of seconds')
    if not 0 <= value <= most:  # also NaN
        raise BadMessage(f'"{name}" is 0 to {most:g} seconds')
    return float(value)


def smoothing(text: str) -> float:
    """`smooth_s` of a query."""
    try:
        value = float(text)
    except ValueError:
        raise BadMessage('"smooth_s" is a number of seconds') from None
    return seconds(value, "smooth_s", _LONGEST_SMOOTHING_S)


def _whole(message: dict[str, Any], name: str) -> int:
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise BadMessage(f'"{name}" is a number of pixels, up to 65535')
    return value


def _no_constant(name: str):
    raise ValueError(name)
