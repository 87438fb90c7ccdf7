"""Reading label files as owners deliver them: each mistake is named with its file and row."""

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from jaxfacs.data.delivery import LeftOut, Pictures, Pixels, Recording
from jaxfacs.errors import UserError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
FILMS = (".avi", ".mp4", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg")
MAX_TEXT_BYTES = 1 << 30  # EmotioNet's lists of 950,000 rows are under 200 MB
LONGEST_FILM = 1 << 20  # frames: eleven hours
BATCH = 256  # stills a recording: little memory, and work for every process


@dataclass(eq=False)
class Found:
    """What is noticed while label files are read.

    Attributes:
      inputs, left_out: as in `Delivery`.
      notes: how often each was to be made.
      first_error: of a file that was left out; raised where nothing else is left.
    """

    inputs: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    first_error: UserError | None = None

    def damaged(self, path: str, error: UserError) -> None:
        """Lists a recording whose labels cannot be read."""
        self.first_error = self.first_error or error
        self.left_out.append(LeftOut(path, None, f"unreadable labels: {error}"))

    def told(self) -> list[str]:
        """The notes, for `Delivery.notes`."""
        return [f"{n} × {note}" if n > 1 else note for note, n in sorted(self.notes.items())]


def require_folders(source: Path, *names: str, title: str) -> Path:
    """`source`, if at least one of the folders or files `names` (patterns) is in it.

    Owners' archives unpack with or without a folder of their own around: where `source` holds one
    folder and nothing named, that is looked into. Raises UserError, saying what was expected.
    """
    if not source.is_dir():
        raise UserError(f"--source {source} is not a folder")
    if any(any(source.glob(name)) for name in names):
        return source
    inner = [path for path in source.iterdir() if path.is_dir()]
    if len(inner) == 1 and any(any(inner[0].glob(name)) for name in names):
        return inner[0]
    archives = sorted(path.name for path in source.glob("*.zip"))
    found = ", ".join(sorted(path.name for path in source.iterdir())[:8]) or "nothing"
    hint = f"; unpack {archives[0]} first" if archives else ""
    raise UserError(
        f"{source} is not {title} as delivered: expected {' or '.join(names)}, found {found}{hint}"
    )


def relative(source: Path, path: Path) -> str:
    """`path` as recordings name it: relative to the delivery, with "/"."""
    return path.relative_to(source).as_posix()


def inside(name: str, *, file: Path, line: int) -> str:
    """A path out of a list, tidied; UserError where it leaves the folder or is absolute."""
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"^[A-Za-z]:", name):
        raise UserError(f"{file}, line {line}: {name!r} leads out of the folder; mend the list")
    return path.as_posix()


def number_of(path: Path) -> int:
    """The last number in a file's name, or −1: zero padding differs even between subjects."""
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def numbered(folder: Path, suffixes: Sequence[str] = PICTURES) -> dict[int, Path]:
    """number -> picture of a folder, by the last number in the name, ascending.

    Raises UserError where two files have the same number. A folder that is not there is empty.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        number = number_of(path)
        if number in found:
            raise UserError(
                f"{path} and {found[number].name} are both frame {number}; remove one of them"
            )
        found[number] = path
    return dict(sorted(found.items()))


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, without line ends and a byte order mark."""
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UserError(f"{path} is larger than {MAX_TEXT_BYTES >> 20} MiB: no label file")
        return path.read_text(encoding="utf-8-sig", errors="strict").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; copy the delivery again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text file ({error.reason}); copy it again") from error


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, cells) of a CSV file that is too large to be held whole."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; copy the delivery again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file ({error}); copy it again") from error


def table(path: Path, *, delimiter: str = ",", header: bool = True) -> "Table":
    """A CSV file (no quotes needed) as a `Table`; blank lines are left out."""
    rows = [
        (number, [cell.strip() for cell in cells])
        for number, cells in enumerate(csv.reader(lines_of(path), delimiter=delimiter), start=1)
        if any(cell.strip() for cell in cells)
    ]
    if not rows:
        raise UserError(f"{path} is empty; copy it again")
    names = rows.pop(0)[1] if header else []
    return Table(path, names, rows)


class Table:
    """Rows of cells with the numbers of their lines.

    Attributes:
      path: of the file.
      names: the header; empty without one.
      rows: (line number from 1, cells).
    """

    def __init__(self, path: Path, names: list[str], rows: list[tuple[int, list[str]]]):
        self.path, self.names, self.rows = path, names, rows

    def column(self, *wanted: str) -> int:
        """The place of the first of `wanted` in the header, letter case and blanks apart."""
        plain = [_plain(name) for name in self.names]
        for name in wanted:
            if _plain(name) in plain:
                return plain.index(_plain(name))
        raise UserError(
            f"{self.path} has no column {' or '.join(wanted)}; it has {', '.join(self.names[:12])}"
        )

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """float64 R×C: the cells of `columns` in each row as numbers."""
        out = np.empty((len(self.rows), len(columns)))
        for r, (line, cells) in enumerate(self.rows):
            for c, column in enumerate(columns):
                try:
                    out[r, c] = float(cells[column])
                except (ValueError, IndexError):
                    shown = repr(cells[column]) if column < len(cells) else "nothing"
                    raise UserError(
                        f"{self.path}, line {line}, column {column + 1}: {shown} is no number"
                    ) from None
        return out


def _plain(name: str) -> str:
    return re.sub(r"[\s_'\"]", "", name).lower()


def au_column(name: str) -> str | None:
    """The AU that a header names by its number: "AU06", "'AU 6'", "6" or "6.0" -> "6"; else None.

    "1.1" is 1 as well: a second column called 1, as pandas writes it.
    """
    match = re.fullmatch(r"['\"\s]*(?:AU[\s_]?)?0*(\d{1,3})(?:\.\d+)?['\"\s]*", name, re.IGNORECASE)
    return match[1] if match else None


def frame_numbers(table: Table, column: int = 0) -> np.ndarray:
    """int T: the owners' numbers of the frames, which must be whole and ascend.

    Raises UserError, with the line, for anything else, and for a table without rows.
    """
    value_T = table.numbers((column,))[:, 0]
    if not len(value_T):
        raise UserError(f"{table.path} has no rows; copy it again")
    whole_T = np.isfinite(value_T) & (np.abs(value_T) < 1e9)
    whole_T[whole_T] = value_T[whole_T] % 1 == 0
    if not whole_T.all():
        line, cells = table.rows[int(np.argmin(whole_T))]
        raise UserError(f"{table.path}, line {line}: {cells[column]!r} is no number of a frame")
    number_T = value_T.astype(int)
    wrong = np.flatnonzero(np.diff(number_T) <= 0)
    if len(wrong):
        line = table.rows[int(wrong[0]) + 1][0]
        number = number_T[wrong[0] + 1]
        raise UserError(f"{table.path}, line {line}: frame {number} comes twice or out of order")
    return number_T


def occurrence(value: np.ndarray) -> np.ndarray:
    """int8 occurrence from coders' numbers: 0 and 1 as they are, all else (9, 999, −1) unknown."""
    return np.where(value == 1, 1, np.where(value == 0, 0, -1)).astype(np.int8)


def intensity(value: np.ndarray) -> np.ndarray:
    """float32 intensity from coders' numbers: 0–5 as they are, all else (9, −1) unknown."""
    known = (value >= 0) & (value <= 5)
    return np.where(known, value, -1).astype(np.float32)


def sheets(path: Path) -> dict[str, Table]:
    """The sheets of an Excel workbook by name, every row from the first on, cells as text.

    Raises UserError for a workbook with a password, which is not readable by anybody without it.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise UserError(
            f"{path.name} is an Excel workbook; pip install 'jaxfacs[datasets]', or save it as .csv"
        ) from error
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
        if magic == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            raise UserError(
                f"{path} has a password, or is an old .xls; open it and save it as .xlsx without"
            )
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; copy the delivery again") from error
    except UserError:
        raise
    except Exception as error:  # openpyxl lets zip, XML and key errors through
        raise UserError(f"{path} is no readable Excel workbook ({error}); copy it again") from error
    found = {}
    for sheet in book.worksheets:
        rows = [
            (line, [_text(cell) for cell in cells])
            for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1)
        ]
        found[sheet.title] = Table(path, [], [row for row in rows if any(row[1])])
    book.close()
    return found


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def by_header(sheet: Table, *wanted: str) -> Table:
    """`sheet` from the row on that holds all of `wanted`: owners put titles and notes above it."""
    for place, (_, cells) in enumerate(sheet.rows):
        plain = [_plain(cell) for cell in cells]
        if all(_plain(name) in plain for name in wanted):
            return Table(sheet.path, cells, sheet.rows[place + 1 :])
    raise UserError(f"{sheet.path} has no row with the columns {', '.join(wanted)}")


def consecutive(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields (first, end) places of the runs of ascending `numbers` that leave none out."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield start, place
            start = place


def pictures_of(source: Path, folder: Path, numbers: Iterable[int]) -> tuple[str, ...]:
    """Paths of the numbered pictures of a folder, relative to `source`.

    A number without a file gets a path that does not exist, so that it is listed as missing.
    """
    there = numbered(folder)
    return tuple(
        relative(source, there.get(number, folder / f"{number}.jpg")) for number in numbers
    )


def files_below(source: Path, *, enter: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yields every file below `source`, in the order of the folders' names, then of their own.

    Links to folders are followed, each folder once. `enter` says whether a folder is looked into:
    to list a million pictures takes minutes.
    """
    seen: set[str] = set()
    for top, folders, names in os.walk(source, followlinks=True):
        if (real := os.path.realpath(top)) in seen:  # links may lead round in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if enter is None or enter(Path(top, f)))
        yield from (Path(top, name) for name in sorted(names) if not name.startswith("."))


def files_by_stem(source: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """stem in lower case -> file, anywhere below `source`. UserError where two have one stem."""
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            stem = path.stem.lower()
            if stem in found:
                raise UserError(f"{path} and {found[stem]} have one name; remove one of them")
            found[stem] = path
    return found


def stills(
    name: str,
    subject: str,
    frames: Pictures | Pixels,
    table: str = "",
    /,
    *,
    split: str | None = None,
    **labels: np.ndarray | None,
) -> list[Recording]:
    """Recordings of at most `BATCH` pictures by themselves, in the order given.

    Args:
      name: begins the names of the recordings, as in "train/0003".
      subject: of all; "" where nobody is known.
      frames: N pictures.
      table: the label file that names them, for skipped.csv.
      split: see `Recording`.
      labels: array fields of `Recording`, a row a picture.
    """
    recordings = []
    for number, chunk in enumerate(_batches(frames)):
        recordings.append(
            Recording(
                name=f"{name}/{number:04d}",
                subject=subject,
                frames=Pictures(frames.paths[chunk])
                if isinstance(frames, Pictures)
                else Pixels(frames.frames[chunk]),
                stills=True,
                split=split,
                table=table,
                **{k: v[chunk] for k, v in labels.items() if v is not None},  # type: ignore[arg-type]
            )
        )
    return recordings


def _batches(frames: Pictures | Pixels) -> Iterator[slice]:
    """Places of at most `BATCH` pictures; more where one picture shows more faces than that.

    Faces of one picture that follow each other stay together: they are numbered in a recording.
    """
    first = 0
    while first < len(frames):
        end = min(first + BATCH, len(frames))
        if isinstance(frames, Pictures):
            while end < len(frames) and frames.paths[end] == frames.paths[end - 1]:
                end += 1
        yield slice(first, end)
        first = end


def film_length(path: Path) -> int:
    """Frames of a film as its container counts them, for sets that label films, not frames.

    Reads the header alone (a few ms); 1 where it does not open, so that the film is listed.
    """
    import cv2

    counted = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)
    return int(min(max(1, counted), LONGEST_FILM))  # a damaged header may hold any number


def points(path: Path, count: int) -> np.ndarray | None:
    """float64 count×2 of a text file with a row "x y" a point; None where it holds anything else.

    Landmarks are a help, not labels: one file that is damaged does not stop a build.
    """
    try:
        rows = [text.split() for text in lines_of(path) if text.strip()]
        points_K2 = np.array(rows, np.float64)
    except (UserError, ValueError):
        return None
    good = points_K2.shape == (count, 2) and np.isfinite(points_K2).all()
    return points_K2 if good else None


def coded_rows(path: Path) -> Iterator[tuple[int, float, float]]:
    """Yields (line, AU, intensity) as written, of a file with a row "AU intensity …" an AU."""
    for line, text in enumerate(lines_of(path), start=1):
        cells = text.split()
        if not cells:
            continue
        try:
            yield line, float(cells[0]), float(cells[1])
        except (ValueError, IndexError):
            raise UserError(
                f"{path}, line {line}: {text.strip()!r} is no AU and its intensity"
            ) from None
