"""What the sets of brief expressions share: cells of AUs, onset to offset, one person left out."""

import fnmatch
import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Delivery, Film, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError
from jaxfacs.facs.notation import split_label

# Three classes of the challenge of 2019 over several sets (See et al., MEGC 2019; tvaranka/meb:
# meb/datasets/datasets.py). What is not named is left out.
MEGC_2019 = {
    "happiness": "positive",
    "positive": "positive",
    "surprise": "surprise",
    **dict.fromkeys(
        ("anger", "contempt", "disgust", "fear", "sadness", "repression", "negative"), "negative"
    ),
}
LONGEST = 20_000  # frames; a longer expression is a mistyped number

_CODE = re.compile(
    r"(?:AU)?\s*(?P<before>[LR]?)\s*(?P<number>\d{1,2})\s*(?P<after>[LR]?)\s*(?P<letter>[A-E]?)",
    re.IGNORECASE,
)
_NOTHING = ("", "/", "-", "?", "nan", "n/a", "none")


@dataclass(frozen=True)
class Cell:
    """What one cell of AUs says.

    Attributes:
      grades: label -> intensity 1–5 of the codes that are certain; −1 where no letter is given.
      doubtful: labels that may be present: "R12 or R15", "4?".
      complete: whether every AU that is not named is absent. Not so where the cell is empty, or
        part of it is "?" or cannot be read.
    """

    grades: Mapping[str, int]
    doubtful: frozenset[str]
    complete: bool

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """Reads "4+L10", "R14A", "R12 or R15", "12+?". "0" is a neutral face."""
        grades: dict[str, int] = {}
        doubtful: set[str] = set()
        complete = text.strip().lower() not in _NOTHING
        for part in re.split(r"[+,;&]", text) if complete and text.strip() != "0" else ():
            words = re.split(r"\bor\b|/", part)
            codes = [_code(word.replace("?", "")) for word in words]
            named = [code for code in codes if code is not None]
            complete &= len(named) == len(codes)
            if len(words) == 1 and named and "?" not in part:
                label, grade = named[0]
                grades[label] = max(grade, grades.get(label, -1))
                continue
            doubtful |= {label for label, _ in named}
            numbers = {split_label(label)[1] for label, _ in named}
            if len(words) > 1 and len(named) == len(words) and len(numbers) == 1:
                grades.setdefault(str(numbers.pop()), -1)  # either side: the AU itself is there
        return cls(grades, frozenset(doubtful - set(grades)), complete)

    @property
    def labels(self) -> frozenset[str]:
        """All that it names, and the AU behind each side."""
        named = self.doubtful | frozenset(self.grades)
        return named | {str(split_label(label)[1]) for label in named}

    def scores(self, aus: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """int8 occurrence and float32 intensity (of the apex) of each AU.

        "12" stands for either side. Where a cell says 12, nobody said that both sides move.
        """
        pairs = [self._score(label) for label in aus]
        occurrence_A = np.array([present for present, _ in pairs], np.int8)
        return occurrence_A, np.array([grade for _, grade in pairs], np.float32)

    def _score(self, label: str) -> tuple[int, int]:
        side, number = split_label(label)
        whole = str(number)
        same = [other for other in self.grades if split_label(other)[1] == number]
        if label in self.grades or (not side and same):
            return 1, max(self.grades[other] for other in ([label] if side else same))
        near = {label, whole} if side else {"L" + whole, "R" + whole, whole}
        if (side and whole in self.grades) or near & self.doubtful or not self.complete:
            return -1, -1
        return 0, 0


def _code(word: str) -> tuple[str, int] | None:
    match = _CODE.fullmatch(word.strip())
    if match is None or (match["before"] and match["after"]):
        return None
    unit = facs.ACTION_UNITS.get(int(match["number"]))
    if unit is None:
        return None
    side = (match["before"] or match["after"]).upper() if unit.sided else ""
    letter = match["letter"].upper()
    return f"{side}{int(match['number'])}", "ABCDE".index(letter) + 1 if letter else -1


def aus_of(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Every AU and side that a delivery names, by number, the whole before its sides."""
    found = {label for cell in cells for label in cell.labels}
    return tuple(sorted(found, key=lambda label: (split_label(label)[1], split_label(label)[0])))


@dataclass(frozen=True, eq=False)
class Expression:
    """One coded movement of one person.

    Attributes:
      name: of the recording to be. subject: who it is.
      place: of its pictures: a folder, or a film whose first frame is number 1.
      onset, offset: the owners' numbers of the first and the last frame.
      apex: of the strongest frame; None: unknown.
      cell: its AUs.
      emotion: place in the delivery's emotions, −1 unknown.
      attributes: a number an attribute, NaN unknown.
      file, line: where it is coded.
      numbers: of its frames, where no label says that all from onset to offset are there.
    """

    name: str
    subject: str
    place: Path
    onset: int
    apex: int | None
    offset: int
    cell: Cell
    emotion: int = -1
    attributes: tuple[float, ...] = ()
    file: str = ""
    line: int | None = None
    numbers: tuple[int, ...] = ()


@dataclass
class Sheet:
    """What reading a coding sheet gathers.

    Attributes:
      expressions, left_out, notes: as in `Delivery`, the notes in order.
    """

    expressions: list[Expression] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, expression: Expression, *, path: str) -> None:
        """Takes an expression whose numbers make sense; lists it otherwise.

        An apex outside of onset to offset is taken for unknown, and told.
        """
        first, apex, last = expression.onset, expression.apex, expression.offset
        if not 0 <= first <= last < first + LONGEST:
            self.leave(path, f"unreadable labels: onset {first}, offset {last}", expression)
            return
        if apex is not None and not first <= apex <= last:
            self.notes.append(
                f"{expression.name}: apex {apex} is outside of {first} to {last}, taken for unknown"
            )
            expression = replace(expression, apex=None)
        self.expressions.append(expression)

    def add_row(
        self,
        folder: Path,
        source: Path,
        spans: Sequence[str],
        *,
        row: tuple[str, int],
        **fields: Any,
    ) -> None:
        """Takes the expression of a sheet's row.

        Args:
          folder: of its pictures.
          source: the delivery.
          spans: the cells of onset, apex and offset.
          row: the sheet's file and the row's number.
          **fields: of the `Expression`: name, subject, cell, emotion, attributes.
        """
        path = reading.relative(source, folder)
        onset, apex, offset = map(frame_number, spans)
        if onset is None or offset is None:
            self.leave(path, "unreadable labels: no onset or offset", row)
            return
        times = {"onset": onset, "apex": apex, "offset": offset}
        told = Expression(place=folder, file=row[0], line=row[1], **times, **fields)
        self.add(told, path=path)

    def leave(self, path: str, reason: str, row: Expression | tuple[str, int | None]) -> None:
        """Lists a row that cannot be used."""
        file, line = (row.file, row.line) if isinstance(row, Expression) else row
        self.left_out.append(LeftOut(path, None, reason, file, line))

    def named_once(self, source: Path) -> None:
        """Gives the second and further expressions of one clip names with their first frame.

        Raises UserError where two rows code the same frames of the same clip.
        """
        seen: dict[str, Expression] = {}
        for i, expression in enumerate(self.expressions):
            name = expression.name
            if name in seen and expression.onset != seen[name].onset:
                name = f"{name}/{expression.onset}"
                self.expressions[i] = replace(expression, name=name)
            if name in seen:
                raise UserError(
                    f"{source / expression.file}, lines {seen[name].line} and {expression.line}: "
                    f"both code {name} from frame {expression.onset} on; remove one of them"
                )
            seen[name] = expression


def frame_number(text: str, *, least: int = 0) -> int | None:
    """A frame's number; None for "/", blanks, words and what is below `least`."""
    try:
        number = round(float(text))
    except (ValueError, OverflowError):
        return None
    return number if least <= number < 1 << 31 else None


def delivery(
    source: Path,
    sheet: Sheet,
    *,
    fps: float,
    around: int,
    protocol: str,
    test_subject: str,
    **fields: Any,
) -> Delivery:
    """The delivery of what a coding sheet gathered.

    Args:
      source: the delivery.
      sheet: its expressions.
      fps: frames a second.
      around, protocol, test_subject: the options of that name.
      **fields: of the `Delivery`: emotions, attributes, inputs, faces.
    """
    sheet.named_once(source)
    aus = aus_of(e.cell for e in sheet.expressions)
    dealt = split_of(protocol, test_subject, sheet.expressions)
    found = recordings(source, sheet.expressions, aus, fps=fps, around=around, split_of=dealt)
    return Delivery(
        found, aus=aus, left_out=sheet.left_out, notes=sheet.notes, root=source, **fields
    )


def recordings(
    source: Path,
    expressions: Sequence[Expression],
    aus: Sequence[str],
    *,
    fps: float,
    around: int,
    split_of: Mapping[str, str] | None,
) -> list[Recording]:
    """One recording an expression: its frames from onset to offset, with `labels`.

    `around` frames on both sides are taken as well, as far as there are pictures and no other
    expression is coded there; their emotion is unknown.
    """
    if around < 0:
        raise UserError(f"--around {around} is negative; give a number of frames")
    at: dict[Path, list[Expression]] = {}
    for e in expressions:
        at.setdefault(e.place, []).append(e)
    there = functools.cache(_numbered)  # a long film has many expressions
    found = []
    for e in expressions:
        numbers = list(e.numbers or range(e.onset, e.offset + 1))
        if around:
            near = [n for n in there(e.place) if e.onset - around <= n <= e.offset + around]
            free = [n for n in near if not any(o.onset <= n <= o.offset for o in at[e.place])]
            numbers = sorted({*numbers, *free})
        number_T = np.array(numbers)
        occurrence_TA, intensity_TA, phase_TA = labels(e, at[e.place], aus, number_T)
        inside_T = (number_T >= e.onset) & (number_T <= e.offset)
        attributes_TK = np.tile(np.array(e.attributes, np.float32), (len(numbers), 1))
        found.append(
            Recording(
                name=e.name,
                subject=e.subject,
                frames=_frames(source, e.place, numbers, there),
                occurrence_TA=occurrence_TA if aus else None,
                intensity_TA=intensity_TA if aus else None,
                phase_TA=phase_TA if aus else None,
                place_T=number_T,
                emotion_T=np.where(inside_T, e.emotion, -1),
                attributes_TK=attributes_TK if e.attributes else None,
                fps=fps,
                split=None if split_of is None else split_of[e.subject],
                table=e.file,
                line_T=None if e.line is None else np.full(len(numbers), e.line),
            )
        )
    return found


def labels(
    e: Expression, beside: Sequence[Expression], aus: Sequence[str], number_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int8 occurrence, float32 intensity, int8 phase T×A of the frames `number_T`.

    AUs that were coded are present from onset to offset; their phase is onset before the apex, apex
    in it, offset after it; where the apex is unknown, it is known of the first and last frame
    alone. Intensities are the apex's. AUs that were not coded are absent, but unknown in frames in
    which another expression of the same film (`beside`) has them. Before the onset and behind the
    offset the AUs of this expression are absent; nothing else is known.
    """
    inside_T = (number_T >= e.onset) & (number_T <= e.offset)
    present_A, grade_A = e.cell.scores(aus)
    outside_A = np.where(present_A == 1, 0, -1)
    occurrence_TA = np.where(inside_T[:, None], present_A, outside_A).astype(np.int8)
    for other in beside:
        if other is not e and other.onset <= number_T[-1] and number_T[0] <= other.offset:
            with_T = (number_T >= other.onset) & (number_T <= other.offset)
            theirs_A = other.cell.scores(aus)[0] != 0
            occurrence_TA[with_T[:, None] & theirs_A & (occurrence_TA == 0)] = -1
    intensity_TA = np.where(occurrence_TA == 0, 0, -1).astype(np.float32)
    phase_T = np.where(number_T == e.onset, 1, np.where(number_T == e.offset, 3, -1))
    if e.apex is not None:
        phase_T = np.where(number_T < e.apex, 1, np.where(number_T > e.apex, 3, 2))
        apex_TA = (number_T == e.apex)[:, None] & (occurrence_TA == 1)
        intensity_TA = np.where(apex_TA, grade_A, intensity_TA)
    phase_TA = np.where(occurrence_TA == 1, phase_T[:, None], np.where(occurrence_TA == 0, 0, -1))
    return occurrence_TA, intensity_TA, phase_TA.astype(np.int8)


def _numbered(place: Path) -> Mapping[int, Path]:
    """number -> picture of a folder; of a film every frame, from 1."""
    if place.suffix.lower() in reading.FILMS:
        return dict.fromkeys(range(1, reading.film_length(place) + 1), place)
    return reading.numbered(place)


def _frames(
    source: Path, place: Path, numbers: Sequence[int], there: Callable[[Path], Mapping[int, Path]]
) -> Film | Pictures:
    """The film's frames, or pictures; one that is not there has a path that does not exist."""
    if place.suffix.lower() in reading.FILMS:
        return Film(reading.relative(source, place), tuple(n - 1 for n in numbers))
    pictures = there(place)
    paths = (pictures.get(n, place / f"{n}.jpg") for n in numbers)
    return Pictures(tuple(reading.relative(source, path) for path in paths))


def split_of(
    protocol: str, test_subject: str, expressions: Iterable[Expression]
) -> dict[str, str] | None:
    """subject -> split: one person for the test, or all in one; None: dealt out.

    Raises UserError where nobody is called `test_subject`.
    """
    people = sorted({e.subject for e in expressions})
    if test_subject and test_subject not in people:
        raise UserError(f"--test-subject {test_subject}: nobody is; there are {', '.join(people)}")
    if test_subject:
        return {s: "test" if s == test_subject else "train" for s in people}
    return dict.fromkeys(people, "train") if protocol == "all" else None


def folders(source: Path, pattern: str) -> list[Path]:
    """Folders anywhere in a delivery whose name is `pattern`, in order; none inside another."""
    found: list[Path] = []
    seen: set[str] = set()
    for top, below, _ in os.walk(source, followlinks=True):
        if (real := os.path.realpath(top)) in seen:  # links may lead round in a circle
            below.clear()
            continue
        seen.add(real)
        hits = [name for name in below if re.fullmatch(pattern, name, re.IGNORECASE)]
        found += [Path(top, name) for name in hits]
        below[:] = sorted(set(below) - set(hits))
    return sorted(found)


def sheet_with(path: Path, *wanted: str, filled: str = "") -> reading.Table:
    """The first sheet of a workbook that has a row with the columns `wanted`, from there on.

    Rows in which the column `filled` is empty are sums and remarks, and left out.
    """
    tables = list(reading.sheets(path).values())
    for table in tables:
        try:
            found = reading.by_header(table, *wanted)
            if filled:
                column = found.column(filled)
                found.rows = [row for row in found.rows if cell(row[1], column)]
            return found
        except UserError:
            if table is tables[-1]:
                raise
    raise UserError(f"{path} holds no sheet; copy it again")


def workbooks(source: Path, pattern: str) -> list[Path]:
    """Workbooks of a delivery called so, letter case apart, at most three folders deep."""
    files = reading.files_below(
        source, enter=lambda folder: len(folder.relative_to(source).parts) <= 3
    )
    named = (path for path in files if not path.name.startswith("~"))
    return [path for path in named if fnmatch.fnmatchcase(path.name.lower(), pattern.lower())]


def workbook(source: Path, pattern: str, *, title: str) -> Path:
    """The one workbook of a delivery called so; UserError where there are none or several."""
    books = workbooks(source, pattern)
    if len(books) == 1:
        return books[0]
    if books:
        raise UserError(f"{books[0]} and {books[1]} are both codings of {title}; remove one")
    raise UserError(f"{source} has no workbook {pattern}; copy the coding of {title} there as well")


def cell(cells: Sequence[str], column: int) -> str:
    """A cell of a row; rows of workbooks end where nothing more is written."""
    return cells[column].strip() if column < len(cells) else ""
