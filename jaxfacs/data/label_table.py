"""Reads a CSV of AU labels, one row a frame, as people write them."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jaxfacs import facs
from jaxfacs.data.projection import Projection, unsided
from jaxfacs.data.splits import require_known
from jaxfacs.data.writer import occurrence_of
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

# what a column is for -> its names in common use (lower case, blanks and underscores dropped)
COLUMNS: dict[str, frozenset[str]] = {
    role: frozenset(names.split())
    for role, names in {
        "film": "film video videopath videofile movie clip",
        "image": "image img imagepath imagefile file filename filepath path framepath input",
        "frame": "frame framenumber frameno frameindex framenum",
        "subject": "subject subjectid person personid participant participantid identity",
        "emotion": "emotion emotionlabel expression expressionlabel",
        "split": "split partition set usage",
        "valence": "valence",
        "arousal": "arousal",
    }.items()
}
# Spellings of "nobody coded this": 9 in the BP4D family, 999 in EmotioNet, −1 in Aff-Wild2.
UNKNOWN = frozenset(("", "9", "999", "-1", "na", "n/a", "nan", "none", "null", "unknown", "?"))
# Of valence and arousal, where −1 is a value: AffectNet writes −2, Aff-Wild2 −5.
UNKNOWN_AFFECT = UNKNOWN - {"9", "-1"} | {"-2", "-5"}
LETTERS = {letter: float(i) for i, letter in enumerate(facs.INTENSITY_LETTERS.lower(), start=1)}
INTENSITY_SUFFIX = re.compile(r"(_r|[\s_]*int(ensity)?)$", re.IGNORECASE)
OCCURRENCE_SUFFIX = re.compile(r"(_c|[\s_]*occ(urrence)?)$", re.IGNORECASE)
PROBABILITY_SUFFIX = re.compile(r"(_p|[\s_]*prob(ability)?)$", re.IGNORECASE)
LOOKS_LIKE_AU = re.compile(r"^['\"\s]*(au[\s_]*\d|[LR]?\d+['\"\s]*$)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One frame of the table, its labels apart.

    Attributes:
      line: in the file, from 1, for messages.
      path: of the film or picture, as written.
      frame: number within the film as written; None for a picture.
      subject, emotion, split: "" where the table does not say.
    """

    line: int
    path: str
    frame: int | None
    subject: str
    emotion: str
    split: str


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A parsed table.

    Attributes:
      rows: one for each frame.
      aus: labels of the columns, whole AUs and sides.
      occurrence_RA: int8 −1, 0, 1. intensity_RA: float32 0–5, −1 unknown.
      valence_arousal_R2: float32 in [−1, 1], NaN unknown; None: the table has no such column.
      ignored: columns that were not understood (so that a misspelt one is noticed).
    """

    rows: list[Row]
    aus: tuple[str, ...]
    occurrence_RA: np.ndarray
    intensity_RA: np.ndarray
    valence_arousal_R2: np.ndarray | None = None
    ignored: list[str] = field(default_factory=list)


def read(path: Path) -> LabelTable:
    """Reads and checks a whole table.

    AU columns may be spelt AU12, AU12_r, AU12_c, 12, 'AU 12', L12, AU12L_r, …. A column ending in
    _r or "intensity" holds intensities 0–5 (or letters A–E), one ending in _c or "occ" holds 0 and
    1; a bare one is intensity as soon as it holds a letter, a fraction or a number above 1.
    Probabilities (_p) are not labels and are ignored. Columns `valence` and `arousal` hold numbers
    in [−1, 1]. A table of emotions or affect alone needs no AU column.

    Raises:
      UserError: no such file, no text, no path column, no label column, an AU that does not exist,
        two columns for the same thing, or a value that means nothing (line and column named).
    """
    header, lines = _cells(path)
    roles = _roles(header, path)
    au_columns, ignored = _au_columns(header, roles, path)
    rows = [_row(line, cells, roles, path) for line, cells in lines]
    aus = tuple(sorted({label for label, _ in au_columns}, key=_by_number))
    values = {
        (label, kind): [_value(cells[i], path, line, header[i]) for line, cells in lines]
        for (label, kind), i in au_columns.items()
    }
    occurrence, intensity = _labels(aus, values, path, rows=len(rows))
    every = tuple(dict.fromkeys((*unsided(aus), *aus)))
    projection = Projection.between(aus, every)
    return LabelTable(
        rows=rows,
        aus=every,
        occurrence_RA=projection.occurrence(occurrence),
        intensity_RA=projection.intensity(intensity),
        valence_arousal_R2=_affect(header, lines, roles, path),
        ignored=ignored,
    )


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            sample = file.read(65536)
            file.seek(0)
            delimiter = max(",;\t", key=sample.split("\n", 1)[0].count)
            reader = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; give the table with --labels") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV text file ({error})") from error
    if not lines:
        raise UserError(f"{path} has no rows; it needs a header and one row a frame")
    for line, cells in lines:
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}"
            )
    return header, lines


def _roles(header: Sequence[str], path: Path) -> dict[str, int]:
    roles: dict[str, int] = {}
    for i, name in enumerate(header):
        plain = re.sub(r"[\s_]", "", name).lower()
        for role, names in COLUMNS.items():
            if plain in names:
                if role in roles:
                    raise UserError(
                        f"{path}: columns {header[roles[role]]!r} and {name!r} both name the {role}"
                    )
                roles[role] = i
    if "film" in roles and "frame" not in roles:
        raise UserError(f"{path}: films need a column 'frame' with the number of each row's frame")
    if "film" not in roles and "image" not in roles:
        raise UserError(
            f"{path} has no column with paths; name it 'image', or 'film' and 'frame' "
            f"(columns: {', '.join(header[:12])})"
        )
    return roles


def _au_columns(
    header: Sequence[str], roles: dict[str, int], path: Path
) -> tuple[dict[tuple[str, str], int], list[str]]:
    """(label, "r" | "c" | "") -> column; and the names of columns that mean nothing here."""
    columns: dict[tuple[str, str], int] = {}
    ignored = []
    for i, name in enumerate(header):
        if i in roles.values():
            continue
        if not LOOKS_LIKE_AU.search(name) or PROBABILITY_SUFFIX.search(name):
            ignored.append(name)
            continue
        kind = (
            "r" if INTENSITY_SUFFIX.search(name) else "c" if OCCURRENCE_SUFFIX.search(name) else ""
        )
        bare = OCCURRENCE_SUFFIX.sub("", INTENSITY_SUFFIX.sub("", name))
        try:
            label = facs.parse_label(bare)
        except UserError as error:
            raise UserError(f"{path}, column {name!r}: {error}") from error
        if (label, kind) in columns:
            other = header[columns[label, kind]]
            raise UserError(f"{path}: columns {other!r} and {name!r} both hold AU {label}")
        columns[label, kind] = i
    if not columns and not {"emotion", "valence", "arousal"} & roles.keys():
        raise UserError(
            f"{path} has no AU column; name them like AU12, AU12_r or 12, or give emotion, valence "
            "or arousal "
            f"(columns: {', '.join(header[:12])})"
        )
    return columns, ignored


def _row(line: int, cells: Sequence[str], roles: dict[str, int], path: Path) -> Row:
    def cell(role: str) -> str:
        return cells[roles[role]].strip() if role in roles else ""

    film, image = cell("film"), cell("image")
    if bool(film) == bool(image):
        raise UserError(f"{path}, line {line}: a row needs a film or an image, and not both")
    frame = None
    if film:
        try:
            frame = int(float(cell("frame")))
        except ValueError as error:
            raise UserError(
                f"{path}, line {line}: frame {cell('frame')!r} is not a number"
            ) from error
    emotion, split = cell("emotion"), cell("split")
    return Row(
        line=line,
        path=film or image,
        frame=frame,
        subject=cell("subject"),
        emotion="" if emotion.lower() in UNKNOWN - {"9"} else canonical(emotion),
        split=require_known(split) if split else "",
    )


def _value(cell: str, path: Path, line: int, column: str) -> float:
    """A cell as a number, intensity letters as 1–5, unknown as −1."""
    text = cell.strip().lower()
    if text in LETTERS:
        return LETTERS[text]
    try:
        value = -1.0 if text in UNKNOWN else float(text)
    except ValueError:
        value = np.nan
    if value in (-1, 9, 999):  # also as 9.0
        return -1.0
    if not 0 <= value <= 5:
        raise UserError(
            f"{path}, line {line}, column {column!r}: {cell!r} is no AU label; "
            "use 0/1, 0-5, A-E, or nothing (or 9, 999, -1) for unknown"
        )
    return value


def _affect(
    header: Sequence[str],
    lines: Sequence[tuple[int, list[str]]],
    roles: dict[str, int],
    path: Path,
) -> np.ndarray | None:
    """float32 R×2: valence and arousal of each row, NaN unknown; None without either column."""
    if not {"valence", "arousal"} & roles.keys():
        return None
    affect_R2 = np.full((len(lines), 2), np.nan, np.float32)
    for v, role in enumerate(("valence", "arousal")):
        for r, (line, cells) in enumerate(lines if role in roles else ()):
            cell = cells[roles[role]].strip()
            if cell.lower().removesuffix(".0") in UNKNOWN_AFFECT:
                continue
            try:
                value = float(cell)
            except ValueError:
                value = np.inf
            if not -1 <= value <= 1:
                raise UserError(
                    f"{path}, line {line}, column {header[roles[role]]!r}: {cell!r} is not in "
                    "[-1, 1]; bring the column to that range, or leave unknown cells empty"
                )
            affect_R2[r, v] = value
    return affect_R2


def _by_number(label: str) -> tuple[int, str]:
    side, number = facs.split_label(label)
    return number, side


def _labels(
    aus: Sequence[str], values: dict[tuple[str, str], list[float]], path: Path, *, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    occurrence_RA = np.full((rows, len(aus)), -1, np.int8)
    intensity_RA = np.full((rows, len(aus)), -1, np.float32)
    for (label, kind), column in values.items():
        value_R = np.asarray(column, np.float32)
        a = aus.index(label)
        graded = bool(((value_R > 1) | (value_R % 1 != 0)).any())
        if kind == "c" and graded:
            raise UserError(f"{path}: the occurrence of AU {label} has values other than 0 and 1")
        target = intensity_RA if kind == "r" or graded else occurrence_RA
        target[:, a] = np.where(target[:, a] < 0, value_R, target[:, a])
    # A coder who gave an intensity has said whether the AU is there.
    occurrence_RA = np.where(occurrence_RA < 0, occurrence_of(intensity_RA), occurrence_RA)
    return occurrence_RA, intensity_RA
