"""Overlay films and pictures as files, without sound: OpenCV reads and writes pictures alone."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer import tables
from jaxfacs.infer.files import replacing
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.infer.sources.source import Source, Timed
from jaxfacs.infer.views.overlay import draw
from jaxfacs.progress import track

# What every OpenCV wheel can write: MPEG-4 part 2, and VP8, which alone of the two browsers play.
_CODECS = {".mp4": "mp4v", ".webm": "VP80"}
_HIGHEST_RATE = 240.0  # frames a second; a header that promises more counts something else
_LONGEST_HOLD_S = 60.0  # a frame is repeated for so long; more is a fault in the times
_CHUNK = 1000  # rows


@contextmanager
def writing(
    out: Path, name: str, source: Source, *, aus: tuple[str, ...], emotions: tuple[str, ...]
) -> Iterator[Callable[[FrameResult], None]]:
    """Gives a function that draws the results of `source` one after the other.

    Writes OUT/NAME.overlay.mp4, of a picture OUT/NAME.overlay.jpg, of several pictures the folder
    OUT/NAME.overlay. The source is read a second time, each result drawn on the frame of its
    number: results come some frames late, and keeping 1080p frames until then would cost 6 MB each.
    """
    frame_of = _frames_by_number(source)

    def drawn(result: FrameResult) -> np.ndarray:
        return draw(frame_of(result.frame), result, aus=aus, emotions=emotions)

    with ExitStack() as stack:
        if not source.still:
            path = out / f"{name}.overlay.mp4"
            film = stack.enter_context(_film(path, _rate(source)))
            yield lambda result: film(drawn(result), result.timestamp)
        elif len(source.pictures) == 1:
            yield lambda result: _write_jpeg(out / f"{name}.overlay.jpg", drawn(result))
        else:
            folder = out / f"{name}.overlay"
            folder.mkdir(exist_ok=True)
            names = [f"{p.name}.jpg" for p in source.pictures]
            yield lambda result: _write_jpeg(folder / names[result.frame - 1], drawn(result))


def draw_film(source: Source, table_path: str | Path, out: str | Path) -> int:
    """Draws a finished table onto its film; returns the number of frames drawn.

    Works for any table with box columns, also one of a film read in parts or with --every: a row is
    drawn on the frame of its number. The film has a constant rate; frames are repeated or left out
    so that every one is seen at its own time. It has no sound.

    Args:
      source: the film; of a live source nothing can be drawn.
      table_path: as `jaxfacs.infer.tables.read` takes it.
      out: ends in .mp4 or .webm; written whole or not at all.

    Raises:
      UserError: another suffix, no box columns, the film cannot be read again.
    """
    table_path, out = Path(table_path), Path(out)
    _codec(out)
    if source.live:
        raise UserError(f"{source.name} cannot be read twice, as an overlay must; save it first")
    first = next(iter(tables.chunks(table_path, rows=_CHUNK)), None)
    if first is None:
        raise UserError(f"{table_path} has no row; there is nothing to draw")
    aus, emotions = tuple(first.aus), tuple(first.emotions)
    frame_of, count = _frames_by_number(source), 0
    with _film(out, _rate(source)) as film:
        for result in track(results(table_path), label=f"drawing {out.name}", unit="frame"):
            film(draw(frame_of(result.frame), result, aus=aus, emotions=emotions), result.timestamp)
            count += 1
    return count


def preview(source: Source, out: Path, *, height: int = 480) -> None:
    """Writes a film again as VP8 in WebM, which browsers play: at true time, without sound.

    Args:
      source: a film.
      out: ends in .webm.
      height: pixels at most.
    """
    with _film(out, min(_rate(source), 30.0)) as film:
        for timed in track(source.frames(), label=f"preview of {source.name}", unit="frame"):
            if timed.frame_HWC is not None:
                film(_smaller(timed.frame_HWC, height), timed.timestamp)


def results(table_path: Path) -> Iterator[FrameResult]:
    """The frames of a table one after the other, as prediction gave them.

    Raises:
      UserError: there are no boxes.
    """
    for table in tables.chunks(table_path, rows=_CHUNK):
        found_N = (table.face_N >= 0) & table.success_N
        if found_N.any() and np.isnan(table.boxes_N4[found_N]).all():
            raise UserError(
                f"{table_path} has no box columns (box_x …), so nothing can be drawn in the film; "
                "read the film again with jaxfacs predict"
            )
        found_N &= ~np.isnan(table.boxes_N4).any(1)
        starts = np.flatnonzero(np.diff(table.frame_N, prepend=table.frame_N[:1] - 1))
        for rows in np.split(np.arange(len(table)), starts[1:]):
            faces = [_face(table, n) for n in rows[found_N[rows]].tolist()]
            faces.sort(key=lambda face: -float(face.box_4[2] * face.box_4[3]))
            number = int(table.frame_N[rows[0]])
            yield FrameResult(number, float(table.time_s_N[rows[0]]), tuple(faces))


def _face(table: tables.Table, n: int) -> FaceResult:
    p_A, c_A, r_A = table.probability_NA[n], table.presence_NA[n], table.intensity_NA[n]
    present_A = np.where(np.isnan(c_A), p_A >= 0.5, c_A >= 0.5)
    p_A = np.nan_to_num(np.where(np.isnan(p_A), present_A, p_A))
    affect_2 = table.valence_arousal_N2[n]
    return FaceResult(
        face_id=int(table.face_N[n]),
        confidence=float(np.nan_to_num(table.confidence_N[n], nan=1.0)),
        box_4=np.asarray(table.boxes_N4[n], np.float32),
        probability_A=p_A,
        intensity_A=np.nan_to_num(np.where(np.isnan(r_A), 5 * p_A, r_A)),
        present_A=present_A,
        emotion_E=np.nan_to_num(table.emotion_NE[n]),
        valence_arousal_2=None if np.isnan(affect_2).any() else affect_2,
    )


def _frames_by_number(source: Source) -> Callable[[int], np.ndarray]:
    """Number -> that frame of the source, for numbers that rise.

    Of a number that the source lacks, or whose frame does not decode, the last frame before it.
    """
    again = replace(source, warnings=[], progress=type(source.progress)())
    frames = again.frames()
    ahead: Timed | None = next(frames, None)
    last: np.ndarray | None = None

    def frame_of(number: int) -> np.ndarray:
        nonlocal ahead, last
        while ahead is not None and ahead.number <= number:
            last = ahead.frame_HWC if ahead.frame_HWC is not None else last
            ahead = next(frames, None)
        if last is None:  # the very first frames are damaged: there is no size to go by
            return np.zeros((360, 640, 3), np.uint8)
        return last

    return frame_of


def _rate(source: Source) -> float:
    fps = source.fps or 25.0
    return fps if fps <= _HIGHEST_RATE else 25.0


def _codec(path: Path) -> str:
    codec = _CODECS.get(path.suffix.lower())
    if codec is None:
        raise UserError(f"{path} ends neither in .mp4 nor in .webm; give --out one of these")
    return codec


@contextmanager
def _film(path: Path, fps: float) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Gives a function that adds an RGB frame with its time; the first one's size is the film's.

    The film's rate is constant: a frame stays until the next one's time has come, and one whose
    successor belongs into the same 1/fps seconds is left out.
    """
    writer: cv2.VideoWriter | None = None
    pending: tuple[np.ndarray, float] | None = None
    start_s, size = 0.0, (0, 0)

    def write(times: int) -> None:
        nonlocal writer, size
        assert pending is not None
        picture_HWC = pending[0]
        if writer is None:
            size = (picture_HWC.shape[1], picture_HWC.shape[0])
            writer = _writer(temporary, path, fps, size)
        if picture_HWC.shape[1::-1] != size:
            picture_HWC = cv2.resize(picture_HWC, size, interpolation=cv2.INTER_AREA)
        picture_HWC = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR)
        for _ in range(times):
            writer.write(picture_HWC)

    def add(picture_HWC: np.ndarray, timestamp: float) -> None:
        nonlocal pending, start_s
        if pending is None:
            start_s = timestamp
        else:
            here, there = (round((t - start_s) * fps) for t in (pending[1], timestamp))
            if there <= here and timestamp < pending[1]:  # time ran backwards: begin anew
                start_s += timestamp - pending[1] - 1 / fps
                there = here + 1
            hold = min(there - here, round(_LONGEST_HOLD_S * fps))
            start_s += (there - here - hold) / fps
            write(hold)
        pending = picture_HWC, timestamp

    with replacing(path) as temporary:
        try:
            yield add
            if pending is not None:
                write(1)
        finally:
            if writer is not None:
                writer.release()


def _writer(temporary: Path, path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    codec = cv2.VideoWriter.fourcc(*_codec(path))
    with _without_stderr():
        writer = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, codec, fps, size)
    if not writer.isOpened():
        raise UserError(f"{path} cannot be written; make room or choose another --out")
    return writer


@contextmanager
def _without_stderr() -> Iterator[None]:
    """OpenCV prints that WebM has another tag for VP8, past Python's stderr, and then takes it."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _smaller(picture_HWC: np.ndarray, height: int) -> np.ndarray:
    """At most so high, with even sides, which VP8 asks for."""
    scale = min(1.0, height / picture_HWC.shape[0])
    size = tuple(2 * max(1, round(n * scale / 2)) for n in picture_HWC.shape[1::-1])
    return cv2.resize(picture_HWC, size, interpolation=cv2.INTER_AREA)


def _write_jpeg(path: Path, picture_HWC: np.ndarray) -> None:
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"cannot encode a picture of shape {picture_HWC.shape}")
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
