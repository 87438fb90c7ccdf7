"""What a client's bytes are, read from their first bytes, before any decoder sees them."""

import numpy as np

from jaxfacs.infer.sources import picture

_JPEG_END, _PADDING = b"\xff\xd9", 64  # bytes that some cameras append

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


def decode_jpeg(data: bytes) -> np.ndarray | None:
    """uint8 RGB H×W×3; None where it is no JPEG, breaks off or does not decode.

    Look at its size first.
    """
    # Of one that breaks off the decoder would paint the rest grey.
    whole = data[:2] == b"\xff\xd8" and _JPEG_END in data[-_PADDING:]
    return picture.decode(data) if whole and picture.size(data) else None
