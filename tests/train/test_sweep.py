"""`jaxfacs sweep`: a real one in small; plans, failures, stops and the array with a stand-in for
training, so that nothing waits for a compiler."""

import functools
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sweep_stand_in
import tiny
from sweep_stand_in import planned, rows_of

from jaxfacs import cli
from jaxfacs.train import command, sweep_jobs


@pytest.fixture(scope="module")
def folds_config(config_path, tmp_path_factory):
    return sweep_stand_in.write_folds_config(tmp_path_factory.mktemp("folds"), config_path)


@pytest.fixture
def stand_in(monkeypatch):
    return functools.partial(sweep_stand_in.put_in_place, monkeypatch)


# --- what runs there are ---------------------------------------------------------------------


def test_the_product_of_values_in_the_order_of_the_command(config_path):
    runs = planned(
        config_path,
        *("--optim.learning-rate", "1e-1", "0.01", "--data.batch_size=4", "--data.batch-size", "8"),
        *("--model.intensity", "True"),
    )
    assert [run.name for run in runs] == [
        "learning-rate=0.1_batch-size=4_seed=0",
        "learning-rate=0.1_batch-size=8_seed=0",
        "learning-rate=0.01_batch-size=4_seed=0",
        "learning-rate=0.01_batch-size=8_seed=0",
    ]
    found = [(r.experiment.optim.learning_rate, r.experiment.data.batch_size) for r in runs]
    assert found == [(0.1, 4), (0.1, 8), (0.01, 4), (0.01, 8)]
    assert all(run.experiment.model.intensity for run in runs)
    assert {run.split for run in runs} == {"test"}


def test_a_field_of_several_words_is_repeated_for_each_value(config_path):
    runs = planned(config_path, "--data.aus", "1", "12", "--data.aus", "25")
    assert [run.experiment.data.aus for run in runs] == [("1", "12"), ("25",)]
    assert [run.name for run in runs] == ["aus=1-12_seed=0", "aus=25_seed=0"]


def test_seeds_change_the_network_and_the_order(config_path):
    runs = planned(config_path, "--seeds", "3")
    assert [(r.experiment.seed, r.experiment.data.seed) for r in runs] == [(0, 3), (1, 4), (2, 5)]


def test_all_folds_that_the_config_knows(folds_config):
    runs = planned(folds_config, "--fold", "all", "--seeds", "2", "--smoke")
    assert [(r.fold, r.seed, r.experiment.data.seed) for r in runs] == [
        *(("1", 0, 10), ("1", 1, 11), ("2", 0, 20), ("2", 1, 21), ("3", 0, 30), ("3", 1, 31)),
    ]
    assert runs[0].config == f"{folds_config}:fold=1" and runs[0].experiment.steps == 4
    assert [run.fold for run in planned(folds_config, "--fold", "3", "1")] == ["3", "1"]


def test_fold_and_seed_stand_in_values(folds_config):
    source = "stage1/fold={fold}_seed={seed}"
    runs = planned(folds_config, "--fold", "1", "2", "--seeds", "2", "--init-from", source)
    assert [run.experiment.init.source for run in runs] == [
        f"stage1/fold={fold}_seed={seed}" for fold in (1, 2) for seed in (0, 1)
    ]


def test_negative_and_long_values_have_names_of_their_own(config_path):
    runs = planned(config_path, "--loss.edge-scale", "1", "-1", "--model.head", "a" * 90, "b" * 90)
    names = [run.name for run in runs]
    assert len(set(names)) == 4 and max(map(len, names)) < 100
    assert names[2].startswith("edge-scale=-1.0_head=aaaa")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--optim.lerning-rate", "1", "2"], "--optim.learning-rate"),
        (["--optim.learning-rate", "1", "high"], "'high'"),
        (["--optim.name", "adam", "adan"], "invalid choice 'adan'"),
        (["--optim.learning-rate", "1", "-1"], "optim.learning-rate is -1.0; give more than 0"),
        (["--data.batch-size", "4", "3", "--accumulate", "2"], "3 does not divide into 2"),
        (["--optim.learning-rate", "0.1", "1e-1"], "given twice; give each value once"),
        (["--seeds", "2", "--seed", "4"], "--seeds sets both by itself"),
        (["--seeds", "0"], "give a number from 1 up"),
        (["--fold", "all"], "has no option 'fold'"),
        (["--metric", "mean_f2"], "did you mean mean_f1"),
        (["--metric", "f1_AU1x"], "is not in reports"),
        (["--split", "dev"], "no split 'dev'"),
        (["--data.source", "nowhere"], "nowhere is not a record folder"),
        (["--tables"], "run the sweep first"),
        (["--jobs", "-1"], "give a number from 0 up"),
        (["--slurm", "yes"], "--slurm takes no value, not 'yes'"),
        (["--optim.learning-rate", *map(str, range(1, 1200))], "at most 1000 runs"),
    ],
)
def test_bad_input_is_told_before_anything_runs(config_path, tmp_path, capsys, arguments, told):
    out = tmp_path / "out"
    assert cli.main(["sweep", str(config_path), "--out", str(out), *arguments]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
    assert not out.exists()


def test_folders_of_other_configs_are_refused(config_path, tmp_path, stand_in, capsys):
    stand_in()
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    rates = ["--optim.learning-rate", "0.1", "0.2"]
    assert cli.main([*words, *rates]) == 0
    assert cli.main([*words, *rates, "--model.width", "2"]) == 2
    assert "holds a run with another config (model.width: 1.0 -> 2.0)" in capsys.readouterr().err
    one = tmp_path / "learning-rate=0.1_seed=0"
    assert cli.main(["sweep", str(config_path), "--out", str(one)]) == 2
    assert "is the work directory of one run" in capsys.readouterr().err


# --- a sweep -----------------------------------------------------------------------------------


def test_a_sweep_from_the_command_to_its_table(config_path, tmp_path, capsys, monkeypatch):
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--smoke", "--jobs", "0"]
    words += ["--optim.learning-rate", "0.1", "0.001", "--metric", "mean_f1"]
    assert cli.main(words) == 0
    found = rows_of(tmp_path / "table.csv")
    assert [row["optim.learning-rate"] for row in found] == ["0.1", "0.001"]
    for row in found:
        workdir = tmp_path / f"learning-rate={row['optim.learning-rate']}_seed=0"
        report = json.loads((workdir / "evaluation/test/4/report.json").read_text())
        assert float(row["mean_f1"]) == report["mean"]["f1"]["value"]
        f1 = {r["au"]: r["f1"] for r in report["per_au"]}
        assert all(float(row[f"f1_AU{au}"]) == f1[au] for au in tiny.AUS)
        assert float(row["f1_avg"]) == pytest.approx(sum(f1.values()) / 3)
        assert row["ci95"] == "" and row["n"] == "1"
    page = (tmp_path / "table.md").read_text()
    assert "measured on: test" in page and "tuned for F1 on validation" in page
    for name in ("sweep.png", "curves.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG" and f"]({name})" in page

    capsys.readouterr()
    assert cli.main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count(" 4/4 ") == 2

    def never(*args, **kwargs):
        raise AssertionError("a finished run was started again")

    monkeypatch.setattr(command, "train", never)
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert "2 of 2 runs are done already" in said.err
    assert page == (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(config_path, tmp_path, capsys):
    """kill -9 in the second run: the first stays as it is, the second resumes its checkpoint."""
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    words += ["--optim.learning-rate", "0.1", "0.001"]
    process = subprocess.Popen(
        tiny.command(*words), env=tiny.environment(), cwd=tiny.REPOSITORY, stderr=subprocess.DEVNULL
    )
    second = tmp_path / "learning-rate=0.001_seed=0" / "checkpoints" / "10"
    end = time.monotonic() + 120
    while not second.exists() and time.monotonic() < end:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    first = tmp_path / "learning-rate=0.1_seed=0" / "evaluation" / "test"
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert cli.main(words) == 0
    said = capsys.readouterr().err
    assert "1 of 2 runs are done already" in said and "resumed from the checkpoint" in said
    assert before == {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert [row["n"] for row in rows_of(tmp_path / "table.csv")] == ["1", "1"]


def test_a_run_that_fails_is_told_and_the_others_go_on(config_path, tmp_path, stand_in, capsys):
    bad, worse = "width=2.0_seed=0", "width=4.0_seed=0"
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    words += ["--model.width", "1", "2", "3", "4"]
    from jaxfacs.errors import UserError

    stand_in(codes={bad: UserError("no room on the disk"), worse: ZeroDivisionError("a bug")})
    assert cli.main(words) == sweep_jobs.SOME_FAILED
    said = capsys.readouterr()
    reason = "failed (exit code 2: jaxfacs train: no room on the disk)"
    assert f"{bad}: {reason}" in said.out
    assert f"{worse}: failed (exit code 1: ZeroDivisionError: a bug)" in said.out
    assert "failed, the others go on" in said.err and "[4/4]" in said.err
    assert reason in (tmp_path / "table.md").read_text()
    assert [row["n"] for row in rows_of(tmp_path / "table.csv")] == ["1", "0", "1", "0"]
    states = [row["state"] for row in rows_of(tmp_path / "runs.csv")]
    assert states == ["finished", "failed", "finished", "failed"]

    again = stand_in()  # mended
    assert cli.main(words) == 0
    assert again.trained == [bad, worse]
    assert "failed" not in (tmp_path / "table.md").read_text()


def test_a_run_that_diverged_is_a_result(config_path, tmp_path, stand_in, capsys):
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    words += ["--optim.learning-rate", "0.1", "0.01"]
    stand_in(codes={"learning-rate=0.1_seed=0": 3})
    assert cli.main(words) == 0
    assert "learning-rate=0.1_seed=0: diverged" in capsys.readouterr().out
    again = stand_in()
    assert cli.main(words) == 0 and again.trained == []


def test_a_stop_stops_the_sweep_which_goes_on_later(config_path, tmp_path, stand_in, capsys):
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0", "--seeds", "3"]
    stand_in(codes={"seed=1": 75})
    assert cli.main(words) == 75
    said = capsys.readouterr()
    assert "stopped; the same command goes on" in said.err
    assert "seed=1: stopped" in said.out and "seed=2: not run" in said.out
    again = stand_in()
    assert cli.main(words) == 0
    assert again.trained == ["seed=1", "seed=2"]


def test_a_report_from_before_the_end_is_made_again(config_path, tmp_path, stand_in):
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    stand_in()
    assert cli.main(words) == 0
    old = tmp_path / "seed=0" / "evaluation" / "test" / "60" / "report.json"
    os.utime(old, (1, 1))
    again = stand_in()
    assert cli.main(words) == 0
    assert again.evaluated == [("seed=0", "test", False)]


# --- processes ---------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
open(os.path.join({folder!r}, "started-%d" % os.getpid()), "w").close()
time.sleep({seconds} if sys.argv[1] == "train" else 0)
sys.exit(9 if "3.0" in " ".join(sys.argv) else 0)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """A function that puts processes of so many seconds in the place of `jaxfacs` commands."""

    def put(seconds):
        text = CHILD.format(folder=str(tmp_path), seconds=seconds)
        program = [sys.executable, "-S", "-c", text]
        monkeypatch.setattr(sweep_jobs, "program", lambda words: [*program, *words])

    return put


def test_ctrl_c_asks_every_process_to_save(config_path, tmp_path, child, capsys):
    child(60)
    runs = planned(config_path, "--model.width", "1", "2", "4")

    def interrupt():
        end = time.monotonic() + 30
        while len(list(tmp_path.glob("started-*"))) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt).start()
    out = tmp_path / "out"
    began = time.monotonic()
    assert sweep_jobs.run_all(out, runs, jobs=2, smoke=False) == 75
    assert time.monotonic() - began < 40
    assert signal.getsignal(signal.SIGINT) is handler
    codes = {p.parent.name: p.read_text().strip() for p in out.glob("*/exit_code")}
    assert codes == {"width=1.0_seed=0": "75", "width=2.0_seed=0": "75"}
    assert not (out / "width=4.0_seed=0").exists()


def test_several_processes_and_one_that_fails(config_path, tmp_path, child, capsys):
    child(0)
    runs = planned(config_path, "--model.width", "1", "2", "3")
    out = tmp_path / "out"
    assert sweep_jobs.run_all(out, runs, jobs=3, smoke=False) == 1
    assert sweep_jobs.outcome(out, runs[2]).why.startswith("exit code 9")
    log = (out / "width=1.0_seed=0" / "log.txt").read_text()
    assert "$ jaxfacs train " in log and "$ jaxfacs evaluate " in log


def test_a_sweep_whose_runs_are_still_at_work_is_refused(config_path, tmp_path, child):
    child(60)
    out = tmp_path / "out"
    out.mkdir()
    (run,) = planned(config_path)
    with sweep_jobs.locked(out) as lock:
        outlives = sweep_jobs._start(out, run, ["train"], 0, 1, lock)
    try:
        with pytest.raises(sweep_jobs.UserError, match="is still at work in"):
            sweep_jobs.run_all(out, [run], jobs=1, smoke=False)
    finally:
        outlives.kill()
        outlives.wait()
    with sweep_jobs.locked(out):
        pass


@pytest.mark.parametrize(
    ("visible", "jobs", "shares", "fraction"),
    [
        ("0,1,2,3", 2, ["0,2", "1,3"], None),
        ("5", 3, ["5", "5", "5"], "0.300"),
        ("0,1", 3, ["0", "1", "0"], "0.450"),
        ("0,1", 1, ["0,1"], None),
        ("", 2, ["", ""], None),
    ],
)
def test_processes_share_the_gpus(monkeypatch, tmp_path, visible, jobs, shares, fraction):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    found = [sweep_jobs.environment(tmp_path, slot, jobs) for slot in range(jobs)]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in found] == shares
    assert {env.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for env in found} == {fraction}


def test_the_reason_of_a_failure_is_the_last_commands_own(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text(
        "\n$ jaxfacs train a\nValueError: of an earlier attempt\n"
        "\n$ jaxfacs train a\nstep 1\nTypeError: this\n------\nFor simplicity, JAX has removed\n"
    )
    assert sweep_jobs.reason(log) == "TypeError: this"
    log.write_text(log.read_text() + "\n$ jaxfacs train a\nstep 1\n")
    assert sweep_jobs.reason(log) == "step 1"


# --- SLURM -------------------------------------------------------------------------------------

STUBS = {
    "srun": 'exec "$@"',
    "squeue": "echo ${STATE:-RUNNING}",
    "scontrol": 'echo "$@" >>"$STUBS/requeued"',
    "jaxfacs": 'echo "$@" >>"$STUBS/called"; echo "said $1"; [ "$1" != train ] || exit ${CODE:-0}',
}


def test_the_array_runs_its_lines_and_asks_to_be_run_again(config_path, tmp_path, capsys):
    out, stubs = tmp_path / "a b", tmp_path / "stubs"
    stubs.mkdir()
    for name, body in STUBS.items():
        (stubs / name).write_text(f"#!/bin/bash\n{body}\n")
        (stubs / name).chmod(stat.S_IRWXU)
    words = ["sweep", str(config_path), "--out", str(out), "--slurm", "--jobs", "4"]
    assert cli.main([*words, "--model.width", "1", "2", "--model.head", "a'b"]) == 0
    assert "2 of 2 runs" in capsys.readouterr().out
    script = out / "sweep.sbatch"
    # The package's own folder comes first in the PATH of the script.
    text = script.read_text().replace(f"PATH={Path(sys.executable).parent}:", f"PATH={stubs}:")
    script.write_text(text)
    assert "#SBATCH --array=0-1%4\n" in text

    def task(index, **more):
        more = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index), **more}
        env = {**os.environ, "STUBS": str(stubs), **more}
        return subprocess.run(["bash", str(script)], env=env, cwd=tmp_path, timeout=30).returncode

    assert task(1) == 0
    train, evaluate = (stubs / "called").read_text().splitlines()
    workdir = out / "width=2.0_seed=0"
    assert train == f"train {config_path} --workdir {workdir} --model.width 2 --model.head a'b"
    assert evaluate == f"evaluate --workdir {workdir} --split test"
    log = (workdir / "log.txt").read_text()
    assert "said train" in log and "said evaluate" in log
    assert (workdir / "exit_code").read_text() == "0\n"
    assert not (stubs / "requeued").exists()

    for code, requeued in ((2, 0), (3, 0), (75, 1), (137, 2)):
        assert task(0, CODE=str(code)) == code
        found = stubs / "requeued"
        lines = found.read_text().splitlines() if found.exists() else []
        assert lines == ["requeue 7_0"] * requeued
    assert task(0, CODE="75", SLURM_RESTART_COUNT="50") == 75
    assert task(0, CODE="75", STATE="COMPLETING") == 75  # it was cancelled
    assert len((stubs / "requeued").read_text().splitlines()) == 2


def test_runs_that_are_done_are_not_in_the_array(config_path, tmp_path, stand_in, capsys):
    stand_in()
    words = ["sweep", str(config_path), "--out", str(tmp_path)]
    assert cli.main([*words, "--model.width", "1", "--jobs", "0", "--seeds", "2"]) == 0
    assert cli.main([*words, "--model.width", "1", "--slurm", "--seeds", "3"]) == 0
    (line,) = (tmp_path / "sweep.tsv").read_text().splitlines()
    assert line.startswith("seed=2\tjaxfacs train ")
    assert "#SBATCH --array=0-0%1\n" in (tmp_path / "sweep.sbatch").read_text()
    assert cli.main([*words, "--model.width", "1", "--slurm", "--seeds", "2"]) == 0
    assert "all 2 runs are done" in capsys.readouterr().out
