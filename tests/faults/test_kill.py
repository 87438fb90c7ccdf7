"""kill -9 in every phase; the same command then ends as the run nobody disturbed, bit for bit."""

import random
import re
import subprocess
import sys
from pathlib import Path

import faulty
import pytest
import tiny

from jaxfacs import cli

pytestmark = pytest.mark.slow

PHASES = ("born:1", "start:1", "compile:1", "data:7", "step:5", "evaluation:2", "checkpoint:3")


def kill(fault: str, config_path: Path, workdir: Path) -> None:
    code, said = faulty.finish(faulty.start(fault, "train", config_path, "--workdir", workdir))
    assert code == 137, said


def goes_on(config_path: Path, workdir: Path) -> None:
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 0


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_a_phase(phase, config_path, straight, tmp_path):
    kill(f"{phase}:kill", config_path, tmp_path)
    goes_on(config_path, tmp_path)
    faulty.assert_ends_as(straight, tmp_path)


@pytest.mark.long
def test_killed_as_it_reads_its_checkpoint(config_path, straight, tmp_path):
    kill("checkpoint:3:kill", config_path, tmp_path)
    kill("restore:1:kill", config_path, tmp_path)
    goes_on(config_path, tmp_path)
    faulty.assert_ends_as(straight, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("most_s", [0.02, 0.1, 0.3])
def test_killed_at_random_moments_of_saves_in_the_background(
    most_s, config_path, straight, tmp_path
):
    """One folder, four kills: what a former one left half written lies about in the next."""
    seed = random.randrange(1_000_000)
    after = [round(random.Random(seed).uniform(0, most_s), 4) for _ in range(4)]
    for seconds in after:
        kill(f"checkpoint:1:kill+{seconds}", config_path, tmp_path)
    goes_on(config_path, tmp_path)
    found = f"seed {seed}: killed {after} s after a save began"
    try:
        faulty.assert_ends_as(straight, tmp_path)
    except AssertionError as error:
        raise AssertionError(found) from error
    assert not [p.name for p in (tmp_path / "checkpoints").iterdir() if not p.name.isdigit()], found


# In place of Python for launch/local.sh: the second process is killed, once.
KILLED_ONCE = """\
#!/bin/sh
if [ "$1" = -m ] && [ "$JAXFACS_PROCESS_INDEX" = 1 ] && mkdir {once} 2>/dev/null; then
  shift 2
  exec {python} {faulty} step:25:kill "$@"
fi
exec {python} "$@"
"""


@pytest.mark.long
@pytest.mark.multi_device
def test_the_launcher_starts_both_again(config_path, together, cached, tmp_path):
    python = tmp_path / "python"
    names = {"python": sys.executable, "faulty": faulty.__file__, "once": tmp_path / "once"}
    python.write_text(KILLED_ONCE.format(**names))
    python.chmod(0o755)
    run = subprocess.run(
        [tiny.REPOSITORY / "launch/local.sh", "2", config_path, "--workdir", tmp_path / "run"],
        env=tiny.environment(
            PYTHON=str(python),
            JAXFACS_FAILURES="3",
            JAXFACS_HEARTBEAT_TIMEOUT_S="10",
            JAXFACS_TEST_FAULTY="1",
            **cached,
        ),
        cwd=tiny.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0 and (tmp_path / "once").exists(), run.stderr
    # The save of step 20 was under way in the background.
    assert re.search("all processes start again, from checkpoint (10|20)", run.stderr), run.stderr
    faulty.assert_ends_as(together, tmp_path / "run")
