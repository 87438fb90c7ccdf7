"""Writing files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxfacs.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; what was written there becomes `path` at the end.

    An exception inside removes it; an OSError becomes a UserError that names `path`. The last
    suffix stays, because FFmpeg goes by it.
    """
    temporary = path.with_name(f".part-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); make room or choose another "
            "--out"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
