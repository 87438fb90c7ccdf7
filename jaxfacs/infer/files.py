"""Writing results: whole or not there, and said in one line where it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxfacs import files
from jaxfacs.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`jaxfacs.files.replacing`; an OSError becomes a UserError that names `path`."""
    try:
        with files.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); make room or choose another "
            "--out"
        ) from error
