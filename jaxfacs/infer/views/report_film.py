"""The film in a report: put in, linked, or copied in a form that browsers play."""

import base64
import html
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import cv2

from jaxfacs.errors import UserError
from jaxfacs.infer.files import replacing
from jaxfacs.infer.sources import source
from jaxfacs.infer.views import overlay_file

Embed = Literal["auto", "always", "never"]

MOST_EMBEDDED = 25_000_000  # bytes of the film; base64 makes a third more of it
# What a file begins with (at an offset) -> its media type. The name's suffix may say anything.
_CONTAINERS = (
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "video/ogg"),
)
_PICTURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
)
# OpenCV's names of what Chromium, Firefox and Safari decode.
_PLAYED = frozenset(("avc1", "h264", "vp80", "vp08", "vp8", "vp90", "vp09", "vp9", "av01"))


@dataclass(frozen=True)
class Shown:
    """The film's part of the page.

    Attributes:
      markup, note: HTML.
      linked: whether it lies beside the page.
      size: (width, height) of the frames that boxes are in; None without a film.
      offset_s: table time at which the film's own time is 0.
    """

    markup: str
    note: str = ""
    linked: bool = False
    size: tuple[int, int] | None = None
    offset_s: float = 0.0


def shown(film_path: str | Path | None, out: Path, *, embed: Embed) -> Shown:
    """The film for a page at `out`."""
    if film_path is None:
        return Shown("<p class='absent'>No film was given with this table.</p>")
    path = Path(film_path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read the film {path}: {error.strerror}") from error
    if kind := _kind(start, _PICTURES):
        return _picture(path, kind)
    found = source.find([str(path)])[0]
    first = next(iter(found.frames()), None)
    frame = None if first is None else first.frame_HWC
    frame_size = None if frame is None else (frame.shape[1], frame.shape[0])
    kind = _kind(start, _CONTAINERS)
    if kind and _codec(path) in _PLAYED:
        if embed == "never" or (embed == "auto" and size > MOST_EMBEDDED):
            return _linked(path, out, frame_size, "")
        return _embedded(path.read_bytes(), kind, frame_size, 0.0, "")
    return _copied(found, out, embed, frame_size, 0.0 if first is None else first.timestamp)


def _kind(start: bytes, known: tuple[tuple[int, bytes, str], ...]) -> str:
    return next((kind for at, magic, kind in known if start[at:].startswith(magic)), "")


def _codec(path: Path) -> str:
    film = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    number = int(film.get(cv2.CAP_PROP_FOURCC))
    film.release()
    return number.to_bytes(4, "little", signed=number < 0).decode("latin-1").strip("\0 ").lower()


def _player(address: str) -> str:
    return (
        f'<div class="screen"><video controls muted playsinline preload="auto" src="{address}">'
        "</video><canvas></canvas></div>"
        '<p class="warn" id="unplayable" hidden>This browser cannot play the film; '
        'the timelines work all the same.</p><p class="warn" id="short" hidden>'
        "The film is shorter than the table: is it another one?</p>"
    )


def _embedded(
    content: bytes, kind: str, size: tuple[int, int] | None, offset_s: float, note: str
) -> Shown:
    address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Shown(_player(address), note, False, size, offset_s)


def _linked(
    path: Path, out: Path, size: tuple[int, int] | None, note: str, offset_s: float = 0.0
) -> Shown:
    relative = os.path.relpath(path.resolve(), out.resolve().parent)
    address = "/".join(quote(part) for part in Path(relative).parts)
    name = html.escape(relative)
    said = f'<p class="note">The film is not in this page; it is read from {name}. {note}</p>'
    return Shown(_player(html.escape(address)), said, True, size, offset_s)


def _copied(
    found: source.Source,
    out: Path,
    embed: Embed,
    size: tuple[int, int] | None,
    start_s: float,
) -> Shown:
    """Browsers do not play it: a small copy without sound goes into the page, or beside it."""
    said = "a smaller copy without sound, since browsers do not play the film itself"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.webm"
        overlay_file.preview(found, copy)
        content = copy.read_bytes()
    if embed != "never" and (embed == "always" or len(content) <= MOST_EMBEDDED):
        note = f'<p class="note">Shown is {said}.</p>'
        return _embedded(content, "video/webm", size, start_s, note)
    beside = out.with_suffix(".film.webm")
    with replacing(beside) as temporary:
        temporary.write_bytes(content)
    return _linked(beside, out, size, f"It is {said}.", start_s)


def _picture(path: Path, kind: str) -> Shown:
    address = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return Shown(f'<div class="screen"><img alt="the picture" src="{address}"></div>')
