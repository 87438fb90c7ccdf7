"""Frames of faces out of a table: AU evidence, times, whose face, and emotions where given.

Reads what `jaxfacs predict` writes, OpenFace's and py-feat's files, and labels that people keep in
tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs.emotion import sheet
from jaxfacs.emotion.reading import Mapper, Reading
from jaxfacs.emotion.recurrent import RecurrentMapper
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import EMOTION_SETS, PROTOTYPES, canonical

Evidence = Literal["probability", "occurrence"]

UNKNOWN_NUMBERS = (-1, 9, 999)  # and what `sheet.UNKNOWN_WORDS` holds
TIMES, FACES = ("timestamp", "time", "approx_time"), ("face_id", "identity")
PEOPLE, CLIPS = ("subject", "person", "participant"), ("clip", "video", "film")
NAMED_EMOTIONS = {
    *(name for names in EMOTION_SETS.values() for name in names),
    *(name for table in PROTOTYPES.values() for name in table.emotions),
}


@dataclass(frozen=True, eq=False)
class Frames:
    """N frames of one or more faces, in the order of the file.

    Attributes:
      aus: A labels.
      probability_NA: chance 0-1 that the AU is present, NaN unknown.
      intensity_NA: 0-5, NaN unknown.
      frame_N: the file's frame number, or the row's (from 0).
      time_s_N: seconds; NaN if the file gives none.
      face_N: the face's number in its film as text, "-1" where none was found.
      sequence_N: int; rows of one face of one film share a number.
      people: who it is, "" unknown.
      names: emotions, "" unknown.
      own: emotion -> N scores that the file gives besides, as a network's own emotions.
    """

    aus: tuple[str, ...]
    probability_NA: np.ndarray
    intensity_NA: np.ndarray
    frame_N: np.ndarray
    time_s_N: np.ndarray
    face_N: np.ndarray
    sequence_N: np.ndarray
    people: tuple[str, ...]
    names: tuple[str, ...]
    own: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.probability_NA)

    def take(self, rows: np.ndarray) -> "Frames":
        """Some of the rows, by number or by mask."""
        number = np.arange(len(self))[rows]
        return replace(
            self,
            **{
                name: getattr(self, name)[number]
                for name in (
                    *("probability_NA", "intensity_NA", "frame_N", "time_s_N"),
                    *("face_N", "sequence_N"),
                )
            },
            people=tuple(self.people[n] for n in number),
            names=tuple(self.names[n] for n in number),
            own={name: values[number] for name, values in self.own.items()},
        )

    def sequences(self) -> list[np.ndarray]:
        """Row numbers of each face of each film, in order."""
        order = np.argsort(self.sequence_N, kind="stable")
        cuts = np.flatnonzero(np.diff(self.sequence_N[order])) + 1
        return [rows for rows in np.split(order, cuts) if rows.size]


def read(
    path: Path, *, evidence: Evidence = "probability", emotion_column: str | None = None
) -> Frames:
    """Reads a CSV, JSON Lines or Parquet file with a row a frame and face.

    AU columns have any common spelling (AU12_p, AU12_c, AU12_r, AU12L_r, AU12, 12); unknown is an
    empty cell, 9, 999 or -1. Of several columns of one AU, `evidence` "probability" takes
    probability, occurrence, intensity (present from 1, A) in this order; "occurrence" takes
    occurrence, intensity, probability (present from 0.5), and answers 0 or 1. py-feat's columns,
    which have no suffix, are probabilities. Where a column `success` says 0, as OpenFace's does of
    a frame without a face, no AU is known whatever number stands there.

    Args:
      path: the file.
      evidence: see above.
      emotion_column: its emotions, under canonical names; None: none are read.

    Raises:
      UserError: with the line, for whatever cannot be read.
    """
    header = sheet.header(path)
    if emotion_column is not None and emotion_column not in header:
        found = ", ".join(header[:20]) or "none"
        raise UserError(f"{path} has no column {emotion_column!r}; its columns: {found}")
    bare = "probability" if sheet.PY_FEAT_MARK in header else "occurrence"
    aus = sheet.au_columns(header, bare=bare, skip=emotion_column)
    if not aus:
        raise UserError(f"{path} has no AU column; name them as AU12_c, AU12_r, AU12 or 12")
    columns = _Columns.of(header, emotion_column)
    wanted = {*columns.names(), *(name for of_kind in aus.values() for name in of_kind.values())}
    parts = sheet.parts(path, wanted, texts=columns.texts())
    blocks = [_block(part, aus, columns, evidence) for part in parts]
    if not blocks:
        raise UserError(f"{path} has a header and no row")
    return _joined(tuple(aus), blocks, columns)


def map_frames(mapper: Mapper, frames: Frames) -> Reading:
    """Reads all frames; a mapper that remembers reads each face of each film by itself."""

    def read_rows(part: Frames) -> Reading:
        intensity = None if np.isnan(part.intensity_NA).all() else part.intensity_NA
        return mapper.apply(part.aus, part.probability_NA, intensity_TA=intensity)

    if not isinstance(mapper, RecurrentMapper):
        return read_rows(frames)
    emotions, aus = len(mapper.emotions), len(frames.aus)
    probability_NE = np.zeros((len(frames), emotions), np.float32)
    weight_NEA = np.zeros((len(frames), emotions, aus), np.float32)
    for rows in frames.sequences():
        reading = read_rows(frames.take(rows))
        probability_NE[rows], weight_NEA[rows] = reading.probability_TE, reading.weight_TEA
    # What no frame of the file can tell, rather than no frame of one face.
    unjudged = mapper.unjudged(frames.aus, frames.probability_NA)
    return Reading(
        mapper.emotions, frames.aus, frames.probability_NA, probability_NE, weight_NEA, unjudged
    )


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what besides the AUs; "" where the file has none."""

    frame: str
    time: str
    face: str
    person: str
    clip: str
    success: str
    emotion: str
    own: tuple[str, ...]

    @classmethod
    def of(cls, header: Sequence[str], emotion_column: str | None) -> "_Columns":
        lowered = {name.lower(): name for name in header}

        def first(names: Sequence[str]) -> str:
            return next((lowered[name] for name in names if name in lowered), "")

        return cls(
            frame=first(("frame",)),
            time=first(TIMES),
            face=first(FACES),
            person=first(PEOPLE),
            clip=first(CLIPS),
            success=first(("success",)),
            emotion=emotion_column or "",
            own=tuple(n for n in header if n != emotion_column and canonical(n) in NAMED_EMOTIONS),
        )

    def texts(self) -> tuple[str, ...]:
        clock = self.time if self.time.lower() == TIMES[-1] else ""
        return (self.face, self.person, self.clip, self.emotion, clock)

    def names(self) -> tuple[str, ...]:
        return (*self.texts(), self.frame, self.time, self.success, *self.own)


@dataclass(frozen=True, eq=False)
class _Block:
    """What was read of some rows; fields as in `Frames`."""

    probability_NA: np.ndarray
    intensity_NA: np.ndarray
    frame_N: np.ndarray
    time_s_N: np.ndarray
    faces: list[str]
    people: list[str]
    clips: list[str]
    names: list[str]
    own: list[np.ndarray]


def _block(
    part: sheet.Part, aus: dict[str, dict[str, str]], columns: _Columns, evidence: Evidence
) -> _Block:
    shape = len(part), len(aus)
    probability_NA, intensity_NA = np.full(shape, np.nan), np.full(shape, np.nan)
    for a, of_kind in enumerate(aus.values()):
        values = {kind: _values(part, name, kind) for kind, name in of_kind.items()}
        probability_NA[:, a] = _present(values, evidence)
        if "intensity" in values:
            intensity_NA[:, a] = values["intensity"]
    if columns.success:
        failed_N = part.numbers(columns.success) == 0
        probability_NA[failed_N], intensity_NA[failed_N] = np.nan, np.nan

    def texts(name: str, default: str) -> list[str]:
        return part.texts(name) if name else [default] * len(part)

    frame_N = np.arange(part.first, part.first + len(part))
    if columns.frame:
        given_N = part.numbers(columns.frame)
        frame_N = np.where(np.isnan(given_N), frame_N, np.nan_to_num(given_N)).astype(int)
    emotions = texts(columns.emotion, "")
    return _Block(
        probability_NA,
        intensity_NA,
        frame_N,
        part.seconds(columns.time) if columns.time else np.full(len(part), np.nan),
        [text or "-1" for text in texts(columns.face, "0")],
        texts(columns.person, ""),
        texts(columns.clip, ""),
        [canonical(text) for text in emotions] if columns.emotion else emotions,
        [part.numbers(name) for name in columns.own],
    )


def _joined(aus: tuple[str, ...], blocks: Sequence[_Block], columns: _Columns) -> Frames:
    def arrays(name: str) -> np.ndarray:
        return np.concatenate([getattr(block, name) for block in blocks])

    def texts(name: str) -> list[str]:
        return [text for block in blocks for text in getattr(block, name)]

    faces, people = texts("faces"), texts("people")
    numbers: dict[tuple[str, str, str], int] = {}
    keys = zip(texts("clips"), people, faces, strict=True)
    return Frames(
        aus,
        arrays("probability_NA"),
        arrays("intensity_NA"),
        arrays("frame_N"),
        arrays("time_s_N"),
        np.array(faces),
        np.array([numbers.setdefault(key, len(numbers)) for key in keys]),
        tuple(people),
        tuple(texts("names")),
        {
            canonical(name): np.concatenate([block.own[n] for block in blocks])
            for n, name in enumerate(columns.own)
        },
    )


def _values(part: sheet.Part, name: str, kind: str) -> np.ndarray:
    """An AU's column, checked: NaN unknown."""
    highest = 1.0 if kind == "probability" else 5.0
    values_N = part.numbers(name)
    values_N = np.where(np.isin(values_N, UNKNOWN_NUMBERS), np.nan, values_N)
    wrong_N = (values_N < 0) | (values_N > highest)
    if wrong_N.any():
        row = int(np.flatnonzero(wrong_N)[0])
        raise UserError(
            f"{part.place(row)}: {values_N[row]:g} is no AU value; they run from 0 to {highest:g}"
        )
    return values_N


def _present(values: dict[str, np.ndarray], evidence: Evidence) -> np.ndarray:
    def at_least(kind: str, level: float) -> np.ndarray:
        return np.where(np.isnan(values[kind]), np.nan, values[kind] >= level)

    if evidence == "probability" and "probability" in values:
        return values["probability"]
    if "occurrence" in values:
        return at_least("occurrence", 1)
    if "intensity" in values:
        return at_least("intensity", 1)
    return at_least("probability", 0.5)
