"""Small films with known times, turns and damage, made with OpenCV and by hand."""

import shutil
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def level(k: int) -> int:
    """What the k-th frame shows."""
    return 20 + 7 * k


def write_film(path: Path, count=30, fps=30.0, size=(64, 48), code="mp4v") -> Path:
    """Flat frames that tell their number; one corner is white, so that turns can be told."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size)
    for k in range(count):
        frame = np.full((size[1], size[0], 3), level(k), np.uint8)
        frame[: size[1] // 3, : size[0] // 3] = 255
        writer.write(frame)
    writer.release()
    return path


def shown(frame: np.ndarray) -> int:
    """The number of the frame that is shown."""
    height, width = frame.shape[:2]
    middle = frame[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5]
    return round((float(middle.mean()) - 20) / 7)


def white_corner(frame: np.ndarray) -> str:
    height, width = frame.shape[0] // 5, frame.shape[1] // 5
    corners = {
        "top left": frame[:height, :width],
        "top right": frame[:height, -width:],
        "bottom left": frame[-height:, :width],
        "bottom right": frame[-height:, -width:],
    }
    return max(corners, key=lambda name: corners[name].mean())


def retimed(path: Path, out: Path, gaps: list[int], *, scale=1000) -> Path:
    """An .mp4 whose frames last `gaps` thousandths of a second."""

    def table(kind: bytes, body: bytes) -> bytes:
        if kind == b"mdhd":
            return body[:12] + struct.pack(">II", scale, sum(gaps)) + body[20:]
        if kind == b"stts":
            rows = b"".join(struct.pack(">II", 1, gap) for gap in gaps)
            return body[:4] + struct.pack(">I", len(gaps)) + rows
        return body

    out.write_bytes(_boxes(path.read_bytes(), table, without=b"edts"))
    return out


def turned(path: Path, out: Path, degrees: int) -> Path:
    """An .mp4 to be shown turned clockwise, as telephones write it."""
    matrices = {
        90: (0, 1, -1, 0),
        180: (-1, 0, 0, -1),
        270: (0, -1, 1, 0),
    }

    def header(kind: bytes, body: bytes) -> bytes:
        if kind != b"tkhd":
            return body
        a, b, c, d = (v << 16 for v in matrices[degrees])
        return body[:40] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + body[76:]

    out.write_bytes(_boxes(path.read_bytes(), header))
    return out


def _boxes(data: bytes, change, without: bytes = b"") -> bytes:
    """ISO 14496-12 boxes with `change` done to the bodies of the leaves; `moov` is the last one."""
    out, at = b"", 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + length]
        if kind in CONTAINERS:
            body = _boxes(body, change, without)
        elif kind != b"mdat":
            body = change(kind, body)
        if kind != without:
            out += struct.pack(">I4s", 8 + len(body), kind) + body
        at += length
    return out


def ffmpeg(*arguments: object) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: films that only it can make are left out")
    command = ["ffmpeg", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
