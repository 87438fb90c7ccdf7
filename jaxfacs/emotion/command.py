"""`jaxfacs emotions show`, and what `jaxfacs emotions fit` does with labels once it has them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxfacs.emotion import cooccurrence, learned
from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.files import load, save
from jaxfacs.emotion.learned import LearnedMapper
from jaxfacs.errors import UserError
from jaxfacs.facs import CodeError, parse_label
from jaxfacs.facs.emotions import canonical

UNKNOWN_VALUES = frozenset(("", "9", "999", "-1", "nan", "na", "none"))
PROBABILITY_SUFFIXES = ("_p", "_probability")
INTENSITY_SUFFIXES = ("_r", "_intensity")


def fit_labels(
    aus: tuple[str, ...],
    occurrence_NA: np.ndarray,
    names: Sequence[str],
    *,
    origin: Path,
    out: Path,
    kind: Literal["cooccurrence", "logistic", "naive_bayes", "mlp"],
    threshold: float,
    start: Path | None,
    strength: float,
) -> None:
    """Fits a mapper on labels, writes its JSON to `out` and prints how well it fits.

    Args:
      aus: A labels.
      occurrence_NA: int8 1, 0 or −1 (unknown).
      names: N emotion names, "" where unknown.
      origin: where the labels are from, for messages and for the file's own record.
      out, kind, threshold, start, strength: as `jaxfacs emotions fit --help` explains them.
    """
    prior = load_table(start) if start else None
    if prior is not None:
        occurrence_NA = _projected(occurrence_NA, aus, prior.aus)
        aus = prior.aus
    emotions = prior.emotions if prior else tuple(sorted({name for name in names if name}))
    index = {name: e for e, name in enumerate(emotions)}
    emotion_N = np.array([index.get(name, -1) for name in names])
    strangers = sorted({name for name in names if name and name not in index})
    if strangers:
        raise UserError(f"{origin}: {', '.join(strangers)} not among the emotions of {start}")
    mapper: CooccurrenceMapper | LearnedMapper
    if kind == "cooccurrence":
        mapper = cooccurrence.fit(
            occurrence_NA,
            emotion_N,
            aus=aus,
            emotions=emotions,
            start=prior,
            strength=strength,
            threshold=threshold,
            source=origin.name,
        )
    else:
        mapper = learned.fit(occurrence_NA, emotion_N, aus=aus, emotions=emotions, trained_as=kind)
    save(mapper, out)
    right = mapper.apply(aus, occurrence_NA).probability_TE.argmax(axis=1) == emotion_N
    used = int((emotion_N >= 0).sum())
    print(f"{out}: {len(emotions)} emotions, {len(aus)} AUs, {used} of {len(names)} rows")
    print(f"right on the rows it was fitted to: {right[emotion_N >= 0].mean():.3f}")


def show(
    table_path: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path | None = None,
) -> None:
    """Draw an AU-to-emotion table as a heat map.

    Args:
      table_path: JSON written by `jaxfacs emotions fit`, or the word "published" for the table of
        Tlili 2019, fig. 7.3.
      out: the PNG to write; without it, beside the JSON.
    """
    from jaxfacs.emotion.plots import heat_map

    if str(table_path) == "published":
        table = cooccurrence.published()
        table_path = Path("published.json")
    else:
        table = load_table(table_path)
    out = out or table_path.with_suffix(".png")
    heat_map(table, out)
    for e, emotion in enumerate(table.emotions):
        above_A = np.nan_to_num(table.used_EA[e] - table.average_A)
        often = [table.aus[a] for a in np.argsort(-above_A) if above_A[a] > 0]
        seldom = [table.aus[a] for a in np.argsort(above_A) if above_A[a] < 0]
        print(f"{emotion:<16} often {' '.join(often) or '-'}; seldom {' '.join(seldom) or '-'}")
    print(out)


def load_table(path: Path) -> CooccurrenceMapper:
    """A co-occurrence table; other mappers are refused by name."""
    mapper = load(path)
    if not isinstance(mapper, CooccurrenceMapper):
        raise UserError(f"{path} is no co-occurrence table; give one from emotions fit")
    return mapper


def read_csv(
    path: Path, *, emotion_column: str
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """AU labels, occurrence int8 N×A (−1 unknown), canonical emotion names ("" unknown).

    Of several columns of one AU the first of occurrence, intensity (present from 1, A) and
    probability (present from 0.5) is read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, skipinitialspace=True))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV text: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if emotion_column not in header:
        found = ", ".join(header[:20]) or "none"
        raise UserError(f"{path} has no column {emotion_column!r}; its columns: {found}")
    chosen = _au_columns(header, skip=emotion_column)
    if not chosen:
        raise UserError(f"{path} has no AU column; name them as AU12_c, AU12_r, AU12 or 12")
    values_NA = np.full((len(rows) - 1, len(chosen)), -1, np.int8)
    names = []
    for n, row in enumerate(rows[1:]):
        if len(row) != len(header):
            raise UserError(f"{path}, line {n + 2}: {len(row)} fields, not {len(header)}")
        names.append(canonical(row[header.index(emotion_column)]))
        for a, (column, present_from) in enumerate(chosen.values()):
            values_NA[n, a] = _occurrence(row[column], present_from, f"{path}, line {n + 2}")
    return tuple(chosen), values_NA, tuple(names)


def _au_columns(header: list[str], *, skip: str) -> dict[str, tuple[int, float]]:
    """AU label -> its column and the value from which the AU counts as present."""
    ranked: dict[str, tuple[int, int, float]] = {}
    for column, name in enumerate(header):
        try:
            label = parse_label(name) if name != skip else ""
        except CodeError:
            continue
        lowered = name.lower()
        rank, present_from = 0, 1.0
        if lowered.endswith(INTENSITY_SUFFIXES):
            rank = 1
        elif lowered.endswith(PROBABILITY_SUFFIXES):
            rank, present_from = 2, 0.5
        if label and (label not in ranked or rank < ranked[label][0]):
            ranked[label] = (rank, column, present_from)
    return {label: (column, present_from) for label, (_, column, present_from) in ranked.items()}


def _occurrence(text: str, present_from: float, where: str) -> int:
    text = text.strip().lower()
    if text in UNKNOWN_VALUES:
        return -1
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}: {text!r} is no AU value; leave unknown cells empty") from None
    if value in (-1, 9, 999) or np.isnan(value):
        return -1
    if not 0 <= value <= 5:
        raise UserError(f"{where}: {text} is no AU value; they run from 0 to 5")
    return int(value >= present_from)


def _projected(
    occurrence_NA: np.ndarray, aus: tuple[str, ...], onto: tuple[str, ...]
) -> np.ndarray:
    """Columns in the order of `onto`; an AU that the frames lack is unknown."""
    out = np.full((occurrence_NA.shape[0], len(onto)), -1, np.int8)
    for a, au in enumerate(onto):
        if au in aus:
            out[:, a] = occurrence_NA[:, aus.index(au)]
    return out
