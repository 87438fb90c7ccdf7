"""Frames of faces out of a CSV: AU evidence, times, whose face, and emotions where they are given.

Reads what `jaxfacs predict` writes, OpenFace's files, and labels that people keep in tables.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs.emotion.reading import Mapper, Reading
from jaxfacs.emotion.recurrent import RecurrentMapper
from jaxfacs.errors import UserError
from jaxfacs.facs import CodeError, parse_label
from jaxfacs.facs.emotions import EMOTION_SETS, PROTOTYPES, canonical

Evidence = Literal["probability", "occurrence"]

UNKNOWN_VALUES = frozenset(("", "9", "999", "-1", "nan", "na", "none"))
SUFFIXES = {
    "probability": ("_p", "_probability"),
    "intensity": ("_r", "_intensity"),
}
TIMES, FACES = ("timestamp", "time"), ("face_id",)
PEOPLE, CLIPS = ("subject", "person", "participant"), ("clip", "video", "film")
_NAMED = {
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
    """Reads a CSV with a row a frame and face.

    AU columns have any common spelling (AU12_p, AU12_c, AU12_r, AU12L_r, AU12, 12); unknown is an
    empty cell, 9, 999 or -1. Of several columns of one AU, `evidence` "probability" takes
    probability, occurrence, intensity (present from 1, A) in this order; "occurrence" takes
    occurrence, intensity, probability (present from 0.5), and answers 0 or 1.

    Args:
      path: the file.
      evidence: see above.
      emotion_column: its emotions, under canonical names; None: none are read.

    Raises:
      UserError: with the line, for whatever cannot be read.
    """
    header, rows = _rows(path)
    if emotion_column is not None and emotion_column not in header:
        found = ", ".join(header[:20]) or "none"
        raise UserError(f"{path} has no column {emotion_column!r}; its columns: {found}")
    columns = _au_columns(header, skip=emotion_column)
    if not columns:
        raise UserError(f"{path} has no AU column; name them as AU12_c, AU12_r, AU12 or 12")
    if not rows:
        raise UserError(f"{path} has a header and no row")
    for n, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(f"{path}, line {n + 2}: {len(row)} fields, not {len(header)}")
    shape = len(rows), len(columns)
    probability_NA, intensity_NA = np.full(shape, np.nan), np.full(shape, np.nan)
    for a, of_kind in enumerate(columns.values()):
        values = {
            kind: _values([row[column] for row in rows], path, kind)
            for kind, column in of_kind.items()
        }
        probability_NA[:, a] = _present(values, evidence)
        if "intensity" in values:
            intensity_NA[:, a] = values["intensity"]
    text = {name: [row[header.index(name)].strip() for row in rows] for name in header}
    lowered = {name.lower(): name for name in header}

    def column(names: Sequence[str], default: str) -> list[str]:
        found = next((lowered[name] for name in names if name in lowered), None)
        return [default] * len(rows) if found is None else text[found]

    face, people, clips = column(FACES, "0"), column(PEOPLE, ""), column(CLIPS, "")
    numbers: dict[tuple[str, str, str], int] = {}
    keys = zip(clips, people, face, strict=True)
    own = {
        canonical(name): _numbers(text[name], path, name)
        for name in header
        if name != emotion_column and canonical(name) in _NAMED
    }
    return Frames(
        tuple(columns),
        probability_NA,
        intensity_NA,
        _frame_numbers(column(("frame",), ""), path),
        _numbers(column(TIMES, ""), path, "timestamp"),
        np.array(face),
        np.array([numbers.setdefault(key, len(numbers)) for key in keys]),
        tuple(people),
        tuple(canonical(name) for name in text[emotion_column])
        if emotion_column is not None
        else ("",) * len(rows),
        own,
    )


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


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV text: {error}") from error
    return ([name.strip() for name in rows[0]] if rows else []), rows[1:]


def _au_columns(header: Sequence[str], *, skip: str | None) -> dict[str, dict[str, int]]:
    """AU label -> kind -> its column; a column without a suffix is occurrence."""
    found: dict[str, dict[str, int]] = {}
    for number, name in enumerate(header):
        try:
            label = parse_label(name) if name != skip else ""
        except CodeError:
            continue
        ends = (kind for kind, ending in SUFFIXES.items() if name.lower().endswith(ending))
        if label:
            found.setdefault(label, {}).setdefault(next(ends, "occurrence"), number)
    return found


def _values(texts: Sequence[str], path: Path, kind: str) -> np.ndarray:
    highest = 1.0 if kind == "probability" else 5.0
    values = np.full(len(texts), np.nan)
    for n, text in enumerate(texts):
        text = text.strip().lower()
        if text in UNKNOWN_VALUES:
            continue
        try:
            value = float(text)
        except ValueError:
            raise UserError(
                f"{path}, line {n + 2}: {text!r} is no AU value; leave unknown cells empty"
            ) from None
        if value in (-1, 9, 999) or np.isnan(value):
            continue
        if not 0 <= value <= highest:
            raise UserError(
                f"{path}, line {n + 2}: {text} is no AU value; they run from 0 to {highest:g}"
            )
        values[n] = value
    return values


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


def _numbers(texts: Sequence[str], path: Path, name: str) -> np.ndarray:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError as error:
        raise UserError(f"{path}, column {name!r}: {error}") from None


def _frame_numbers(texts: Sequence[str], path: Path) -> np.ndarray:
    numbers = _numbers(texts, path, "frame")
    return np.where(np.isfinite(numbers), np.nan_to_num(numbers), np.arange(len(texts))).astype(int)
