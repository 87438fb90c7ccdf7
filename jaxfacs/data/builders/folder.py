"""A user's own films or pictures with a table of labels as a record set."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from jaxfacs.data import label_table
from jaxfacs.data.builders.reading import consecutive, number_of
from jaxfacs.data.delivery import Builder, Delivery, Film, Pictures, Recording
from jaxfacs.data.label_table import LabelTable, Row
from jaxfacs.errors import UserError


@dataclass(frozen=True)
class Options:
    """What can be said of your own data.

    Attributes:
      labels: the table; the only .csv in SOURCE without it.
      first_frame: number of a film's first frame in the table, 0 or 1.
      stills: every picture is a clip by itself; otherwise those that are numbered on in one folder
        (`0007.jpg`, `0008.jpg`) are frames of one.
      name: of the set.
      licence: of your data, to be kept with the records.
    """

    labels: Path | None = None
    first_frame: int = 0
    stills: bool = False
    name: str = "folder"
    licence: str = ""


def read(source: Path, options: Options) -> Delivery:
    """Reads the table; see `label_table.read` for how columns may be spelt."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", options.name):
        raise UserError(f"--name {options.name!r}: use lower case letters, digits and _")
    path = options.labels or _only_csv(source)
    table = label_table.read(path)
    emotions = tuple(sorted({row.emotion for row in table.rows} - {""}))
    subjects = _subjects(table)
    _check_splits(table, subjects)
    notes = [f"columns that are no labels: {', '.join(table.ignored)}"] if table.ignored else []
    return Delivery(
        recordings=_recordings(table, subjects, emotions, source, path, options),
        aus=table.aus,
        emotions=emotions,
        inputs=(path,),
        notes=notes,
        name=options.name,
        licence=options.licence,
    )


def _only_csv(source: Path) -> Path:
    tables = sorted(source.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(t.name for t in tables) or "none"
        raise UserError(f"{source} should hold one .csv (found: {found}); give one with --labels")
    return tables[0]


def _subjects(table: LabelTable) -> list[str]:
    """The subject of each row; without a column, each film or folder of pictures is one."""
    without = [row.line for row in table.rows if not row.subject]
    if without and len(without) < len(table.rows):
        raise UserError(f"line {without[0]} names no subject, others do; fill in the column")
    if not without:
        return [row.subject for row in table.rows]
    return [
        str(Path(row.path) if row.frame is not None else Path(row.path).parent)
        for row in table.rows
    ]


def _check_splits(table: LabelTable, subjects: Sequence[str]) -> None:
    """Raises UserError where a subject has several splits, or some rows none."""
    named = {(s, row.split) for s, row in zip(subjects, table.rows, strict=True)}
    if not any(split for _, split in named):
        return
    for subject, count in Counter(s for s, _ in named).items():
        if count > 1:
            where = sorted(split or "(none)" for s, split in named if s == subject)
            raise UserError(
                f"subject {subject!r} is in several splits ({', '.join(where)}); "
                "a subject may be in one only"
            )
    if any(not split for _, split in named):
        raise UserError("some rows name a split and others do not; fill in the column")


def _recordings(
    table: LabelTable,
    subjects: Sequence[str],
    emotions: Sequence[str],
    source: Path,
    path: Path,
    options: Options,
) -> list[Recording]:
    """The films, and the runs of pictures that belong together, in order of the table.

    Pictures belong together when they lie in one folder, show one subject and are numbered on:
    `0007.jpg`, `0008.jpg`.
    """
    _refuse_outside(table.rows, source)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(table.rows):
        where = row.path if row.frame is not None else str(Path(row.path).parent)
        groups.setdefault((subjects[i], where), []).append(i)
    emotion_R = np.array([emotions.index(r.emotion) if r.emotion else -1 for r in table.rows])
    affect_R2 = table.valence_arousal_R2
    recordings = []
    for (subject, _), group in groups.items():
        film = table.rows[group[0]].frame is not None
        for taken, place_T in _in_time(table.rows, group, stills=options.stills):
            first = table.rows[taken[0]]
            number_T = np.array([_number(table.rows[i]) for i in taken])
            recordings.append(
                Recording(
                    name=f"{first.path}:{subject}" if film else first.path,
                    subject=subject,
                    frames=Film(first.path, tuple((number_T - options.first_frame).tolist()))
                    if film
                    else Pictures(tuple(table.rows[i].path for i in taken)),
                    occurrence_TA=table.occurrence_RA[taken],
                    intensity_TA=table.intensity_RA[taken],
                    place_T=place_T,
                    stills=options.stills,
                    emotion_T=emotion_R[taken],
                    valence_arousal_T2=None if affect_R2 is None else affect_R2[taken],
                    split=first.split or None,
                    number_T=number_T if film else None,
                    table=path.name,
                    line_T=np.array([table.rows[i].line for i in taken]),
                )
            )
    return recordings


def _in_time(
    rows: Sequence[Row], group: Sequence[int], *, stills: bool
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yields (row numbers in order of time, their places in time) of each recording of a group."""
    ordered = sorted(group, key=lambda i: (_number(rows[i]), rows[i].line))
    for a, b in pairwise(ordered):
        if (rows[a].path, rows[a].frame) == (rows[b].path, rows[b].frame):
            raise UserError(f"lines {rows[a].line} and {rows[b].line} label the same frame")
    numbers = [_number(rows[i]) for i in ordered]
    if rows[group[0]].frame is not None:
        # Films are often labelled at every second or fifth frame: that is then the step.
        step = min((b - a for a, b in pairwise(numbers)), default=1)
        yield ordered, np.cumsum([0, *(1 if b - a == step else 2 for a, b in pairwise(numbers))])
    elif stills:
        yield ordered, np.arange(len(ordered))
    else:
        for first, end in consecutive(numbers):
            yield ordered[first:end], np.arange(end - first)


def _number(row: Row) -> int:
    """Of a frame in its film, or of a picture by its file name.

    Zero padding differs between the subjects of BP4D, so names are not compared as text.
    """
    return row.frame if row.frame is not None else number_of(Path(row.path))


def _refuse_outside(rows: Sequence[Row], source: Path) -> None:
    inside: dict[str, bool] = {}
    for row in rows:
        if row.path not in inside:
            inside[row.path] = (source / row.path).resolve().is_relative_to(source.resolve())
        if not inside[row.path]:
            raise UserError(f"line {row.line}: {row.path} leads out of {source}; move it inside")


BUILDER = Builder(
    name="folder",
    title="Your own pictures or films",
    task="whatever you labelled: a CSV with one row a frame",
    labels="AUs in any spelling, emotion, valence, arousal; subject and split if you have them",
    subjects=0,
    licence="that of your data",
    obtain="--source DIR",
    citation="",
    read=read,
    options=Options,
    layout="films or pictures, and a .csv with a column image, or film and frame",
)
