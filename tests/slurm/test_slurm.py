"""launch/slurm.sbatch on a real SLURM of two nodes on this machine, with faults injected."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import tiny

pytestmark = slurm_cluster.marks()
SCRIPT = str(tiny.REPOSITORY / "launch" / "slurm.sbatch")

# In place of Python: says what it was given, then does as it is told.
STUB = """\
#!/usr/bin/env bash
trap 'echo asked to stop; exit 75' TERM
restart=${SLURM_RESTART_COUNT:-0}
echo "task $SLURM_PROCID of $SLURM_NTASKS on $SLURMD_NODENAME restart $restart" \\
  "gpus ${CUDA_VISIBLE_DEVICES:-none} of ${SLURM_GPUS_ON_NODE:-0}" \\
  "tasks $SLURM_STEP_TASKS_PER_NODE local $SLURM_LOCALID" \\
  "cpus $SLURM_CPUS_PER_TASK: $*"
codes=($STUB_CODES)
code=${codes[restart]:-0}
[[ $code != deaf ]] || trap '' TERM
[[ $code == [0-9]* ]] || while :; do sleep 0.1; done
exit "$code"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    running = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def stubbed(cluster, tmp_path):
    """Submits a job whose processes end with given codes, one a start; "wait" for a signal."""
    stub = tmp_path / "stub.sh"
    stub.write_text(STUB)
    stub.chmod(0o755)

    def submit(codes: str, *options: str, words: tuple[str, ...] = (), **environment: str):
        name = f"{codes.replace(' ', '-')}{len(list(tmp_path.glob('*.log')))}"
        workdir = ("--workdir", str(tmp_path / name))
        return slurm_cluster.Job(
            cluster,
            tmp_path / f"{name}.log",
            *(f"--chdir={tmp_path}", *options, SCRIPT, "config.py", *(words or workdir)),
            **{
                "JAXFACS_ROOT": str(tiny.REPOSITORY),
                "PYTHON": str(stub),
                "STUB_CODES": codes,
                "JAXFACS_GRACE_S": "5",
                **environment,
            },
        )

    return submit


def test_what_each_exit_code_leads_to(stubbed):
    """0 ends; 2 and 3 end; 75 goes on; another goes on until it failed three times in a row."""
    jobs = {codes: stubbed(codes) for codes in ("0", "2", "3", "75 6 0", "4 4 4")}
    for codes in ("0", "2", "3"):
        facts = jobs[codes].end()
        assert (facts["ExitCode"], facts["Restarts"]) == (f"{codes}:0", "0")
        assert facts["JobState"] == ("COMPLETED" if codes == "0" else "FAILED")
    assert "a restart would end the same way" in jobs["3"].log
    for restarts in (1, 2):
        jobs["75 6 0"].release(restarts)
        jobs["4 4 4"].release(restarts)
    facts = jobs["75 6 0"].end()
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "2")
    assert "stopped by a signal, saved: back into the queue" in jobs["75 6 0"].log
    assert "code 6: back into the queue" in jobs["75 6 0"].log
    facts = jobs["4 4 4"].end()
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("FAILED", "4:0", "2")
    assert "failed 3 times from checkpoint none; given up" in jobs["4 4 4"].log


def test_the_signal_before_the_time_limit_reaches_the_tasks_and_the_job_goes_on(stubbed):
    """SLURM may send it up to a minute early. What is deaf to it is requeued without a save."""
    limit = ("--nodes=2", "--time=1", "--signal=B:TERM@50")
    jobs = [stubbed("wait 0", *limit), stubbed("deaf 0", *limit, JAXFACS_STOP_S="1")]
    for job in jobs:
        job.release(1)
        assert job.end()["JobState"] == "COMPLETED"
        assert job.log.count("restart 1") == 2
    assert jobs[0].log.count("asked to stop") == 2
    assert "forcing job termination" not in jobs[0].log
    assert "stopped by a signal, saved: back into the queue" in jobs[0].log
    assert "not saved 1 s after a signal: back into the queue" in jobs[1].log


def test_a_cancelled_job_stays_cancelled(stubbed, cluster):
    job = stubbed("wait")
    job.wait(lambda _: "task 0 of 1" in job.log, "the task's start")
    cluster.run("scancel", job.id)
    facts = job.end()
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0")
    assert "asked to stop" in job.log and "back into the queue" not in job.log


@pytest.mark.parametrize(
    ("tasks", "count", "given"),
    [
        ("node", 2, "gpus 0,1 of 2 tasks 1(x2) local 0 cpus 4:"),
        ("gpu", 4, "gpus 0,1 of 2 tasks 2(x2) local {} cpus 2:"),
    ],
)
def test_a_task_a_node_has_all_its_gpus_and_a_task_a_gpu_finds_its_own(
    stubbed, tasks, count, given
):
    """By what SLURM tells of them, which tests/runtime/test_processes.py makes shares of."""
    job = stubbed("0", "--nodes=2", "--gpus-per-node=2", "--cpus-per-task=4", JAXFACS_TASKS=tasks)
    assert job.end()["JobState"] == "COMPLETED", job.log
    for i in range(count):
        node = slurm_cluster.NODES[2 * i // count]
        told = given.format(i % 2)
        assert f"task {i} of {count} on {node} restart 0 {told}" in job.log, job.log
    assert job.log.count("-m jaxfacs train config.py --workdir") == count


@pytest.mark.parametrize(
    ("words", "environment", "complaint"),
    [
        (("--steps", "2"), {}, "--workdir is missing"),
        ((), {"JAXFACS_TASKS": "cpu"}, "JAXFACS_TASKS is 'cpu'; give node or gpu"),
        ((), {"JAXFACS_ROOT": "/nowhere"}, "submit from the checkout, or set JAXFACS_ROOT to it"),
    ],
)
def test_bad_input_is_one_line_and_code_2(stubbed, words, environment, complaint):
    job = stubbed("0", words=words, **environment)
    facts = job.end()
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "2:0")
    assert complaint in job.log and job.log.count("\n") == 1


STEPS = 240
ARGUMENTS = f"--steps {STEPS} --checkpoint.every 50 --evaluation.every 120 --log-every 1".split()


def wait_for_step(job: slurm_cluster.Job, workdir: Path, step: int) -> None:
    path = workdir / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (path.exists() and f'"step": {step},' in path.read_text()):
        if time.monotonic() > end:
            raise AssertionError(f"step {step} was not reached: {job.facts()}\n{job.log[-4000:]}")
        time.sleep(0.02)


def test_a_run_stopped_and_killed_ends_with_the_parameters_of_the_straight_one(cluster, tmp_path):
    """Two processes that find each other; scancel --signal, then kill -9 of one; bit for bit."""
    config = tiny.write_config(tmp_path, tiny.write_records(tmp_path / "records"))
    environment = tiny.environment(
        PYTHON=sys.executable,
        JAXFACS_ROOT=str(tiny.REPOSITORY),
        JAXFACS_HEARTBEAT_TIMEOUT_S="10",
        JAXFACS_GRACE_S="5",
    )
    workdir, straight = tmp_path / "run", tmp_path / "straight"
    job = slurm_cluster.Job(
        cluster,
        tmp_path / "job.log",
        *("--nodes=2", SCRIPT, str(config), "--workdir", str(workdir), *ARGUMENTS),
        **environment,
    )

    wait_for_step(job, workdir, 60)
    cluster.run("scancel", "--signal=TERM", job.id)
    job.release(1)
    assert "stopped by a signal, saved: back into the queue" in job.log
    stopped_at = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert 60 <= stopped_at < STEPS and f"stopped by a signal after step {stopped_at}" in job.log

    wait_for_step(job, workdir, stopped_at + 60)
    victim = json.loads((workdir / "heartbeat" / "process-1.json").read_text())["pid"]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    job.release(2)
    assert time.monotonic() - killed < 45  # the other one's end is bounded
    assert "code 137: back into the queue" in job.log, job.log

    facts = job.end()
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("COMPLETED", "0:0", "2")
    assert f"resumed from the checkpoint of step {stopped_at}" in job.log

    command = [str(tiny.REPOSITORY / "launch" / "local.sh"), "2", str(config)]
    finished = subprocess.run(
        [*command, "--workdir", str(straight), *ARGUMENTS],
        env=environment,
        cwd=tiny.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert finished.returncode == 0, finished.stderr
    assert tiny.digests(workdir, STEPS) == tiny.digests(straight, STEPS)
    assert tiny.lines(workdir) == tiny.lines(straight)
