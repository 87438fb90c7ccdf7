"""Writing a table of results: rows into a journal as they come, the file whole at the end.

The journal is the CSV of the layout. It stays when a run breaks off, and says how long it was when
all of a frame's rows were on disk; a run that goes on cuts it to that length and appends. Parquet
and JSON Lines are made of it at the end, some thousand rows at a time.
"""

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from jaxfacs.errors import UserError
from jaxfacs.infer.files import replacing
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.tables import layouts as layouts
from jaxfacs.infer.tables.layouts import Layout

SUFFIXES = {"csv": ".csv", "parquet": ".parquet", "json": ".jsonl"}
_BLOCK_BYTES = 4 << 20  # of the journal that are turned into Parquet at once

Convert = Callable[[Path, Path, Layout, Mapping[str, Any]], None]


class Writer:
    """Takes the frames of one film in order; given by `writing`."""

    def __init__(self, path: Path, file: IO[bytes], layout: Layout):
        self._path, self._file, self._lines = path, file, layout.lines

    def add(self, result: FrameResult) -> None:
        """Adds the rows of the next frame.

        Raises:
          UserError: there is no room, or the place is not writable.
        """
        text = "\n".join(self._lines(result)) + "\n"
        with _said(self._path):
            self._file.write(text.encode())

    __call__ = add

    def mark(self) -> int:
        """Brings all rows to the disk; the length of the journal in bytes, for `resume_at`."""
        with _said(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell()


@contextmanager
def writing(
    path: Path,
    *,
    aus: Sequence[str],
    emotions: Sequence[str],
    format: str = "csv",
    layout: str = "openface",
    valence_arousal: bool = False,
    names: Sequence[str] = (),
    source: str | None = None,
    journal: Path | None = None,
    resume_at: int | None = None,
    boxes: bool = True,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Writer]:
    """Gives a `Writer`; on leaving, `path` is there, whole, and the journal is gone.

    When an exception leaves the block, no `path` appears, and the journal is kept if it was named.

    Args:
      path: the file to write; `SUFFIXES` has the usual endings.
      aus, emotions, valence_arousal: of the predictor.
      format: "csv", "parquet" or "json" (JSON Lines: an object a row, under the same names).
      layout: "openface" or "py-feat".
      names: file names of the frames, for a folder of pictures: a column `input`.
      source: the film's name, for the `input` of py-feat's layout where `names` is empty.
      journal: where rows are gathered; on the file system of `path` its end is a mere rename.
      resume_at: a `Writer.mark` of an earlier run: goes on from there. Needs `journal`.
      boxes: OpenFace's layout ends with the face's box.
      about: kept in Parquet's metadata under `jaxfacs`; the other formats have no place for it.

    Raises:
      UserError: the format needs a package that is missing, the file cannot be written, or the
        journal does not fit: it is gone, shorter than it was, or of another header.
    """
    if resume_at is not None and journal is None:
        raise ValueError("to resume, say which journal")
    if format not in _CONVERTERS:
        raise UserError(f"no table has the format {format!r}; choose {', '.join(_CONVERTERS)}")
    chosen = layouts.create(
        layout,
        aus=aus,
        emotions=emotions,
        valence_arousal=valence_arousal,
        names=names,
        source=source,
        boxes=boxes,
    )
    if format == "parquet":
        _arrow(path)
    where = journal or path.with_name(f".part-{os.getpid()}-{path.name}.journal")
    try:
        with _opened(where, chosen, resume_at, path) as file:
            writer = Writer(path, file, chosen)
            yield writer
            writer.mark()
        _CONVERTERS[format](where, path, chosen, about or {})
    except BaseException:
        if journal is None:
            where.unlink(missing_ok=True)
        raise
    where.unlink(missing_ok=True)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); make room or choose another "
            "--out"
        ) from error


@contextmanager
def _opened(
    journal: Path, layout: Layout, resume_at: int | None, path: Path
) -> Iterator[IO[bytes]]:
    first = f"{layout.first_line}\n".encode()
    with _said(path):
        file = journal.open("wb") if resume_at is None else _reopened(journal, first, resume_at)
    try:
        if resume_at is None:
            with _said(path):
                file.write(first)
        yield file
    finally:
        with _said(path):
            file.close()


def _reopened(journal: Path, first: bytes, resume_at: int) -> IO[bytes]:
    remedy = "start the film again without it"
    try:
        file = journal.open("r+b")
    except FileNotFoundError:
        raise UserError(f"{journal}, the rows so far, is gone; {remedy}") from None
    try:
        size = file.seek(0, os.SEEK_END)
        if size < resume_at:
            raise UserError(
                f"{journal}, the rows so far, holds {size} bytes and held {resume_at} when the run "
                f"broke off; {remedy}"
            )
        file.seek(0)
        if file.read(len(first)) != first:
            raise UserError(
                f"{journal} was begun with other columns (another model or layout); {remedy}"
            )
        file.seek(max(resume_at, 1) - 1)
        if file.read(1) != b"\n":
            raise UserError(f"{journal} is damaged: no row ends at byte {resume_at}; {remedy}")
        file.truncate(resume_at)
    except BaseException:
        file.close()
        raise
    return file


def _to_csv(journal: Path, path: Path, layout: Layout, about: Mapping[str, Any]) -> None:
    del layout, about
    with _said(path):
        try:
            os.replace(journal, path)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    with replacing(path) as temporary:
        shutil.copyfile(journal, temporary)


def _to_json(journal: Path, path: Path, layout: Layout, about: Mapping[str, Any]) -> None:
    """JSON Lines: the numbers with the digits of the CSV, 0 and 1 as such, null for unknown."""
    del about
    names = (json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in layout.header)
    form = "{" + ", ".join(f"{name}: %s" for name in names) + "}\n"
    texts = [n for n, kind in enumerate(layout.kinds) if kind == "text"]
    flags = [n for n, kind in enumerate(layout.kinds) if kind == "flag"]
    with (
        replacing(path) as temporary,
        journal.open(newline="", encoding="utf-8") as source,
        temporary.open("w", encoding="utf-8") as target,
    ):
        rows = csv.reader(source)
        next(rows)
        for row in rows:
            cells = [cell or "null" for cell in row]
            for n in texts:
                cells[n] = json.dumps(row[n], ensure_ascii=False) if row[n] else "null"
            for n in flags:
                cells[n] = cells[n].removesuffix(".0")
            target.write(form % tuple(cells))


def _arrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{path.name} as Parquet needs pyarrow; install it with pip install 'jaxfacs[tables]', "
            "or write CSV"
        ) from None
    return pyarrow


def _to_parquet(journal: Path, path: Path, layout: Layout, about: Mapping[str, Any]) -> None:
    """Types: int64, int8 for 0 and 1, float64 (so that numbers equal the CSV's), string; null."""
    pa = _arrow(path)
    read = {"int": pa.int64(), "flag": pa.float64(), "number": pa.float64(), "text": pa.string()}
    kinds = dict(zip(layout.header, layout.kinds, strict=True))
    written = {**read, "flag": pa.int8()}
    told = json.dumps({"layout": layout.name, **about}, ensure_ascii=False)
    schema = pa.schema(
        [(name, written[kind]) for name, kind in kinds.items()], metadata={"jaxfacs": told}
    )
    with replacing(path) as temporary, pa.parquet.ParquetWriter(temporary, schema) as target:
        for batch in pa.csv.open_csv(
            journal,
            read_options=pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values="text" in layout.kinds),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: read[kind] for name, kind in kinds.items()},
                null_values=[""],
                strings_can_be_null=True,
            ),
        ):
            target.write_batch(
                pa.record_batch(
                    [c.cast(field.type) for c, field in zip(batch.columns, schema, strict=True)],
                    schema=schema,
                )
            )


_CONVERTERS: dict[str, Convert] = {"csv": _to_csv, "parquet": _to_parquet, "json": _to_json}
