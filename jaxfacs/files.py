"""Files, here or in object storage: where they lie, writing them whole, asking storage again."""

import errno
import importlib.util
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from jaxfacs.errors import UserError

Answer = TypeVar("Answer")

# What a network file system or a disk says when the same call may well succeed a little later.
TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "EAGAIN", "EBUSY", "EINTR", "ENOBUFS", "ESTALE", "EREMOTEIO", "ETIMEDOUT"),
        *("ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "ENOTCONN", "EPIPE", "ESHUTDOWN"),
        *("ENETDOWN", "ENETRESET", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH"),
    )
    if hasattr(errno, name)
)
# Of the libraries that speak to object storage, which need not be installed.
_LOST_CONNECTION = {
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "botocore": {"HTTPClientError"},
    "requests": {"ConnectionError", "Timeout"},
}


def place(where: str | os.PathLike) -> Path:
    """A path on this machine, or in Google Cloud Storage where it begins with gs://.

    The latter is an `etils.epath.Path`: what this package asks of a path (`/`, `read_text`,
    `write_text`, `exists`, `iterdir`, `mkdir`, `rename`, `unlink`) it answers as pathlib does. A
    pathlib path made of such an address, which has lost a slash, is as good as the address.

    Raises UserError for s3:// and where gcsfs is not installed.
    """
    text = os.fspath(where)
    if re.match("s3:/", text):
        raise UserError(
            f"{text} is in S3, where Orbax, which writes the checkpoints, cannot write; give a "
            "folder, or a gs:// address"
        )
    if not remote(text):
        return Path(where)
    if importlib.util.find_spec("gcsfs") is None:
        raise UserError(f"{text} needs gcsfs; install it with pip install 'jaxfacs[remote]'")
    from etils import epath

    found: Any = epath.Path(re.sub("^gs:/+", "gs://", text))
    return found


def remote(where: str | os.PathLike) -> bool:
    """Whether it lies in object storage, which cannot append, rename at once, or lock."""
    return os.fspath(where).startswith("gs:/")


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A folder of this machine whose files lie in `folder` at the end, for what writes by name."""
    if not remote(folder):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as here:
        yield Path(here)
        for path in sorted(Path(here).rglob("*")):
            if path.is_file():
                there = place(folder) / path.relative_to(here).as_posix()
                retrying(partial(there.write_bytes, path.read_bytes()), what=f"writing {there}")


def retrying(
    action: Callable[[], Answer],
    *,
    what: str,
    attempts: int = 6,
    first_s: float = 0.5,
    most_s: float = 30.0,
) -> Answer:
    """What `action` returns, tried again while storage fails in a way that may pass.

    The waits double from `first_s` to at most `most_s`, each shortened by chance by up to half, so
    that many processes do not come back at once: 8 to 16 s in all by default. Each is told on
    stderr. Raises the last error, and at once one that will not pass: no room, no permission, no
    such file, a read-only file system.

    Args:
      action: may be run any number of times.
      what: words for "…, tried again": "writing x.json".
    """
    wait_s = first_s
    for attempt in range(2, attempts + 1):
        try:
            return action()
        except Exception as error:
            if not transient(error):
                raise
            shorter_s = wait_s * random.Random().uniform(0.5, 1.0)
            print(
                f"{what}: {one_line(error)}; tried again in {shorter_s:.1f} s "
                f"(attempt {attempt} of {attempts})",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(shorter_s)
        wait_s = min(2 * wait_s, most_s)
    return action()


def transient(error: BaseException) -> bool:
    """Whether storage failed in a way that may pass, by the error or what it was raised from."""
    number = error_number(error)
    return number in TRANSIENT if number is not None else any(map(_no_answer, _causes(error)))


def error_number(error: BaseException) -> int | None:
    """The system's number of a failure (errno), also where TensorStore tells it in its words."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        if found := re.search(r"os_error_code='(\d+)'", str(cause)):
            return int(found.group(1))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def one_line(error: BaseException, most: int = 200) -> str:
    """What an error says, for a message to a person: the system's words first."""
    number = error_number(error)
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    elif number is not None and not isinstance(error, OSError):
        text = f"{os.strerror(number)}: {text}"
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= most else f"{line[:most]}…"


def _no_answer(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    for kind in type(error).__mro__:
        if kind.__name__ in _LOST_CONNECTION.get(kind.__module__.partition(".")[0], ()):
            return True
    response = getattr(error, "response", None)  # botocore's
    answer = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    status = answer.get("HTTPStatusCode", getattr(error, "code", None))  # gcsfs has a code
    if isinstance(status, int) and (status in (408, 429) or 500 <= status < 600):
        return True
    # TensorStore's errors are ValueErrors that begin with a status.
    return isinstance(error, ValueError) and str(error).startswith(
        ("UNAVAILABLE:", "DEADLINE_EXCEEDED:", "ABORTED:")
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; what was written there becomes `path` at the end.

    Whatever is raised inside removes it. The last suffix stays, because FFmpeg goes by it. In
    object storage, where a file appears whole or not at all, the name is `path` itself.
    """
    if remote(path):
        yield path
        return
    temporary = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
