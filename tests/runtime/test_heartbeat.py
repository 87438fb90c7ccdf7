"""The heartbeat file and the watchdog, with real silence and real stops."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jaxfacs.runtime import heartbeat
from jaxfacs.runtime.heartbeat import HANG_EXIT_CODE, Heartbeat


def told(workdir: Path, process: int = 0) -> dict:
    return json.loads((workdir / "heartbeat" / f"process-{process}.json").read_text())


def test_the_file_says_step_phase_and_process(tmp_path):
    heart = Heartbeat(tmp_path, process=3, limit_s=0)
    assert heart.last_step == 0
    heart.beat(41)
    heart.phase("evaluation")
    heart.close()
    found = told(tmp_path, 3)
    assert (found["step"], found["phase"], found["pid"]) == (41, "evaluation", os.getpid())
    assert Heartbeat(tmp_path, process=3, limit_s=0).last_step == 41


def test_every_sign_of_life_changes_it_and_silence_does_not(tmp_path, monkeypatch):
    """Also where the clock stands still, as a probe does not look at clocks."""
    monkeypatch.setattr(heartbeat, "FILE_INTERVAL_S", 0.02)
    monkeypatch.setattr(heartbeat.time, "time", lambda: 5.0)
    heart = Heartbeat(tmp_path, process=0, limit_s=0)
    path = tmp_path / "heartbeat" / "process-0.json"
    seen = set()
    for sign in (lambda: heart.beat(1), heart.alive, lambda: heart.phase("step"), heart.alive):
        sign()
        end = time.monotonic() + 20
        while not path.exists() or path.read_text() in seen:
            assert time.monotonic() < end
            time.sleep(0.005)
        seen.add(path.read_text())
    before = os.stat(path).st_ino
    time.sleep(0.2)
    assert os.stat(path).st_ino == before
    heart.close()


def test_before_its_first_step_a_process_keeps_what_the_one_before_had_reached(tmp_path):
    first = Heartbeat(tmp_path, process=0, limit_s=0)
    first.beat(41)
    first.close()
    second = Heartbeat(tmp_path, process=0, limit_s=0)
    second.phase("compile")
    second.close()
    assert Heartbeat(tmp_path, process=0, limit_s=0).last_step == 41


@pytest.mark.parametrize("text", ['{"ste', "[]", '{"step": null}', "\xff"])
def test_a_file_that_was_damaged_counts_as_none(tmp_path, text):
    (tmp_path / "heartbeat").mkdir()
    (tmp_path / "heartbeat" / "process-0.json").write_text(text, encoding="latin-1")
    assert Heartbeat(tmp_path, process=0, limit_s=0).last_step == 0


def test_what_hinders_the_file_does_not_end_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "FILE_INTERVAL_S", 0.02)
    (tmp_path / "heartbeat").write_text("in the way")
    heart = Heartbeat(tmp_path, process=0, limit_s=0)
    heart.beat(1)
    time.sleep(0.1)
    (tmp_path / "heartbeat").unlink()
    heart.beat(2)
    heart.close()
    assert told(tmp_path)["step"] == 2
    assert [p.name for p in (tmp_path / "heartbeat").iterdir()] == ["process-0.json"]


def run_python(workdir: Path, limit_s: float, code: str) -> subprocess.Popen:
    head = f"""
        import time
        from jaxfacs.runtime.heartbeat import Heartbeat
        heart = Heartbeat({str(workdir)!r}, process=0, limit_s={limit_s})
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("heart.beat(1)", "no step finished for"),
        ("heart.phase('data')", "waiting for a batch for"),
        ("heart.phase('evaluation'); heart.alive()", "no batch of the evaluation was measured for"),
        ("heart.beat(3); heart.phase('checkpoint')", "the save did not end for"),
    ],
)
def test_silence_ends_in_its_reason_the_stacks_and_code_4(tmp_path, sign, words):
    process = run_python(
        tmp_path,
        0.4,
        f"""
        time.sleep(1.0)  # getting ready may take long
        heart.phase('compile')
        time.sleep(1.0)  # and compiling
        {sign}
        def stuck_in_a_collective():
            time.sleep(60)
        stuck_in_a_collective()
        """,
    )
    _, said = process.communicate(timeout=30)
    assert process.returncode == HANG_EXIT_CODE == 4
    assert said.startswith(words) and "stuck_in_a_collective" in said
    assert ("after step 3" in said.splitlines()[0]) == ("beat(3)" in sign)


def test_a_start_that_never_ends_is_ended_too(tmp_path, monkeypatch):
    process = run_python(
        tmp_path,
        0.1,
        """
        import jaxfacs.runtime.heartbeat as module
        module.SLOW_S = 0.5
        time.sleep(60)
        """,
    )
    _, said = process.communicate(timeout=30)
    assert process.returncode == HANG_EXIT_CODE and said.startswith("the run did not get ready for")


def test_a_process_that_was_stopped_did_not_hang(tmp_path):
    """SIGSTOP, or a machine that was put to sleep, for longer than the limit."""
    process = run_python(
        tmp_path,
        1.0,
        """
        print("ready", flush=True)
        for step in range(20):
            heart.beat(step)
            time.sleep(0.1)
        heart.close()
        """,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said


def test_a_closed_heartbeat_watches_no_more(tmp_path):
    process = run_python(tmp_path, 0.2, "heart.beat(1); heart.close(); time.sleep(1)")
    assert process.wait(timeout=30) == 0
