"""Paths in object storage, and asking storage again after a failure that may pass."""

import errno
import os
from pathlib import Path

import pytest

from jaxfacs import files
from jaxfacs.errors import UserError


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been slept."""
    slept: list[float] = []
    monkeypatch.setattr(files.time, "sleep", slept.append)
    return slept


def failing(*errors):
    """An action that raises one after another, then answers."""
    left = list(errors)

    def action():
        if left:
            raise left.pop(0)
        return "done"

    return action


def fails(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_a_failure_that_may_pass_is_told_and_tried_again(waits, capsys):
    flaky = failing(fails(errno.EIO), fails(errno.ESTALE), TimeoutError("slow"))
    assert files.retrying(flaky, what="writing x") == "done"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(waits) == 3
    assert said[0].startswith("writing x: Input/output error; tried again in ")
    assert said[2].endswith("(attempt 4 of 6)")
    assert all(low <= s <= 2 * low for s, low in zip(waits, (0.25, 0.5, 1.0), strict=True))


def test_it_gives_up_with_the_last_error(waits):
    with pytest.raises(OSError, match="busy"):
        files.retrying(failing(*[fails(errno.EBUSY)] * 9), what="reading", attempts=4)
    assert len(waits) == 3
    many = failing(*[fails(errno.EBUSY)] * 9)
    assert files.retrying(many, what="reading", attempts=10, most_s=3.0) == "done"
    assert max(waits) <= 3.0


class HttpError(Exception):  # as gcsfs has it
    def __init__(self, code: int):
        self.code = code


class ClientError(Exception):  # as botocore has it
    def __init__(self, status: int):
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def caused_by(cause: Exception) -> Exception:
    error = ValueError("a checkpoint could not be written")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        *map(fails, (errno.ECONNRESET, errno.ETIMEDOUT, errno.EAGAIN, errno.EREMOTEIO)),
        ConnectionResetError(),
        HttpError(503),
        HttpError(429),
        ClientError(500),
        ValueError("UNAVAILABLE: Error opening driver"),
        ValueError("UNKNOWN: Failed to write [os_error_code='5']"),
        caused_by(fails(errno.EIO)),
    ],
    ids=repr,
)
def test_what_may_pass(error):
    assert files.transient(error)


@pytest.mark.parametrize(
    "error",
    [
        *map(fails, (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.ENOENT, errno.EROFS)),
        FileNotFoundError("no errno, as fsspec raises it"),
        HttpError(404),
        ClientError(403),
        ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']"),
        ValueError("a shape that does not fit"),
        caused_by(fails(errno.ENOSPC)),
    ],
    ids=repr,
)
def test_what_will_not_pass(error, waits):
    with pytest.raises(type(error)):
        files.retrying(failing(error), what="writing")
    assert not files.transient(error) and not waits


def test_local_places_are_pathlib_and_remote_ones_keep_their_scheme():
    pytest.importorskip("gcsfs", reason="places in object storage need the extra remote")
    assert files.place("a//b") == files.place(Path("a/b")) == Path("a/b")
    assert not files.remote(Path("a")) and files.remote("gs://bucket/run")
    run = files.place("gs://bucket/run")
    assert str(run / "x.json") == "gs://bucket/run/x.json" and files.remote(run / "x.json")
    assert files.place(run) == files.place(Path("gs://bucket/run")) == run
    assert run.parent.name == "bucket"


def test_what_cannot_be_a_place_is_refused_in_one_line(monkeypatch):
    with pytest.raises(UserError, match="s3://bucket/run is in S3, where Orbax"):
        files.place("s3://bucket/run")
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs gcsfs; install it with pip install"):
        files.place("gs://bucket/run")
