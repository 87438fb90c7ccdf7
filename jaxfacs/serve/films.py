"""Reading one film that a client sent: looked at first, read frame by frame, kept packed."""

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from jaxfacs.errors import UserError
from jaxfacs.infer import tables
from jaxfacs.infer.answers import AnswerSettings
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.sources import picture
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.sources.film import open_film
from jaxfacs.serve import faces
from jaxfacs.serve.batching import Batcher
from jaxfacs.serve.limits import Limits
from jaxfacs.serve.pictures import film_suffix, too_long

_GZIP = 31  # zlib's word for gzip's format


@dataclass(frozen=True)
class Options:
    """What a client may choose for a film; see `jaxfacs predict`."""

    baseline: str = "none"
    smooth_s: float = 0.0
    every: int = 1


@dataclass(frozen=True)
class Result:
    """What is kept of a film: its results as JSON and as CSV, both packed by gzip."""

    json_gz: bytes
    csv_gz: bytes


class Cancelled(Exception):
    """The client no longer wants it."""


def read(
    predictor: Predictor,
    film: Path,
    options: Options,
    *,
    batcher: Batcher,
    client: str,
    limits: Limits,
    on_frame: Callable[[int, int | None], None],
) -> Result:
    """Reads a film in a folder of its own, in which the table is written too.

    Args:
      on_frame: (frames so far, frames to expect) after each; may raise Cancelled.

    Raises:
      UserError: it does not decode, or is beyond a limit; its text names no path of this machine.
    """
    try:
        _refuse_enormous(film, limits)
        source = _found(film, options)
        return _read(
            predictor,
            source,
            options,
            batcher=batcher,
            client=client,
            limits=limits,
            on_frame=on_frame,
            csv=film.parent / "results.csv",
        )
    except UserError as error:
        text = str(error).replace(str(film), "the film").replace(str(film.resolve()), "the film")
        raise UserError(text.replace(str(film.parent), "…")) from error


def _found(film: Path, options: Options) -> sources.Source:
    (source,) = sources.find([str(film)], every=options.every)
    return source


def _read(
    predictor: Predictor,
    source: sources.Source,
    options: Options,
    *,
    batcher: Batcher,
    client: str,
    limits: Limits,
    on_frame: Callable[[int, int | None], None],
    csv: Path,
) -> Result:
    explain = predictor.reading.explain
    stream = predictor.stream(
        fps=source.fps,
        still=source.still,
        submit=_submitting(batcher, client),
        settings=AnswerSettings(baseline=options.baseline, smooth_s=options.smooth_s),
    )
    summary = faces.Summary(predictor.aus, predictor.emotions)
    packed = _Packed(limits.result_bytes)
    seen = _Seen(limits, source)
    with tables.writing(
        csv,
        aus=predictor.aus,
        emotions=predictor.emotions,
        valence_arousal=predictor.valence_arousal,
    ) as table:
        done = 0

        def take(result) -> None:
            nonlocal done
            table.add(result)
            summary.add(result)
            packed.add_frame(faces.frame(result, explain))
            done += 1
            on_frame(done, source.total)

        for number, timestamp, frame_HWC in source.frames():
            seen.add(timestamp, frame_HWC)
            on_frame(done, source.total)
            for result in stream.push(frame_HWC, timestamp, number):
                take(result)
        for result in stream.finish():
            take(result)
    head = {
        "aus": list(predictor.aus),
        "emotions": list(predictor.emotions),
        "fps": source.fps,
        "duration_s": round(seen.last_s, 4),
        "width": seen.width,
        "height": seen.height,
        "warnings": [_plain(w) for w in source.warnings[:20]],
        "summary": summary.to_json(),
    }
    return Result(packed.finish(head), _gzip_file(csv))


def _submitting(batcher: Batcher, client: str):
    def submit(clips_BTHWC):
        future = batcher.ask(clips_BTHWC, client=client, live=False)
        return lambda: future.result(timeout=600)

    return submit


def _plain(warning: str) -> str:
    """A source's warning begins with its path, which is nobody's business."""
    return warning.split(": ", 1)[-1] if warning.startswith("/") else warning


class _Seen:
    """What went by of a film, held against the limits."""

    def __init__(self, limits: Limits, source: sources.Source):
        self._limits, self._frames = limits, 0
        self._end = time.monotonic() + limits.job_minutes * 60
        self.last_s, self.width, self.height = 0.0, 0, 0
        length_s = (source.total or 0) / source.fps if source.fps else 0.0
        if length_s > 1.05 * limits.film_seconds + 1:
            raise self._too_long()

    def add(self, timestamp: float, frame_HWC) -> None:
        self._frames += 1
        self.last_s = max(self.last_s, timestamp)
        if timestamp > self._limits.film_seconds or self._frames > self._limits.film_frames:
            raise self._too_long()
        if time.monotonic() > self._end:
            raise UserError(
                f"the film takes longer than {self._limits.job_minutes:g} minutes to read; "
                "send a shorter one"
            )
        if frame_HWC is None:
            return
        height, width = frame_HWC.shape[:2]
        if width * height > self._limits.film_pixels:
            raise _too_large(width, height, self._limits)
        if not self.width:
            self.width, self.height = width, height

    def _too_long(self) -> UserError:
        return UserError(
            f"the film is longer than {self._limits.film_seconds:g} s or "
            f"{self._limits.film_frames} frames; cut it: ffmpeg -i IN -t "
            f"{self._limits.film_seconds:g} OUT.mp4"
        )


def _refuse_enormous(film: Path, limits: Limits) -> None:
    """Looks at the size that a file says it has before anything of it is decoded."""
    with film.open("rb") as file:
        head = file.read(1 << 20)
    suffix = film_suffix(head[:512])
    if suffix in (".jpg", ".png"):
        size = picture.size(head)
        if size is None:
            raise UserError(f"{film} does not decode as a picture; check that it opens elsewhere")
        width, height = size
    else:
        opened = open_film(film)
        width = int(opened.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(opened.get(cv2.CAP_PROP_FRAME_HEIGHT))
        opened.release()
    if width * height > limits.film_pixels:
        raise _too_large(width, height, limits)
    if width and height and too_long(width, height):
        raise UserError(
            f"the film's frames are {width}x{height}, which is no camera's shape; cut them: "
            "ffmpeg -i IN -vf crop=WIDTH:HEIGHT OUT.mp4"
        )


def _too_large(width: int, height: int, limits: Limits) -> UserError:
    return UserError(
        f"the film's frames are {width}x{height}, more than {limits.film_pixels} pixels; make "
        "them smaller: ffmpeg -i IN -vf scale=1280:-2 OUT.mp4"
    )


class _Packed:
    """A JSON document, packed while it grows: the frames, then everything else."""

    def __init__(self, most_bytes: int):
        self._most, self._size = most_bytes, 0
        self._packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        self._parts: list[bytes] = []
        self._frames = 0
        self._write('{"frames":[')

    def add_frame(self, frame: dict) -> None:
        text = json.dumps(frame, separators=(",", ":"))
        self._write(f",{text}" if self._frames else text)
        self._frames += 1

    def finish(self, head: dict) -> bytes:
        self._write("]," + json.dumps(head, separators=(",", ":"))[1:])
        self._keep(self._packer.flush())
        return b"".join(self._parts)

    def _write(self, text: str) -> None:
        self._keep(self._packer.compress(text.encode()))

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most:
            raise UserError(
                "the film's results are larger than this server keeps; send a shorter film, or "
                "one with fewer faces"
            )
        self._parts.append(part)


def _gzip_file(path: Path) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    parts = []
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            parts.append(packer.compress(chunk))
    path.unlink()
    return b"".join([*parts, packer.flush()])
