"""Files of columns, some rows at a time: CSV, JSON Lines and Parquet, told apart by their bytes.

What is read of a file of any length stays within a few megabytes, and what is wrong with it is
said with its line. What the columns mean is for others: `emotion.frames`, `infer.tables`.
"""

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.facs import CodeError, parse_label

CELLS = 200_000  # of a part, about: as text they take some 15 MB
MAX_LINE = 1 << 20  # characters; py-feat's widest row has some 2,300 columns, 50 kB
Cells = Sequence[str] | np.ndarray
UNKNOWN_WORDS = frozenset(("", "nan", "na", "none", "null"))
PY_FEAT_MARK = "FaceScore"  # a column that py-feat's tables have and no others
_SUFFIXES = {"probability": ("_p", "_probability"), "intensity": ("_r", "_intensity")}


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a file.

    Attributes:
      path: the file.
      first: the number of the first of these rows, from 0.
      columns: name -> its cells: text as it stands in the file, or float64 with NaN for unknown
        where the file has types.
    """

    path: Path
    first: int
    columns: dict[str, Cells]

    def __len__(self) -> int:
        return _height(self.columns)

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64; NaN where a cell is empty or says that it is unknown.

        Raises:
          UserError: with the line, for a cell that is no finite number.
        """
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            values_N = cells
        else:
            try:
                values_N = np.array([float(cell or "nan") for cell in cells])
            except ValueError:
                values_N = np.array([self._number(name, n, cell) for n, cell in enumerate(cells)])
        if np.isinf(values_N).any():
            row = int(np.flatnonzero(np.isinf(values_N))[0])
            raise UserError(f"{self.place(row)}: {name} is infinite; leave unknown cells empty")
        return values_N

    def texts(self, name: str) -> list[str]:
        """A column as text without blanks around it; "" where a cell is empty."""
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            return ["" if np.isnan(value) else f"{value:.17g}" for value in cells]
        return [cell.strip() for cell in cells]

    def seconds(self, name: str) -> np.ndarray:
        """A column of times in seconds, also where it is written as minutes:seconds."""
        texts = self.columns[name]
        if isinstance(texts, np.ndarray) or not any(":" in text for text in texts):
            return self.numbers(name)
        return np.array([self._clock(name, n, text) for n, text in enumerate(self.texts(name))])

    def place(self, row: int) -> str:
        """Where a row of this part stands: "film.csv, line 12"."""
        return f"{self.path}, {_line(self.path, self.first + row)}"

    def _number(self, name: str, row: int, cell: str) -> float:
        if cell.strip().lower() in UNKNOWN_WORDS:
            return float("nan")
        try:
            return float(cell)
        except ValueError:
            raise UserError(
                f"{self.place(row)}: {_short(cell)} is no number for {name}; leave unknown cells "
                "empty"
            ) from None

    def _clock(self, name: str, row: int, text: str) -> float:
        seconds = 0.0
        for piece in text.split(":"):
            seconds = 60 * seconds + self._number(name, row, piece)
        return seconds


def header(path: Path) -> tuple[str, ...]:
    """The names of the columns, without blanks around them; nameless ones are left out.

    Raises:
      UserError: for a file that cannot be read, is empty or no table, or names a column twice.
    """
    with _explained(path):
        names = {"csv": _csv_header, "json": _json_header, "parquet": _parquet_header}[_kind(path)](
            path
        )
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise UserError(f"{path} has two columns {_short(twice)}; rename or remove one of them")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise UserError(f"{path} is not separated by commas; save it as CSV with commas")
    return tuple(name for name in names if name and not name.startswith("__index_level_"))


def parts(
    path: Path, names: Collection[str] | None = None, *, texts: Collection[str] = ()
) -> Iterator[Part]:
    """The rows of a file in order, some hundreds to thousands at a time; no part is empty.

    Args:
      path: the file.
      names: the columns to keep; None: all of them.
      texts: those of them that are text; the others may be, but are read faster if they are not.

    Raises:
      UserError: as `header`, and with the line for a row that has not as many cells as the header.
    """
    known = header(path)
    keep = [name for name in known if names is None or name in names]
    read = {"csv": _csv_parts, "json": _json_parts, "parquet": _parquet_parts}[_kind(path)]
    with _explained(path):
        yield from read(path, keep, {*texts}, 1 + CELLS // len(known))


def au_columns(
    names: Sequence[str], *, bare: str = "occurrence", skip: str | None = None
) -> dict[str, dict[str, str]]:
    """AU label -> "probability", "occurrence" or "intensity" -> its column, the first of several.

    Args:
      names: a header, in any common spelling: AU12_p, AU12_c, AU12_r, AU12L_r, AU12, 12.
      bare: what a column without a suffix holds.
      skip: a column that is none whatever its name.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        try:
            label = parse_label(name) if name != skip else ""
        except CodeError:
            continue
        lowered = name.lower()
        kind = next((k for k, ends in _SUFFIXES.items() if lowered.endswith(ends)), None)
        if kind is None:
            occurrence = lowered.endswith(("_c", "_occurrence", "_presence"))
            kind = "occurrence" if occurrence else bare
        if label:
            found.setdefault(label, {}).setdefault(kind, name)
    return found


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(1 << 16)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    if b"\0" in head:
        raise UserError(
            f"{path} is no table (it holds bytes that no UTF-8 text has); give CSV in UTF-8, JSON "
            "Lines or Parquet"
        )
    if not text:
        raise UserError(f"{path} is empty; write it again")
    if text.startswith(b"["):
        raise UserError(f"{path} is one JSON document; only JSON Lines, an object a line, is read")
    return "json" if text.startswith(b"{") else "csv"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path} is no CSV text: {error}; write it again") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends; one longer than MAX_LINE is refused before it fills the memory."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise UserError(
                    f"{path}, line {number}: more than {MAX_LINE:,} characters; it is no table"
                )
            yield line


def _csv_rows(lines: Iterable[str]) -> tuple[Any, Iterator[list[str]]]:
    reader = csv.reader(lines, skipinitialspace=True)
    return reader, (row for row in reader if row)


def _csv_header(path: Path) -> list[str]:
    _, rows = _csv_rows(_lines(path))
    names = [name.strip() for name in next(rows, [])]
    if not any(names):
        raise UserError(f"{path} has no header; its first line must name the columns")
    return names


def _csv_parts(path: Path, keep: Sequence[str], texts: set[str], rows: int) -> Iterator[Part]:
    lines = _lines(path)
    _, first_rows = _csv_rows(lines)
    names = [name.strip() for name in next(first_rows)]
    place = {name: names.index(name) for name in keep}
    first = 0
    # Lines that are plainly numbers go to numpy, at a fifth of the time. From the first part on
    # that has quotation marks, where a cell may have line ends, all goes the long way.
    while block := list(islice(lines, rows)):
        if any('"' in line for line in block):
            lines = chain(block, lines)
            break
        columns = _plain_columns(block, len(names), place, texts)
        if columns is None:
            columns = _csv_columns(list(_csv_rows(block)[1]), path, first, len(names), place)
        yield from [Part(path, first, columns)] if columns else ()
        first += _height(columns)
    _, all_rows = _csv_rows(lines)
    while cells := list(islice(all_rows, rows)):
        yield Part(path, first, _csv_columns(cells, path, first, len(names), place))
        first += len(cells)


def _plain_columns(
    lines: Sequence[str], width: int, place: Mapping[str, int], texts: set[str]
) -> dict[str, Cells] | None:
    """Columns out of lines of `width` cells without quotation marks; None where that is not so, or
    where one that should be numbers is not."""
    if any(line.count(",") != width - 1 for line in lines):
        return None
    numbers = [name for name in place if name not in texts]
    columns: dict[str, Cells] = {}
    if numbers:
        filled = [
            f"{line.rstrip()},".replace(",,", ",nan,").replace(",,", ",nan,") for line in lines
        ]
        try:
            values_NC = np.loadtxt(
                filled,
                delimiter=",",
                comments=None,
                usecols=[place[name] for name in numbers],
                ndmin=2,
            )
        except ValueError:
            return None
        columns = dict(zip(numbers, values_NC.T, strict=True))
    cells = [line.split(",") for line in lines] if len(numbers) < len(place) else []
    return {
        name: columns[name] if name in columns else [row[n].strip() for row in cells]
        for name, n in place.items()
    }


def _csv_columns(
    rows: Sequence[list[str]], path: Path, first: int, width: int, place: Mapping[str, int]
) -> dict[str, Cells]:
    """Columns out of rows of text, each of which must have `width` cells."""
    if not rows:
        return {}
    if set(map(len, rows)) != {width}:
        wrong = next(n for n, row in enumerate(rows) if len(row) != width)
        raise UserError(
            f"{path}, {_line(path, first + wrong)}: {len(rows[wrong])} fields, not {width}; the "
            "file is damaged or cut off there"
        )
    columns = list(zip(*rows, strict=True))
    return {name: columns[n] for name, n in place.items()}


def _height(columns: Mapping[str, Cells]) -> int:
    return len(next(iter(columns.values()), ()))


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}, line {number}: no JSON object ({error}); only JSON Lines, an object a "
                "line, is read"
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: no JSON object; a row is one object")
        yield number, row


def _json_header(path: Path) -> list[str]:
    return list(next(_json_rows(path))[1])


def _json_parts(path: Path, keep: Sequence[str], texts: set[str], rows: int) -> Iterator[Part]:
    del texts  # the file has types
    all_rows = _json_rows(path)
    names: set[str] | None = None
    first = 0
    while block := list(islice(all_rows, rows)):
        names = set(block[0][1]) if names is None else names
        for number, row in block:
            if row.keys() != names:
                other = ", ".join(sorted(row.keys() ^ names)[:5])
                raise UserError(f"{path}, line {number}: other columns than line 1 ({other})")
        yield Part(path, first, {name: _cells([row[name] for _, row in block]) for name in keep})
        first += len(block)


def _cells(values: list[Any]) -> Cells:
    if {*map(type, values)} <= {float, int, bool, type(None)}:
        try:
            return np.array(values, np.float64)  # None becomes NaN
        except OverflowError:
            pass  # a whole number beyond float64, which `numbers` refuses
    return ["" if value is None else str(value) for value in values]


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(
            f"{path} is Parquet, which needs pyarrow; install it with pip install 'jaxfacs[tables]'"
        ) from None
    with _parquet_explained(path):
        return parquet.ParquetFile(path)


@contextmanager
def _parquet_explained(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:160]
        raise UserError(f"{path} is no whole Parquet file ({said}); write it again") from error


def _parquet_header(path: Path) -> list[str]:
    with _parquet_file(path) as file:
        return [name.strip() for name in file.schema_arrow.names]


def _parquet_parts(path: Path, keep: Sequence[str], texts: set[str], rows: int) -> Iterator[Part]:
    del texts  # the file has types
    import pyarrow as pa

    def cells(column: Any) -> Cells:
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            column = column.cast(pa.int8()) if pa.types.is_boolean(kind) else column
            return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return ["" if value is None else str(value) for value in column.to_pylist()]

    with _parquet_file(path) as file:
        given = {name.strip(): name for name in file.schema_arrow.names}
        first = 0
        with _parquet_explained(path):
            for batch in file.iter_batches(batch_size=rows, columns=[given[n] for n in keep]):
                columns = {name: cells(batch.column(given[name])) for name in keep}
                if batch.num_rows:
                    yield Part(path, first, columns)
                first += batch.num_rows


def _line(path: Path, row: int) -> str:
    """Where row number `row` (from 0, after the header) ends; the file is read again for it."""
    kind = _kind(path)
    if kind == "csv":
        reader, rows = _csv_rows(_lines(path))
        next(islice(rows, row + 1, None), None)
        return f"line {reader.line_num}"
    if kind == "json":
        return f"line {next(islice(_json_rows(path), row, None), (row + 1,))[0]}"
    return f"row {row + 1}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
