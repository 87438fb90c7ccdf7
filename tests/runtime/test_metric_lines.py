"""Lines of metrics on storage that fails for a while."""

import errno
import os

import pytest

from jaxfacs import files
from jaxfacs.errors import UserError
from jaxfacs.runtime import metrics
from jaxfacs.runtime.metrics import MetricWriter


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(files.time, "sleep", lambda _: None)


class Torn:
    """A file that takes half of a line, then fails."""

    def __init__(self, file):
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data[: len(data) // 2])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def close(self) -> None:
        self._file.close()


def writer_of(folder) -> MetricWriter:
    return MetricWriter(folder, keep=lambda row: True)


def steps(folder) -> list[int]:
    return [row["step"] for row in metrics.read(folder / "metrics.jsonl")]


def test_a_line_that_was_written_by_half_is_written_again_and_once(tmp_path, capsys):
    writer = writer_of(tmp_path)
    writer.write(1, "train", {"loss": 1.0})
    writer.sync()
    writer.write(2, "train", {"loss": 2.0})
    writer._file = Torn(writer._file)
    writer.write(3, "train", {"loss": 3.0})
    writer.write(4, "train", {"loss": 4.0})
    writer.close()
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert capsys.readouterr().err.count("writing metrics.jsonl: Input/output error") == 1


def test_what_a_failed_sync_may_have_lost_is_written_again(tmp_path, monkeypatch):
    writer = writer_of(tmp_path)
    writer.write(1, "train", {"loss": 1.0})
    writer.sync()
    writer.write(2, "train", {"loss": 2.0})
    fails = [OSError(errno.EIO, "lost")]

    def fsync(file: int) -> None:
        if fails:
            os.ftruncate(file, os.fstat(file).st_size // 2)  # as if the page had not been kept
            raise fails.pop()

    monkeypatch.setattr(metrics.os, "fsync", fsync)
    writer.sync()
    writer.close()
    assert steps(tmp_path) == [1, 2] and not fails


def test_a_full_disk_is_one_line_at_once(tmp_path, monkeypatch, capsys):
    writer = writer_of(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(metrics.os, "fsync", full)
    writer.write(1, "train", {"loss": 1.0})
    with pytest.raises(UserError, match=r"cannot write .*metrics.jsonl: No space left"):
        writer.sync()
    assert "tried again" not in capsys.readouterr().err
