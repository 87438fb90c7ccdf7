"""Reads EmotioNet's lists of addresses and labels: the coders' sheet, automatic lists, plain text.

The sheet (.xlsx or .csv) has the columns `URL`, `URL orig` and 'AU 1' … 'AU 60', quotes included;
the release that Bartissol 2017 (§3.1) describes has one address column. Automatic lists
(dataFile_XXXX.txt) have no header: address, original address and 60 values between tabs. 999 means
that nobody coded the AU. Formats: radekd91/inferno, inferno/datasets/EmotioNetDataModule.py.
"""

import csv
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from jaxfacs.errors import UserError

AU_COUNT = 60
UNKNOWN = -1
MAX_WORKBOOK_BYTES = 2 << 30  # unpacked; the sheet of 24,600 rows takes some 40 MB
MAX_LINE = 1 << 16

_OLE_MAGIC = b"\xd0\xcf\x11\xe0"
_ZIP_MAGIC = b"PK\x03\x04"
_VALUES = {"0": 0, "1": 1} | dict.fromkeys(
    ("", "999", "9", "-1", "nan", "na", "n/a", "none", "null", "?"), UNKNOWN
)
_AU_HEADER = re.compile(r"au[\s_]*0*(\d{1,2})")
_ORIGINAL_HEADERS = ("url orig", "url original", "orig url", "original url")
# The comma between two addresses, as opposed to one within an address.
_BETWEEN_ADDRESSES = re.compile(r"'?\s*,\s*'?(?=https?://)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a list.

    Attributes:
      source, number: file (and sheet) and row in it, from 1, for messages.
      url, orig_url: addresses without their quotes; `orig_url` is "" where there is none.
      occurrence_60: 1, 0 or −1 (nobody coded it) of AU 1 … AU 60; all −1 in a list of addresses.
    """

    source: str
    number: int
    url: str
    orig_url: str
    occurrence_60: tuple[int, ...]


@dataclass
class Problems:
    """What was wrong with a list without ending the work.

    Attributes:
      rows: (file, row, what is wrong) of each row that was left out.
      odd_values: how often a value was neither 0, 1 nor a known spelling of unknown; those count
        as unknown.
      skipped_sheets: sheets of a workbook that have no column of addresses.
    """

    rows: list[tuple[str, int, str]] = field(default_factory=list)
    odd_values: dict[str, int] = field(default_factory=dict)
    skipped_sheets: list[str] = field(default_factory=list)


def read(path: Path, problems: Problems) -> Iterator[Row]:
    """Yields the rows of a list of any of the three kinds, told apart by what is in the file.

    Raises:
      UserError: no such file, a password-protected or damaged workbook, or no address in it.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the list as the owners sent it") from error
    if start.startswith(_OLE_MAGIC):
        raise UserError(_ole_message(path))
    reader = _workbook if start.startswith(_ZIP_MAGIC) else _text
    rows = reader(path, problems)
    first = next(rows, None)
    if first is None:
        raise UserError(
            f"{path} holds no address: expected a sheet with a column `URL`, a dataFile_*.txt, "
            f"or one address a line{_first_problem(problems)}"
        )
    yield from chain((first,), rows)


def _first_problem(problems: Problems) -> str:
    return f" (row {problems.rows[0][1]}: {problems.rows[0][2]})" if problems.rows else ""


def _ole_message(path: Path) -> str:
    """Encrypted: an OLE file with a stream named EncryptedPackage (MS-OFFCRYPTO, §2.3)."""
    with open(path, "rb") as file:
        head = file.read(16 << 20)
    if "EncryptedPackage".encode("utf-16-le") in head:
        return (
            f"{path} is protected by a password; open it with the password that the owners sent "
            "and save it without one (or as CSV), then give that file"
        )
    return f"{path} is a workbook of the old kind (.xls); save it as .xlsx or CSV, then give that"


def _workbook(path: Path, problems: Problems) -> Iterator[Row]:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise UserError(
            f"{path} is a workbook, which needs openpyxl: pip install 'jaxfacs[datasets]', "
            "or save the sheet as CSV"
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_WORKBOOK_BYTES:
            raise UserError(f"{path} unpacks to {size} bytes, more than a sheet of labels has")
        book = load_workbook(path, read_only=True, data_only=True)
    except UserError:
        raise
    except Exception as error:  # zipfile, expat, KeyError …: openpyxl has no error of its own
        raise UserError(f"{path} is a damaged workbook ({error}); copy it again") from error
    try:
        for sheet in book.worksheets:
            cells = ([_cell(c) for c in row] for row in sheet.iter_rows(values_only=True))
            columns = _columns(next(cells, []))
            if columns is None:
                problems.skipped_sheets.append(sheet.title)
                continue
            # Empty cells at the end of a row may be left out of the file.
            padded = (row + [""] * (columns.width - len(row)) for row in cells)
            yield from _rows(f"{path.name}[{sheet.title}]", padded, 2, columns, problems)
    except UserError:
        raise
    except Exception as error:  # sheets are parsed while they are read
        raise UserError(f"{path} is a damaged workbook ({error}); copy it again") from error
    finally:
        book.close()


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _text(path: Path, problems: Problems) -> Iterator[Row]:
    with open(path, encoding=_encoding(path), newline="") as file:
        first = file.readline(MAX_LINE)
        file.seek(0)
        delimiter = max(",;\t", key=first.count)
        columns = _columns(next(csv.reader([first], delimiter=delimiter), []))
        if columns is None and "\t" in first:
            columns = _automatic(path, first.rstrip("\r\n").split("\t"))
            plain = (line.rstrip("\r\n").split("\t") for line in file)
            yield from _rows(path.name, plain, 1, columns, problems)
        elif columns is None:
            lines = ([line.strip()] for line in file)
            yield from _rows(path.name, lines, 1, _ADDRESS_ALONE, problems)
        else:
            reader = csv.reader(file, delimiter=delimiter)
            next(reader)
            try:
                yield from _rows(path.name, reader, 2, columns, problems)
            except csv.Error as error:
                raise UserError(f"{path}, line {reader.line_num}: {error}; is it CSV?") from error


def _encoding(path: Path) -> str:
    """UTF-8, or what Western Excel writes: a wrong guess changes addresses, not only looks."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            while file.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "cp1252" if b"\x81" not in path.read_bytes()[: 64 << 20] else "latin-1"
    return "utf-8-sig"


@dataclass(frozen=True)
class _Columns:
    """Where things stand in a row; `aus` maps AU − 1 to the column, `width` is 0 for any."""

    url: int
    orig_url: int | None
    aus: dict[int, int]
    width: int


_ADDRESS_ALONE = _Columns(0, None, {}, 1)


def _automatic(path: Path, cells: list[str]) -> _Columns:
    """One or two addresses and 60 values, or no values at all: what the values mean is by place."""
    two = len(cells) == AU_COUNT + 2 or (len(cells) > 1 and "://" in cells[1])
    addresses = 1 + two
    values = len(cells) - addresses
    if values not in (0, AU_COUNT):
        raise UserError(
            f"{path}, line 1: {values} values after the addresses, expected {AU_COUNT} "
            f"(AU 1 to {AU_COUNT}) or none"
        )
    aus = {k: addresses + k for k in range(values)}
    return _Columns(0, 1 if addresses == 2 else None, aus, len(cells))


def _columns(header: list[str]) -> _Columns | None:
    """None where the row is no header."""
    names = [" ".join(_bare(name).lower().replace("_", " ").split()) for name in header]
    if "url" not in names:
        return None
    aus = {}
    for i, name in enumerate(names):
        match = _AU_HEADER.fullmatch(name)
        if match and 1 <= int(match[1]) <= AU_COUNT:
            aus.setdefault(int(match[1]) - 1, i)
    original = next((i for i, name in enumerate(names) if name in _ORIGINAL_HEADERS), None)
    return _Columns(names.index("url"), original, aus, len(names))


def _bare(text: str) -> str:
    return text.strip().strip("'\"").strip()


def _rows(
    source: str,
    table: Iterator[list[str]],
    first_number: int,
    columns: _Columns,
    problems: Problems,
) -> Iterator[Row]:
    value = _value_reader(problems)
    for number, cells in enumerate(table, start=first_number):
        if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
            continue
        cells = _mended(cells, columns)
        if cells is None:
            problems.rows.append((source, number, f"not the {columns.width} cells of a row"))
            continue
        url = _bare(cells[columns.url])
        orig_url = _bare(cells[columns.orig_url]) if columns.orig_url is not None else ""
        if "://" not in url:
            if "://" not in orig_url:
                problems.rows.append((source, number, f"no address: {url[:80]!r}"))
                continue
            url, orig_url = orig_url, ""
        occurrence = [UNKNOWN] * AU_COUNT
        for k, i in columns.aus.items():
            occurrence[k] = value(cells[i])
        yield Row(source, number, url, orig_url if "://" in orig_url else "", tuple(occurrence))


def _mended(cells: list[str], columns: _Columns) -> list[str] | None:
    """The cells of a row; where commas in an address split it, they are put together again.

    Bartissol 2017, §3.1.1: such rows shift every label. The labels are the last cells, so what
    stands before them is the addresses. None where that is ambiguous.
    """
    surplus = len(cells) - columns.width
    while surplus > 0 and not cells[-1].strip():  # trailing separators
        cells, surplus = cells[:-1], surplus - 1
    if surplus <= 0:
        return cells if surplus == 0 else None
    addresses = 1 if columns.orig_url is None else 2
    if columns.url != 0 or columns.orig_url not in (None, 1) or columns.width == 1:
        return None
    text = ",".join(cells[: addresses + surplus])
    parts = _BETWEEN_ADDRESSES.split(text)
    return parts + cells[addresses + surplus :] if len(parts) == addresses else None


def _value_reader(problems: Problems) -> Callable[[str], int]:
    """Reads a value; each spelling is worked out once."""
    known: dict[str, int | None] = dict(_VALUES)

    def value(text: str) -> int:
        if text not in known:
            known[text] = _value(text)
        found = known[text]
        if found is None:
            problems.odd_values[text[:20]] = problems.odd_values.get(text[:20], 0) + 1
            return UNKNOWN
        return found

    return value


def _value(text: str) -> int | None:
    bare = _bare(text).lower()
    if bare in _VALUES:
        return _VALUES[bare]
    try:
        number = float(bare)
    except ValueError:
        return None
    return _VALUES.get(str(int(number))) if number.is_integer() else None
