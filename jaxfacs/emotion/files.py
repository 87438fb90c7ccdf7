"""Mappers as JSON files: whole or not at all when written, refused by name when wrong."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.learned import LearnedMapper
from jaxfacs.emotion.reading import Mapper
from jaxfacs.emotion.rules import RuleMapper
from jaxfacs.errors import UserError
from jaxfacs.files import replacing

KINDS: dict[str, Any] = {c.kind: c for c in (RuleMapper, CooccurrenceMapper, LearnedMapper)}


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


def load(path: str | os.PathLike[str]) -> Mapper:
    """The mapper in a JSON file, as `save` wrote it or an expert edited it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no JSON text; give a table written by emotions fit") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    try:
        return from_json(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def save(mapper: Mapper, path: str | os.PathLike[str]) -> None:
    """Writes the mapper as JSON; a file of that name is replaced in one move."""
    path = Path(path)
    text = json.dumps(mapper.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
