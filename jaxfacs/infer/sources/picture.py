"""Decoding one picture, whose size is read from its header first."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import limits

PICTURES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))


def read(path: Path) -> np.ndarray:
    """The picture as uint8 RGB, upright where its EXIF says how it was held.

    Grey becomes three equal channels; alpha is left out; 16 bits become 8 (their upper ones);
    CMYK becomes RGB. Of several pages or animation steps the first counts.

    Raises:
      UserError: it cannot be read, is no picture, or is larger than `limits` allow.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is not a regular file; give the path of a picture")
        if path.stat().st_size > limits.MAX_PICTURE_BYTES:
            raise UserError(f"{path} is larger than {limits.MAX_PICTURE_BYTES >> 20} MB")
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not raw:
        raise UserError(f"{path} does not decode as a picture: it is empty (0 bytes)")
    shape = size(raw)
    if shape is not None:
        limits.refuse_large(path, *shape)
    frame = decode(raw)
    if frame is None:
        raise UserError(f"{path} does not decode as a picture; check that it opens elsewhere")
    return frame


def decode(raw: bytes) -> np.ndarray | None:
    """uint8 RGB of a picture's bytes; None where they do not decode or are too large a picture."""
    shape = size(raw)
    if shape is not None and limits.too_large(*shape):
        return None
    try:
        frame = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if frame is None else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def size(raw: bytes) -> tuple[int, int] | None:
    """(width, height) that a picture's header claims; None where it is of no kind known here."""
    for magic, reader in _HEADERS:
        if raw.startswith(magic):
            try:
                sides = reader(raw)
            except (struct.error, IndexError):
                return None
            return sides if sides and all(sides) else None
    return None


def _png(raw: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", raw, 16)


def _bmp(raw: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", raw, 14)[0] == 12:  # OS/2's header
        return struct.unpack_from("<HH", raw, 18)
    width, height = struct.unpack_from("<ii", raw, 18)
    return abs(width), abs(height)  # negative: stored from the top


def _jpeg(raw: bytes) -> tuple[int, int] | None:
    at = 2
    while at < len(raw):
        if raw[at] != 0xFF:
            return None
        while raw[at] == 0xFF:
            at += 1
        marker = raw[at]
        at += 1
        if marker in (0x01, *range(0xD0, 0xD8)):
            continue
        # Start of frame, of every coding; C4, C8 and CC are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", raw, at + 3)
            return width, height
        if marker in (0xD9, 0xDA):
            return None
        at += struct.unpack_from(">H", raw, at)[0]
    return None


def _webp(raw: bytes) -> tuple[int, int] | None:
    kind = raw[8:16]
    if kind == b"WEBPVP8X":
        width, height = (int.from_bytes(raw[k : k + 3], "little") for k in (24, 27))
        return width + 1, height + 1
    if kind == b"WEBPVP8L":
        bits = struct.unpack_from("<I", raw, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", raw, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(raw: bytes) -> tuple[int, int] | None:
    order = "<" if raw[:2] == b"II" else ">"
    at = struct.unpack_from(f"{order}I", raw, 4)[0]
    sides = {}
    for k in range(struct.unpack_from(f"{order}H", raw, at)[0]):
        tag, kind = struct.unpack_from(f"{order}HH", raw, at + 2 + 12 * k)
        if tag in (256, 257):  # ImageWidth, ImageLength: SHORT or LONG
            form = {3: "H", 4: "I"}.get(kind)
            if form is None:
                return None
            sides[tag] = struct.unpack_from(f"{order}{form}", raw, at + 10 + 12 * k)[0]
    return (sides[256], sides[257]) if len(sides) == 2 else None


_HEADERS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
)
