"""The lock of a work directory: real processes, real kills, and a lease that stands still."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jaxfacs.errors import UserError
from jaxfacs.runtime import lock as locks
from jaxfacs.runtime.lock import PATIENCE, Lock

RENEW_S = 0.05


def taken(workdir: Path) -> Lock:
    lock = Lock(workdir, renew_s=RENEW_S)
    lock.take()
    return lock


def lease(workdir: Path) -> dict:
    return json.loads((workdir / "lock.json").read_text())


def elsewhere(workdir: Path, **more) -> dict:
    """Writes the lease of a run on another machine."""
    names = {"owner": "o", "host": "far", "machine": "m", "pid": 7, "since": "then", "flock": True}
    (workdir / "lock.json").write_text(json.dumps({**names, "count": 1, **more}))
    return lease(workdir)


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def holder(workdir: Path, renew_s: float = RENEW_S) -> subprocess.Popen:
    """Another process that holds the folder, for a minute."""
    code = f"""
        import time
        from jaxfacs.runtime.lock import Lock
        Lock({str(workdir)!r}, renew_s={renew_s}).take()
        print("held", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def no_flock(monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_second_run_is_refused_with_the_name_of_the_first_until_that_ends(tmp_path):
    first = taken(tmp_path)
    with pytest.raises(UserError) as refused:
        taken(tmp_path)
    said = str(refused.value)
    assert f"in use by the run on {os.uname().nodename}, process {os.getpid()}, since 20" in said
    assert "\n" not in said
    first.check()
    first.close()
    assert not (tmp_path / "lock.json").exists()
    second = taken(tmp_path)
    second.close()
    second.close()


def test_kill_9_frees_it_at_once(tmp_path):
    """And no process that it started holds on to it."""
    process = holder(tmp_path)
    try:
        with pytest.raises(UserError, match=f"process {process.pid}, since"):
            taken(tmp_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    assert lease(tmp_path)["pid"] == process.pid  # it had no time to give it back
    before = time.monotonic()
    lock = Lock(tmp_path, renew_s=60)  # would watch for minutes if it watched
    lock.take()
    assert time.monotonic() - before < 5 and lease(tmp_path)["pid"] == os.getpid()
    lock.close()


def test_a_stopped_process_still_holds_it(tmp_path):
    process = holder(tmp_path)
    try:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(UserError, match="in use"):
            taken(tmp_path)
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_of_another_machine_a_lease_that_stands_still_is_taken_over(tmp_path, capsys):
    elsewhere(tmp_path)
    before = time.monotonic()
    lock = taken(tmp_path)
    assert time.monotonic() - before >= PATIENCE * RENEW_S
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "not given back by the run on far, process 7" in said
    assert lease(tmp_path)["pid"] == os.getpid()
    lock.close()


def test_of_another_machine_a_lease_that_counts_on_is_refused(tmp_path, no_flock):
    """As on a file system without flock; the holder's clock and the newcomer's play no part."""
    first = taken(tmp_path)
    with pytest.raises(UserError, match="in use by the run on"):
        taken(tmp_path)
    assert lease(tmp_path)["flock"] is False
    first.check()
    first.close()
    taken(tmp_path).close()


def test_in_object_storage_the_lease_is_all_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "remote", lambda where: True)
    first = taken(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock.json"]
    with pytest.raises(UserError, match="in use by the run on"):
        taken(tmp_path)
    first.close()
    assert not list(tmp_path.iterdir())


def test_without_flock_a_dead_process_of_this_machine_is_waited_for(tmp_path, no_flock):
    lock = taken(tmp_path)
    lock._closed.set()  # it dies
    before = time.monotonic()
    second = taken(tmp_path)
    assert time.monotonic() - before >= PATIENCE * RENEW_S
    second.close()


def test_flock_of_a_dead_machine_on_shared_storage_is_waited_for_too(tmp_path, monkeypatch):
    """A file server may go on holding the flock of a machine that is gone."""

    def refuse(file, how):
        raise BlockingIOError(errno.EWOULDBLOCK, "held")

    elsewhere(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = taken(tmp_path)
    assert lease(tmp_path)["flock"] is False
    lock.close()


def test_another_mount_of_this_machine_may_have_another_flock(tmp_path, monkeypatch):
    elsewhere(tmp_path, machine=locks._machine(tmp_path).replace("/", "/9"))
    before = time.monotonic()
    taken(tmp_path).close()
    assert time.monotonic() - before >= PATIENCE * RENEW_S


def test_a_holder_that_slept_and_lost_it_is_told_before_it_saves(tmp_path):
    lock = Lock(tmp_path, renew_s=60)
    lock.take()
    lock.check()
    theirs = elsewhere(tmp_path)
    with pytest.raises(UserError, match="taken over by the run on far, process 7"):
        lock.check()
    lock._closed.set()
    lock.close()
    assert lease(tmp_path) == theirs  # which it does not give back


def test_a_holder_that_slept_and_lost_it_ends_with_2_as_it_wakes(tmp_path):
    process = holder(tmp_path)
    process.send_signal(signal.SIGSTOP)
    theirs = elsewhere(tmp_path)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "taken over by the run on far" in said and said.count("\n") == 1
    assert lease(tmp_path) == theirs


def test_of_two_that_come_at_once_without_flock_one_stays(tmp_path, no_flock, monkeypatch):
    one, other = Lock(tmp_path, renew_s=RENEW_S), Lock(tmp_path, renew_s=60)
    ended = []

    def end(code: int) -> None:
        ended.append(code)
        one._closed.set()
        raise RuntimeError("the process is no more")

    monkeypatch.setattr(os, "_exit", end)
    with monkeypatch.context() as patched:
        patched.setattr(Lock, "_read", lambda self: None)  # both saw that nobody holds it
        one.take()
        other.take()
    wait_for(lambda: ended)
    assert ended == [2]
    other.check()
    other.close()


def test_a_lease_that_is_gone_or_damaged_is_written_again(tmp_path):
    lock = taken(tmp_path)
    for harm in (Path.unlink, lambda path: path.write_text('{"own')):
        harm(tmp_path / "lock.json")
        lock.check()
        wait_for(
            lambda: (
                (tmp_path / "lock.json").exists()
                and "count" in locks._parsed((tmp_path / "lock.json").read_text())
            )
        )
    lock.close()


def test_storage_that_fails_for_a_while_costs_nothing(tmp_path, monkeypatch):
    lock = taken(tmp_path)

    def fail(*_, **__):
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", fail)
        patched.setattr(Path, "write_text", fail)
        lock.check()
        time.sleep(4 * RENEW_S)
    count = lease(tmp_path)["count"]
    wait_for(lambda: lease(tmp_path)["count"] > count)
    lock.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize(
    ("options", "words"), [("ro,size=100k", "read-only"), ("size=4k,nr_inodes=3", "no space")]
)
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, options, words):
    mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)]
    if subprocess.call(mounting, stderr=subprocess.DEVNULL):
        pytest.skip("this user may not mount")
    try:
        if "ro" not in options:
            for i in range(2):
                (tmp_path / f"{i}").write_text("x" * 4000 * (i == 0))
        with pytest.raises(UserError, match=f"cannot write to {tmp_path}: (?i:{words})"):
            taken(tmp_path)
    finally:
        subprocess.call(["umount", "-l", str(tmp_path)])
