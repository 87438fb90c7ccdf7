"""A table that was interrupted and resumed has the same bytes; a journal must fit."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_results import LABELS, made_results

from jaxfacs.errors import UserError
from jaxfacs.infer import tables

FRAMES = made_results(30)


class Killed(BaseException):
    """Stands in for what no `except Exception` catches."""


def straight(path, **options):
    with tables.writing(path, **LABELS, **options) as add:
        for result in FRAMES:
            add(result)
    return path.read_bytes()


def interrupted(path, journal, *, marked=12, written=17, **options):
    """Breaks off after `written` frames; returns the mark after `marked`."""
    with pytest.raises(Killed), tables.writing(path, journal=journal, **LABELS, **options) as add:
        for n, result in enumerate(FRAMES):
            if n == marked:
                mark = add.mark()
            if n == written:
                raise Killed
            add(result)
    assert journal.exists() and not path.exists()
    return mark


def resumed(path, journal, mark, *, first=12, **options):
    with tables.writing(path, journal=journal, resume_at=mark, **LABELS, **options) as add:
        for result in FRAMES[first:]:
            add(result)
    assert not journal.exists()
    return path.read_bytes()


@pytest.mark.parametrize("layout", tables.LAYOUTS)
@pytest.mark.parametrize("format", tables.SUFFIXES)
def test_the_resumed_file_is_the_straight_one(tmp_path, format, layout):
    options = {"format": format, "layout": layout, "source": "a.mp4"}
    expected = straight(tmp_path / "straight", **options)
    journal, path = tmp_path / "journal", tmp_path / "resumed"
    mark = interrupted(path, journal, **options)
    assert journal.stat().st_size > mark  # rows after the mark, which come again
    assert resumed(path, journal, mark, **options) == expected


@pytest.mark.parametrize("tail", [b"", b"13,0,0.48", b"\n\0\xff", b"13,0,0\n" * 9999])
def test_what_stands_after_the_mark_is_cut_off(tmp_path, tail):
    expected = straight(tmp_path / "straight")
    journal, path = tmp_path / "journal", tmp_path / "resumed"
    mark = interrupted(path, journal)
    journal.write_bytes(journal.read_bytes()[:mark] + tail)
    assert resumed(path, journal, mark) == expected


def test_a_run_may_break_off_again_and_again(tmp_path):
    expected = straight(tmp_path / "straight")
    journal, path = tmp_path / "journal", tmp_path / "resumed"
    with pytest.raises(Killed), tables.writing(path, journal=journal, **LABELS) as add:
        mark = add.mark()  # nothing but the header yet
        raise Killed
    for first in (0, 9, 18):
        with (
            pytest.raises(Killed),
            tables.writing(path, journal=journal, resume_at=mark, **LABELS) as add,
        ):
            for result in FRAMES[first : first + 9]:
                add(result)
            mark = add.mark()
            add(FRAMES[0])
            raise Killed
    assert resumed(path, journal, mark, first=27) == expected


def test_a_mark_asks_the_disk(tmp_path, monkeypatch):
    import os

    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    with tables.writing(tmp_path / "t.csv", **LABELS) as add:
        add(FRAMES[0])
        assert add.mark() == synced[-1] > 200


def test_without_resuming_an_old_journal_is_forgotten(tmp_path):
    journal, path = tmp_path / "journal", tmp_path / "again"
    interrupted(path, journal)
    assert straight(path, journal=journal) == straight(tmp_path / "straight")
    assert not journal.exists()


def test_a_killed_process_leaves_what_it_marked(tmp_path):
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from made_results import LABELS, made_results
from jaxfacs.infer import tables
folder = Path({str(tmp_path)!r})
with tables.writing(folder / "t.csv", **LABELS, journal=folder / "j") as add:
    for n, result in enumerate(made_results(30)):
        add(result)
        if n == 11:
            print(add.mark(), flush=True)
        if n == 20:
            os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["j"]
    found = resumed(tmp_path / "t.csv", tmp_path / "j", int(done.stdout))
    assert found == straight(tmp_path / "straight")


def test_a_journal_that_does_not_fit_is_refused_and_kept(tmp_path):
    journal, path = tmp_path / "journal", tmp_path / "x.csv"
    mark = interrupted(path, journal)
    whole = journal.read_bytes()

    def refused(message, resume_at=mark, **options):
        before = journal.read_bytes()
        with (
            pytest.raises(UserError, match=message),
            tables.writing(path, journal=journal, resume_at=resume_at, **{**LABELS, **options}),
        ):
            raise AssertionError("entered")
        assert journal.read_bytes() == before and not path.exists()

    refused("with other columns", emotions=("happiness",))
    refused("with other columns", layout="py-feat")
    refused("no row ends at byte", resume_at=mark - 1)
    refused("no row ends at byte", resume_at=3)
    refused("no row ends at byte", resume_at=0)
    journal.write_bytes(whole[: mark - 20])
    refused(f"holds {mark - 20} bytes and held {mark}")
    journal.write_bytes(b"")
    refused("holds 0 bytes")
    journal.unlink()
    with (
        pytest.raises(UserError, match="journal, the rows so far, is gone"),
        tables.writing(path, journal=journal, resume_at=mark, **LABELS),
    ):
        raise AssertionError("entered")
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(ValueError, match="which journal"),
        tables.writing(path, resume_at=mark, **LABELS),
    ):
        pass


def test_a_journal_on_another_file_system_is_copied(tmp_path, monkeypatch):
    import errno
    import os

    replace = os.replace

    def other_system(source, target):
        if Path(source).name == "journal":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", other_system)
    expected = straight(tmp_path / "straight")
    assert straight(tmp_path / "far", journal=tmp_path / "journal") == expected
    assert not (tmp_path / "journal").exists()
