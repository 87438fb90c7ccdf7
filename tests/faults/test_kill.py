"""kill -9 in every phase; the same command then ends as the run nobody disturbed, bit for bit."""

import random
from pathlib import Path

import faulty
import pytest

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
