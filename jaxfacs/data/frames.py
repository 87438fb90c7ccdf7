"""The frames of a recording one after the other, from pictures, films, sounds or TFRecord files."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.data import sound, tfrecord
from jaxfacs.data.delivery import (
    Examples,
    Film,
    LeftOut,
    Pictures,
    Pixels,
    Recording,
    Sound,
)

Frame = tuple[int, float, np.ndarray]  # place in the recording, seconds, uint8 RGB H×W×3


def frames_of(recording: Recording, source: Path, left_out: list[LeftOut]) -> Iterator[Frame]:
    """Yields (t, seconds, uint8 RGB frame) of each frame that can be read; lists the others.

    Args:
      recording: of the delivery in `source`.
      source: folder that its paths are relative to.
      left_out: gets a row for each frame that is missing or does not decode.
    """
    frames = recording.frames
    if isinstance(frames, Pictures):
        yield from _pictures(recording, frames, source, left_out)
    elif isinstance(frames, Sound):
        yield from _sound(recording, frames, source, left_out)
    elif isinstance(frames, Film):
        yield from _film(recording, frames, source, left_out)
    elif isinstance(frames, Examples):
        yield from _examples(recording, frames, source, left_out)
    else:
        assert isinstance(frames, Pixels)
        for t, frame in enumerate(frames.frames):
            grey = frame.ndim == 2
            yield t, _time(recording, t), np.stack([frame] * 3, -1) if grey else frame


def _pictures(
    recording: Recording, frames: Pictures, source: Path, left_out: list[LeftOut]
) -> Iterator[Frame]:
    before: tuple[str, np.ndarray] | None = None
    for t, name in enumerate(frames.paths):
        path = source / name
        if before is not None and before[0] == name:  # several faces of one picture
            frame = before[1]
        else:
            frame = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if path.is_file() else None
        if frame is None:
            reason = "unreadable" if path.is_file() else "missing"
            left_out.append(_row(recording, t, name, reason))
        else:
            before = (name, frame)
            yield t, _time(recording, t), frame


def _sound(
    recording: Recording, frames: Sound, source: Path, left_out: list[LeftOut]
) -> Iterator[Frame]:
    path = source / frames.path
    try:
        grey = sound.picture(path)
    except (ValueError, OSError) as error:
        reason = f"unreadable: {error}" if path.is_file() else "missing"
        left_out.append(_row(recording, None, frames.path, reason))
        return
    yield 0, 0.0, np.stack([grey] * 3, -1)


def _film(
    recording: Recording, frames: Film, source: Path, left_out: list[LeftOut]
) -> Iterator[Frame]:
    path = source / frames.path
    wanted = {number: t for t, number in enumerate(frames.numbers)}
    number = 0
    if path.is_file():
        film = cv2.VideoCapture(str(path))
        last = frames.numbers[-1] if frames.numbers else -1
        # Read through: seeking by frame number is off by some frames in many containers.
        while number <= last and film.grab():
            t = wanted.pop(number, None)
            number += 1
            if t is None:
                continue
            time_s = film.get(cv2.CAP_PROP_POS_MSEC) / 1000
            decoded, frame = film.retrieve()
            if decoded:
                frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                yield t, time_s, np.ascontiguousarray(np.rot90(frame, -frames.quarter_turns))
            else:
                left_out.append(_row(recording, t, frames.path, "unreadable"))
        film.release()
    reason = "missing" if not path.is_file() else "not in film" if number else "unreadable"
    for t in sorted(wanted.values()):
        left_out.append(_row(recording, t, frames.path, reason))


def _examples(
    recording: Recording, frames: Examples, source: Path, left_out: list[LeftOut]
) -> Iterator[Frame]:
    before: tuple[int, list[bytes]] = (-1, [])
    for t, (offset, number) in enumerate(frames.places):
        try:
            if offset != before[0]:
                found = tfrecord.features(tfrecord.record_at(source / frames.path, offset))
                before = (offset, list(found.get(frames.feature, ())))
            frame = cv2.imdecode(np.frombuffer(before[1][number], np.uint8), cv2.IMREAD_COLOR_RGB)
        except (ValueError, IndexError, OSError, cv2.error):
            frame = None
        if frame is None:
            left_out.append(_row(recording, t, f"{frames.path}@{offset}", "unreadable"))
        else:
            yield t, _time(recording, t), frame


def _row(recording: Recording, t: int | None, path: str, reason: str) -> LeftOut:
    """What skipped.csv says of frame t; None: of the whole recording."""
    if t is None:
        return LeftOut(path, None, reason, recording.table)
    numbers_T = recording.place_T if recording.number_T is None else recording.number_T
    number = t if numbers_T is None else int(numbers_T[t])
    by_itself = recording.stills and isinstance(recording.frames, Pictures)
    line = None if recording.line_T is None else int(recording.line_T[t])
    return LeftOut(path, None if by_itself else number, reason, recording.table, line)


def _time(recording: Recording, t: int) -> float:
    if recording.stills:
        return 0.0
    first = 0 if recording.place_T is None else int(recording.place_T[0])
    place = t if recording.place_T is None else int(recording.place_T[t])
    return (place - first) / recording.fps
