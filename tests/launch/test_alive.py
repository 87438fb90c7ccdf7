"""The liveness probe and the image's entrypoint, run as they are run there."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxfacs.runtime.heartbeat import Heartbeat

LAUNCH = Path(__file__).parents[2] / "launch"
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


def started(workdir: Path, seconds_ago: float) -> None:
    path = workdir / "started"
    path.touch()
    os.utime(path, (time.time() - seconds_ago,) * 2)


def beat(workdir: Path, seconds_ago: float) -> None:
    """As the run itself writes it, then aged."""
    heart = Heartbeat(workdir, process=0, limit_s=0)
    heart.beat(7)
    path = workdir / "heartbeat" / "process-0.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "time": told["time"] - seconds_ago}))


@pytest.mark.parametrize(
    ("since_start", "since_beat", "says"),
    [
        (90, None, ""),  # compiling
        (110, None, "no first step"),
        (300, 40, ""),
        (300, 60, "no step"),
        (90, 200, ""),  # a beat of the former start: this one compiles
        (110, 200, "no first step"),
    ],
)
def test_it_knows_start_steps_and_silence(tmp_path, since_start, since_beat, says):
    started(tmp_path, since_start)
    if since_beat is not None:
        beat(tmp_path, since_beat)
    code, said = probe(tmp_path)
    assert code == (1 if says else 0) and said.startswith(says)
    assert said.count("\n") == code


def test_a_damaged_heartbeat_is_no_reason_by_itself(tmp_path):
    started(tmp_path, 10)
    (tmp_path / "heartbeat").mkdir()
    (tmp_path / "heartbeat" / "process-0.json").write_text('{"step": 3, "ti')
    assert probe(tmp_path) == (0, "")


def test_another_process_does_not_speak_for_this_one(tmp_path):
    started(tmp_path, 300)
    beat(tmp_path, 1)
    assert probe(tmp_path, "0")[0] == 0 and probe(tmp_path, "1")[0] == 1


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
