"""The liveness probe and the image's entrypoint, run as they are run there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxfacs.runtime import heartbeat
from jaxfacs.runtime.heartbeat import Heartbeat

LAUNCH = Path(__file__).parents[2] / "launch"
sys.path.insert(0, str(LAUNCH))

import alive  # noqa: E402

LIMITS = ("--start-s", "100", "--step-s", "50")


def probe(workdir: Path, index: str = "0") -> tuple[int, str]:
    words = (str(workdir), index, "--started", str(workdir / "started"), *LIMITS)
    finished = subprocess.run(
        [sys.executable, str(LAUNCH / "alive.py"), *words],
        capture_output=True,
        text=True,
    )
    assert not finished.stderr
    return finished.returncode, finished.stdout


def beat(workdir: Path, phase: str, step: int) -> None:
    """As the run itself writes it."""
    heart = Heartbeat(workdir, process=0, limit_s=0)
    heart.beat(step)
    heart.phase(phase)
    heart.close()


def age(workdir: Path, seconds: float) -> None:
    """So many seconds pass, as far as the probe's memory knows."""
    path = workdir / "started.seen"
    seen = json.loads(path.read_text())
    path.write_text(json.dumps({**seen, "at": seen["at"] - seconds}))


@pytest.mark.parametrize(
    ("phase", "silent_s", "says"),
    [
        (None, 90, ""),  # importing
        (None, 110, "no sign of life of process 0 since it started for 110 s; 100 s are"),
        ("compile", 90, ""),
        ("compile", 110, "no sign of life of process 0 in its phase 'compile' for 110 s"),
        ("data", 40, ""),
        ("data", 60, "no sign of life of process 0 in its phase 'data' for 60 s; 50 s are"),
    ],
)
def test_it_knows_start_steps_and_silence(tmp_path, phase, silent_s, says):
    (tmp_path / "started").touch()
    beat(tmp_path, "data", 7)  # of an earlier start
    assert probe(tmp_path) == (0, "")
    if phase is not None:
        beat(tmp_path, phase, 8)
        assert probe(tmp_path) == (0, "")
    age(tmp_path, silent_s)
    code, said = probe(tmp_path)
    assert code == (1 if says else 0) and said.startswith(says)
    assert said.count("\n") == code
    beat(tmp_path, "step", 9)
    assert probe(tmp_path) == (0, "")


def test_no_two_clocks_are_compared(tmp_path, monkeypatch):
    """Those of the heartbeat's writer, of the file server and of this machine may say anything."""
    started, path = tmp_path / "started", tmp_path / "heartbeat" / "process-0.json"
    started.touch()
    assert alive.look(path, started, 1000.0) == (0.0, "")
    for step, wrong_s in enumerate((-1e6, 1e6, -3600.0, 0.0)):
        with monkeypatch.context() as patched:
            patched.setattr(heartbeat.time, "time", lambda wrong_s=wrong_s: 1.7e9 + wrong_s)
            beat(tmp_path, "data", step)
        os.utime(path, (wrong_s + 2e9, wrong_s + 2e9))
        assert alive.look(path, started, 2000.0 + step) == (0.0, "data")
    assert alive.look(path, started, 2063.0) == (60.0, "data")


def test_another_start_of_the_container_begins_anew(tmp_path):
    started, path = tmp_path / "started", tmp_path / "heartbeat" / "process-0.json"
    started.touch()
    beat(tmp_path, "data", 1)
    alive.look(path, started, 1000.0)
    os.utime(started, (5, 5))
    assert alive.look(path, started, 2000.0) == (0.0, "")
    assert alive.look(path, started, 10.0) == (0.0, "")  # after a reboot the clock begins at 0
    assert alive.look(path, started, 15.0) == (5.0, "")


def test_a_damaged_heartbeat_or_memory_is_no_reason_by_itself(tmp_path):
    (tmp_path / "started").touch()
    beat(tmp_path, "data", 1)
    for torn in (tmp_path / "heartbeat" / "process-0.json", tmp_path / "started.seen"):
        assert probe(tmp_path) == (0, "")
        torn.write_text('{"step": 3, "ti')
        assert probe(tmp_path) == (0, "")


def test_another_process_does_not_speak_for_this_one(tmp_path):
    (tmp_path / "started").touch()
    assert probe(tmp_path, "1") == (0, "")
    age(tmp_path, 110)
    beat(tmp_path, "data", 1)
    assert probe(tmp_path, "1")[0] == 1


def test_before_the_entrypoint_it_is_alive(tmp_path):
    assert probe(tmp_path) == (0, "")


def test_the_entrypoint_marks_the_start_and_becomes_the_command(tmp_path):
    """The same process, so that a signal to it reaches Python."""
    mark = tmp_path / "started"
    with subprocess.Popen(
        [str(LAUNCH / "entrypoint.sh"), sys.executable, "-c", "import os; print(os.getpid())"],
        env={**os.environ, "JAXFACS_STARTED": str(mark)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert int(process.communicate()[0]) == process.pid
    assert process.returncode == 0 and mark.exists()
