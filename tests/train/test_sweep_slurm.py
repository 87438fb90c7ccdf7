"""The array of `jaxfacs sweep --slurm` on a real SLURM of two nodes on this machine."""

import stat
import sys
import time
from pathlib import Path

import pytest

from jaxfacs import cli

sys.path.insert(0, str(Path(__file__).parents[1] / "slurm"))

import slurm_cluster

pytestmark = slurm_cluster.marks()

# In place of the package: the first run trains until it is told to stop, all else ends at once.
STUB = """\
#!/usr/bin/env bash
trap 'sleep 1; echo saved; exit 75' TERM
echo "$1 restart ${SLURM_RESTART_COUNT:-0} tasks $SLURM_STEP_NUM_TASKS gpus $CUDA_VISIBLE_DEVICES"
[[ "$1 ${SLURM_RESTART_COUNT:-0} $*" == "train 0 "*"width 1" ]] || exit 0
while :; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    running = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_a_task_that_is_told_to_stop_saves_and_comes_again(cluster, config_path, tmp_path, capsys):
    stubs, out = tmp_path / "stubs", tmp_path / "sweep"
    stubs.mkdir()
    (stubs / "jaxfacs").write_text(STUB)
    (stubs / "jaxfacs").chmod(stat.S_IRWXU)
    words = ["sweep", str(config_path), "--out", str(out), "--model.width", "1", "2", "--slurm"]
    assert cli.main(words) == 0
    script = out / "sweep.sbatch"
    text = script.read_text().replace(f"PATH={Path(sys.executable).parent}:", f"PATH={stubs}:")
    script.write_text(text)

    log = out / "width=1.0_seed=0" / "log.txt"
    options = ("--time=10", "--cpus-per-task=2")
    task = slurm_cluster.Job(cluster, tmp_path / "tasks.log", *options, str(script))
    task.id += "_0"
    end = time.monotonic() + 60
    while not (log.exists() and "restart 0" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    # To the steps alone, as --signal=TERM@120 before the time limit.
    assert cluster.run("scancel", "--signal=TERM", task.id).returncode == 0
    task.release(1)
    assert task.end()["JobState"] == "COMPLETED"
    said = log.read_text()
    places = [
        said.index(word) for word in ("train restart 0 tasks 1 gpus", "saved", "train restart 1")
    ]
    assert places == sorted(places) and "evaluate restart 1" in said
    other = out / "width=2.0_seed=0"
    assert "evaluate restart 0" in (other / "log.txt").read_text()
    codes = [(folder / "exit_code").read_text() for folder in (log.parent, other)]
    assert codes == ["0\n", "0\n"]
