"""Mappers and results as files: whole or not at all when written, refused by name when wrong."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper, published
from jaxfacs.emotion.learned import LearnedMapper
from jaxfacs.emotion.reading import Mapper
from jaxfacs.emotion.recurrent import RecurrentMapper
from jaxfacs.emotion.rules import RuleMapper
from jaxfacs.errors import UserError
from jaxfacs.facs import PROTOTYPES
from jaxfacs.files import replacing

KINDS: dict[str, Any] = {
    c.kind: c for c in (RuleMapper, CooccurrenceMapper, LearnedMapper, RecurrentMapper)
}
PUBLISHED = "published"  # the name of Tlili's co-occurrence table


def from_json(content: Mapping[str, Any]) -> Mapper:
    """The mapper that `Mapper.to_json` described.

    Raises:
      UserError: a kind that is not known, a part that is missing or of the wrong form.
    """
    if not isinstance(content, Mapping) or str(content.get("kind")) not in KINDS:
        raise UserError(f"no emotion mapper: its kind must be one of {', '.join(KINDS)}")
    try:
        return KINDS[str(content["kind"])].from_json(content)
    except KeyError as error:
        raise UserError(f"emotion mapper without {error}; restore it") from error
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"emotion mapper with a part of the wrong form: {error}") from error


def named(name: str | os.PathLike[str]) -> Mapper:
    """A table of rules by its name, "published" (Tlili 2019, fig. 7.3), or a mapper's JSON file."""
    text = os.fspath(name)
    if text == PUBLISHED:
        return published()
    if text in PROTOTYPES:
        return RuleMapper(text)
    if not text.endswith(".json") and not Path(text).exists():
        raise UserError(
            f"no mapper {text!r}; give a .json file of emotions fit, or one of: "
            f"{', '.join((*PROTOTYPES, PUBLISHED))}"
        )
    return load(text)


def load(path: str | os.PathLike[str]) -> Mapper:
    """The mapper in a JSON file, as `save` wrote it or an expert edited it."""
    content = read_json(path)
    try:
        return from_json(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def save(mapper: Mapper, path: str | os.PathLike[str]) -> None:
    """Writes the mapper as JSON; a file of that name is replaced in one move."""
    write_json(path, mapper.to_json())


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds; UserError, with the line, where it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no JSON text; give a file of jaxfacs emotions") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes values as JSON, whole or not at all."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, whole or not at all."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def write_csv(
    path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Writes a CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def in_columns(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table for a terminal: words to the left, numbers to the right."""
    cells = [[f"{c:.3f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    table = [list(header), *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    number = [
        all(isinstance(row[c], int | float) for row in rows) and bool(rows)
        for c in range(len(header))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, number, strict=True)
        ).rstrip()
        for row in table
    )
