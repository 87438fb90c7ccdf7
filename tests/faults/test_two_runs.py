"""Two runs in one work directory: real processes, and what a crash leaves behind."""

import json
import signal
import socket
import time

import faulty
import pytest
import tiny

from jaxfacs import cli


def wait_for_phase(process, workdir, phase: str, step: int) -> None:
    """Until the process at work says that it is there."""
    path = workdir / "heartbeat" / "process-0.json"
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            told = json.loads(path.read_text())
            if (told["pid"], told["phase"]) == (process.pid, phase) and told["step"] >= step:
                return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"{phase} of step {step} was not reached: {process.communicate()[1]}")


def test_a_second_run_is_refused_and_a_kill_lets_it_in(config_path, straight, tmp_path, capsys):
    train = ["train", str(config_path), "--workdir", str(tmp_path)]
    first = faulty.start("reader:26:stall", *train)
    try:
        wait_for_phase(first, tmp_path, "data", 24)
        while any((tmp_path / "checkpoints").glob("*-tmp")):  # a save that still goes on
            time.sleep(0.05)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
        before.pop(tmp_path / "lock.json")  # counts on
        assert cli.main(train) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path} is in use by the run on {socket.gethostname()}, " in said
        assert f"process {first.pid}, since 20" in said and said.count("\n") == 1
        after = {path: path.stat().st_mtime_ns for path in before}
        assert after == before
    finally:
        first.kill()
        first.communicate()
    start = time.monotonic()
    assert cli.main(train) == 0
    assert time.monotonic() - start < 60 and "not given back" not in capsys.readouterr().err
    faulty.assert_ends_as(straight, tmp_path)
    assert not (tmp_path / "lock.json").exists()


@pytest.mark.long
def test_every_process_of_a_second_run_is_refused(config_path, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    first = faulty.start("reader:3:stall", *train)
    try:
        wait_for_phase(first, tmp_path, "data", 2)
        start = time.monotonic()
        for code, said in map(faulty.finish, faulty.several(2, "", *train)):
            lines = [line for line in said.splitlines() if "in use by the run on" in line]
            assert code == 2 and len(lines) == 1 and "Traceback" not in said, said
            assert f"process {first.pid}" in lines[0]
        assert time.monotonic() - start < 60
    finally:
        first.kill()
        first.communicate()


@pytest.mark.long
def test_a_run_of_two_waits_for_a_lease_of_another_machine(config_path, tmp_path):
    """For as long as Gloo gives the processes to come to their first collective."""
    names = {"owner": "o", "host": "far", "machine": "m", "pid": 7, "since": "then", "flock": True}
    (tmp_path / "lock.json").write_text(json.dumps({**names, "count": 1}))
    train = ["train", config_path, "--workdir", tmp_path, "--steps", "4"]
    (code, said), (other, heard) = map(faulty.finish, faulty.several(2, "", *train))
    assert (code, other) == (0, 0), said + heard
    assert "was not given back by the run on far, process 7" in said
    assert "not given back" not in heard


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_that_was_taken_over_while_it_stood_still_ends_with_2(count, config_path, tmp_path):
    """Here another machine's run is played by its lease: on one machine flock prevents it."""
    train = ["train", config_path, "--workdir", tmp_path, "--steps", "100000"]
    processes = faulty.several(count, "", *train)
    try:
        wait_for_phase(processes[0], tmp_path, "data", 20)
        processes[0].send_signal(signal.SIGSTOP)
        theirs = {**json.loads((tmp_path / "lock.json").read_text()), "owner": "o", "host": "far"}
        (tmp_path / "lock.json").write_text(json.dumps(theirs))
        processes[0].send_signal(signal.SIGCONT)
        ended = [faulty.finish(process, timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for code, said in ended:
        assert code == 2 and "Traceback" not in said, said
        assert said.count("was taken over by the run on far") == 1
    assert json.loads((tmp_path / "lock.json").read_text()) == theirs
    for folder in (tmp_path / "checkpoints").iterdir():
        if folder.name.isdigit():
            tiny.digests(tmp_path, int(folder.name))
