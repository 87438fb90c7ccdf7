"""What a client's bytes are, read from their first bytes, before any decoder sees them."""

import struct

import cv2
import numpy as np

# Of JPEG (ITU-T T.81, table B.1): frames (sizes stand there), and markers without a length.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END, _PADDING = b"\xff\xd9", 64  # bytes that some cameras append
_BARE = frozenset([0x01, *range(0xD0, 0xD9)])

# Containers are told by their bytes, never by a name. FFmpeg would also take playlists and
# descriptions, which make it open other files and addresses: those are not among them.
_FILM_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", ".mp4"),
    (4, b"moov", ".mov"),
    (4, b"mdat", ".mov"),
    (4, b"wide", ".mov"),
    (4, b"free", ".mov"),
    (4, b"skip", ".mov"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),  # also WebM
    (0, b"FLV\x01", ".flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"),
    (0, b"OggS", ".ogv"),
    (0, b"\x00\x00\x01\xba", ".mpg"),
    (0, b"\x00\x00\x01\xb3", ".mpg"),
)
_LONGEST = 6  # times the shorter side; two wide screens side by side are 3.6
_TS_PACKET = 188


def film_suffix(head: bytes) -> str | None:
    """The suffix that suits a film or picture by its first 512 bytes; None: it is neither."""
    if head[:3] == b"\xff\xd8\xff":
        return ".jpg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return ".png"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    if len(head) > 2 * _TS_PACKET and all(head[i] == 0x47 for i in (0, _TS_PACKET, 2 * _TS_PACKET)):
        return ".ts"
    return next((s for at, magic, s in _FILM_MAGIC if head[at : at + len(magic)] == magic), None)


def too_long(width: int, height: int) -> bool:
    """Whether a frame's sides are in no proportion: a search for faces would keep much memory.

    Detectors shrink a frame by its shorter side, so of 11320×179 pixels nothing is left out.
    """
    return max(width, height) > _LONGEST * min(width, height)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from a JPEG's header; None where there is none."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _SOF:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            return (width, height) if width and height else None
        if marker == 0xDA or length < 2:  # the scan, before any frame
            return None
        at += 2 + length
    return None


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from a PNG's header; None where there is none."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if width and height else None


def decode_jpeg(data: bytes) -> np.ndarray | None:
    """uint8 RGB H×W×3; None where it does not decode or breaks off. Look at `jpeg_size` first."""
    if _JPEG_END not in data[-_PADDING:]:  # the decoder would paint the rest grey
        return None
    try:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if frame is None else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
