"""One device against eight, one process against two: the same numbers, movable checkpoints."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import tiny

pytestmark = [pytest.mark.multi_device, pytest.mark.slow]

# SGD: Adam's first steps are the signs of gradients, which rounding decides where one is near 0.
SAME_BATCHES = "--log-every 1 --steps 40 --optim.name sgd --optim.learning-rate 0.1".split()


@pytest.fixture(scope="module")
def config_path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny.write_config(folder, tiny.write_records(folder / "records"))


@pytest.fixture(scope="module")
def alone(config_path, tmp_path_factory) -> list[dict]:
    """The lines of a run on one device of one process."""
    workdir = tmp_path_factory.mktemp("alone")
    finished = tiny.run("train", config_path, "--workdir", workdir, *SAME_BATCHES)
    assert finished.returncode == 0, finished.stderr
    return tiny.lines(workdir)


def assert_same_curve(found: list[dict], expected: list[dict]) -> None:
    assert [(row["step"], row["kind"]) for row in found] == [
        (row["step"], row["kind"]) for row in expected
    ]
    for row, other in zip(found, expected, strict=True):
        for name in ("loss", "grad_norm", "learning_rate", "loss_occurrence"):
            if name in other:
                np.testing.assert_allclose(row[name], other[name], rtol=1e-5, err_msg=str(row))


@pytest.mark.long
def test_eight_devices_equal_one_with_parameters_split_or_not(config_path, alone, tmp_path):
    """And a checkpoint of eight, with split parameters, is read by one."""
    text = config_path.read_text()
    split = tmp_path / "split_config.py"
    split.write_text(
        text.replace(
            "steps=60,", 'steps=60, mesh=MeshConfig(fsdp=(("stem/kernel", (None, "data")),)),'
        )
    )
    for path, workdir in ((config_path, tmp_path / "whole"), (split, tmp_path / "split")):
        finished = tiny.run("train", path, "--workdir", workdir, *SAME_BATCHES, devices=8)
        assert finished.returncode == 0, finished.stderr
        assert_same_curve(tiny.lines(workdir), alone)
    moved = tiny.run("evaluate", "--workdir", tmp_path / "split", "--step", "latest")
    assert moved.returncode == 0, moved.stderr
    again = tiny.run("train", split, "--workdir", tmp_path / "split", *SAME_BATCHES)
    assert again.returncode == 0 and "resumed from the checkpoint of step 40" in again.stderr


def test_a_batch_that_does_not_divide_is_one_line_and_code_2(config_path, tmp_path):
    finished = tiny.run("train", config_path, "--workdir", tmp_path, devices=3)
    assert finished.returncode == 2
    assert "data.batch-size 8 does not divide over 3 devices" in finished.stderr
    assert finished.stderr.count("\n") == 1


class Launched:
    """launch/local.sh, watched through the metrics file."""

    def __init__(self, count: int, config_path: Path, workdir: Path, *arguments: str):
        self.workdir = workdir
        self.process = subprocess.Popen(
            [
                str(tiny.REPOSITORY / "launch" / "local.sh"),
                *(str(count), str(config_path), "--workdir", str(workdir), *arguments),
            ],
            env=tiny.environment(PYTHON=sys.executable, JAXFACS_HEARTBEAT_TIMEOUT_S="20"),
            cwd=tiny.REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_step(self, step: int) -> None:
        end = time.monotonic() + 120
        path = self.workdir / "metrics.jsonl"
        while time.monotonic() < end and self.process.poll() is None:
            if path.exists() and f'"step": {step},' in path.read_text():
                return
            time.sleep(0.005)
        raise AssertionError(f"step {step} was not reached: {self.process.communicate()[1]}")

    def finish(self, timeout: float = 120) -> tuple[int, str]:
        said = self.process.communicate(timeout=timeout)[1]
        return self.process.returncode, said

    def pids(self) -> list[int]:
        """Of the training processes."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "jaxfacs train"],
            capture_output=True,
            text=True,
        )
        return [int(pid) for pid in found.stdout.split()]


def test_one_process_then_two_then_one_see_the_same_batches(config_path, alone, tmp_path):
    """Stopped by SIGTERM twice on the way; the loss curve is that of the run nobody stopped."""
    first = Launched(1, config_path, tmp_path, *SAME_BATCHES)
    first.wait_for_step(6)
    first.process.send_signal(signal.SIGTERM)
    code, said = first.finish()
    assert code == 75, said
    second = Launched(2, config_path, tmp_path, *SAME_BATCHES)
    second.wait_for_step(19)
    second.process.send_signal(signal.SIGTERM)
    code, said = second.finish()
    assert code == 75, said
    assert "resumed from the checkpoint of step" in said
    third = tiny.run("train", config_path, "--workdir", tmp_path, *SAME_BATCHES)
    assert third.returncode == 0, third.stderr
    assert_same_curve(tiny.lines(tmp_path), alone)


def test_a_killed_process_ends_the_others_in_bounded_time_with_its_code(config_path, tmp_path):
    run = Launched(2, config_path, tmp_path, "--steps", "100000", "--log-every", "1")
    run.wait_for_step(3)
    victim = run.pids()[1]
    start = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    code, said = run.finish(timeout=60)
    assert code != 0 and code != 75, said
    assert time.monotonic() - start < 45
    assert "ended with code" in said and not run.pids()


def test_bad_input_ends_all_with_2(config_path, tmp_path):
    code, said = Launched(2, config_path, tmp_path, "--steps", "-1").finish()
    assert code == 2 and "steps is -1" in said


@pytest.mark.parametrize("arguments", [[], ["0", "c.py"], ["2", "c.py"]])
def test_the_launcher_says_how_it_is_called(arguments):
    finished = subprocess.run(
        [str(tiny.REPOSITORY / "launch" / "local.sh"), *arguments], capture_output=True, text=True
    )
    assert finished.returncode == 2 and "usage: launch/local.sh N" in finished.stderr
