"""Runs stopped in every way, started again with the same command, and compared bit by bit."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tiny

from jaxfacs import cli
from jaxfacs.evaluate import calibration
from jaxfacs.runtime import metrics
from jaxfacs.train import checkpoint, evaluation
from jaxfacs.train.trained import load_for_inference


def start(config_path, workdir: Path, *more) -> subprocess.Popen:
    return subprocess.Popen(
        tiny.command("train", config_path, "--workdir", workdir, *more),
        env=tiny.environment(),
        cwd=tiny.REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(
    process: subprocess.Popen, workdir: Path, step: int, timeout: float = 120
) -> None:
    """Returns once the metrics tell of `step`, at the speed of a poll."""
    end = time.monotonic() + timeout
    path = workdir / "metrics.jsonl"
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            rows = path.read_text().splitlines()
            if any(f'"step": {s},' in row for row in rows[-2:] for s in range(step, step + 8)):
                return
        time.sleep(0.002)
    pytest.fail(f"step {step} was not reached: {process.communicate()[1]}")


@pytest.mark.slow
def test_killed_at_random_steps_it_ends_as_the_straight_run_bit_for_bit(
    config_path, straight, tmp_path
):
    """Every array (parameters, statistics, moments, averages) and every line of metrics."""
    seed = random.randrange(1_000_000)
    where = random.Random(seed).sample(range(3, 56), 2)
    for step in sorted(where):
        process = start(config_path, tmp_path)
        wait_for_step(process, tmp_path, step)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert cli.main(["train", str(config_path), "--workdir", str(tmp_path)]) == 0
    assert tiny.digests(tmp_path, 60) == tiny.digests(straight, 60), f"seed {seed}: {where}"
    assert tiny.lines(tmp_path) == tiny.lines(straight), f"seed {seed}: {where}"


@pytest.mark.slow
def test_sigterm_saves_exits_75_and_goes_on_exactly(config_path, straight, tmp_path):
    process = start(config_path, tmp_path)
    wait_for_step(process, tmp_path, 24)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "stopped by a signal after step" in said and "Traceback" not in said
    newest = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert 24 <= newest < 60 and f"after step {newest}, saved" in said
    assert cli.main(["train", str(config_path), "--workdir", str(tmp_path)]) == 0
    assert tiny.digests(tmp_path, 60) == tiny.digests(straight, 60)
    assert tiny.lines(tmp_path) == tiny.lines(straight)


def test_stopped_in_an_evaluation_it_saves_and_evaluates_after_the_restart(
    config_path, straight, tmp_path, monkeypatch, capsys
):
    arguments = ["train", str(config_path), "--workdir", str(tmp_path)]
    collect = evaluation.collect

    def interrupted(*passed, stop, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return collect(*passed, stop=stop, **named)

    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "collect", interrupted)
        assert cli.main(arguments) == 75
    assert "stopped by a signal after step 20, saved" in capsys.readouterr().err
    assert (tmp_path / "checkpoints" / "20").is_dir()
    assert cli.main(arguments) == 0
    assert tiny.digests(tmp_path, 60) == tiny.digests(straight, 60)
    assert tiny.lines(tmp_path) == tiny.lines(straight)


def test_a_finished_run_stays_as_it_is(straight, config_path):
    before = (straight / "metrics.jsonl").read_bytes(), tiny.digests(straight, 60)
    assert cli.main(["train", str(config_path), "--workdir", str(straight)]) == 0
    assert ((straight / "metrics.jsonl").read_bytes(), tiny.digests(straight, 60)) == before


def test_metrics_tell_every_step_once(straight):
    rows = metrics.read(straight / "metrics.jsonl", "train")
    assert [row["step"] for row in rows] == list(range(4, 61, 4))
    assert all(row["loss"] > 0 and 0 <= row["data_wait"] <= 1 for row in rows)
    assert (
        metrics.read(straight / "metrics.jsonl", "validation")[-1]["mean_average_precision"] > 0.8
    )
    (seconds,) = metrics.read(straight / "metrics.jsonl", "seconds")
    assert {"start_s", "compile_s", "data_s", "step_s", "evaluation_s", "checkpoint_s"} <= set(
        seconds
    )


# Brightness above which the tiny network answers NaN: that of a few batches, and of all.
FEW, ALL = "0.12", "-9"


def test_steps_that_are_not_finite_are_skipped_counted_and_told(config_path, tmp_path):
    arguments = ["--model.options.poison", FEW, "--steps", "20", "--max-skipped", "15"]
    assert cli.main(["train", str(config_path), "--workdir", str(tmp_path), *arguments]) == 0
    skipped = metrics.read(tmp_path / "metrics.jsonl", "skipped")
    assert 0 < len(skipped) < 20 and all(row["loss"] is None for row in skipped)
    last = metrics.read(tmp_path / "metrics.jsonl", "train")[-1]
    assert last["skipped"] == len(skipped)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_too_many_bad_steps_end_with_3_and_leave_the_last_good_checkpoint(
    config_path, tmp_path, capsys
):
    arguments = ["train", str(config_path), "--workdir", str(tmp_path), "--max-skipped", "4"]
    poisoned = [*arguments, "--model.options.poison", ALL, "--accept-changes"]
    assert cli.main([*arguments, "--steps", "10"]) == 0
    before = tiny.digests(tmp_path, 10)
    assert cli.main([*poisoned, "--steps", "60"]) == 3
    said = capsys.readouterr().err
    assert "gave up: steps 11 to 14 were not finite" in said and "Traceback" not in said
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["10"]
    assert tiny.digests(tmp_path, 10) == before
    assert [row["step"] for row in metrics.read(tmp_path / "metrics.jsonl", "skipped")] == [
        11, 12, 13, 14,
    ]  # fmt: skip


def test_a_changed_config_is_shown_and_refused_unless_told(straight, config_path, capsys, copy_of):
    workdir = copy_of()
    arguments = ["train", str(config_path), "--workdir", str(workdir), "--ema", "0.8"]
    before = (workdir / "config.json").read_bytes()
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "ema: 0.9 -> 0.8" in said and said.count("\n") == 1
    assert (workdir / "config.json").read_bytes() == before
    assert cli.main([*arguments, "--accept-changes"]) == 0
    assert json.loads((workdir / "config.json").read_text())["experiment"]["ema"] == 0.8


def test_other_records_are_refused(config_path, records, tmp_path, capsys):
    import numpy as np

    from jaxfacs.data.records import clip_from_arrays, write_set

    arguments = ["train", str(config_path), "--workdir", str(tmp_path / "run"), "--steps", "2"]
    assert cli.main(arguments) == 0
    clips = [
        clip_from_arrays(
            np.full((6, 16, 16, 3), i, np.uint8),
            clip_id=f"c{i}",
            subject=f"s{i}",
            occurrence_TA=np.ones((6, 3), np.int8),
        )
        for i in range(4)
    ]
    other = write_set(
        tmp_path / "other",
        {"train": clips[:2], "validation": clips[2:3], "test": clips[3:]},
        aus=tiny.AUS,
        emotions=tiny.EMOTIONS,
    )
    assert cli.main([*arguments, "--data.source", str(other)]) == 2
    assert "records: " in capsys.readouterr().err


def bad_input(config_path, tmp_path):
    train = ["train", str(config_path)]
    here = ["--workdir", str(tmp_path / "w")]
    return [
        (["train", "none.py", *here], "config file none.py does not exist"),
        (train, "--workdir is missing"),
        ([*train, "--workdir"], "given no folder"),
        (["train", "--workdir", "x"], "the config file comes first"),
        ([*train, *here, "--steps", "-1"], "steps is -1"),
        ([*train, *here, "--optim.learning-rat", "1"], "--optim.learning-rate"),
        ([*train, *here, "--data.source", "nowhere"], "nowhere is not a record folder"),
        ([*train, *here, "--data.validation-split", "dev"], "no split 'dev'"),
        ([*train, *here, "--data.aus", "12", "999"], "999"),
        ([*train, *here, "--model.name", "tinny"], "no model 'tinny'"),
        ([*train, *here, "--model.module", "no_such"], "model.module no_such cannot be imported"),
        ([*train, *here, "--optim.frozen", "no_such"], "'no_such' matches no parameter"),
        ([*train, "--workdir", str(config_path)], "cannot make --workdir"),
        (["evaluate", "--workdir", str(tmp_path)], "holds no checkpoint"),
        (["evaluate", "--workdir", str(tmp_path), "--step", "x"], "--step is 'x'"),
    ]


@pytest.mark.parametrize("case", range(15))
def test_bad_input_is_one_line_and_code_2(config_path, tmp_path, capsys, case):
    arguments, words = bad_input(config_path, tmp_path)[case]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and "Traceback" not in said
    assert not (tmp_path / "w" / "checkpoints").exists()


def test_smoke_and_help(config_path, tmp_path, capsys):
    arguments = ["train", str(config_path), "--workdir", str(tmp_path), "--smoke"]
    assert cli.main(arguments) == 0
    assert (tmp_path / "checkpoints" / "4").is_dir()
    capsys.readouterr()
    assert cli.main(["train", "--help"]) == 0
    assert "exit codes" in capsys.readouterr().out
    assert cli.main(["train", str(config_path), "--help"]) == 0
    assert "--optim.learning-rate" in capsys.readouterr().out


def test_evaluate_writes_the_report_and_the_thresholds(copy_of, capsys, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_LABELS", 3)
    workdir = copy_of()
    assert cli.main(["evaluate", "--workdir", str(workdir), "--step", "60"]) == 0
    folder = workdir / "evaluation" / "test" / "60"
    report = json.loads((folder / "report.json").read_text())
    assert report["meta"]["step"] == 60 and len(report["per_au"]) == 3
    assert {"report.md", "pr_curves.png"} <= {p.name for p in folder.iterdir()}
    thresholds = json.loads((workdir / "evaluation/validation/60/thresholds.json").read_text())
    assert set(thresholds) == set(tiny.AUS)
    assert report["thresholds"] == report["meta"]["thresholds"] == "tuned for F1 on validation"
    curves = json.loads((workdir / "evaluation/validation/60/calibration.json").read_text())
    assert set(curves["curves"]) and set(curves["curves"]) == {
        row["au"] for row in report["calibration"]["per_au"] if row["method"] != "none"
    }
    trained = load_for_inference(workdir, step=60)
    assert trained.calibration == (curves["curves"] or None)
    assert trained.thresholds == thresholds
    said = capsys.readouterr().out
    assert "mean AP" in said and "calibration error" in said


def test_a_report_on_the_tuning_split_says_that_its_f1_is_too_high(copy_of, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_LABELS", 3)
    workdir = copy_of()
    words = ["evaluate", "--workdir", str(workdir), "--step", "60", "--split", "validation"]
    assert cli.main(words) == 0
    folder = workdir / "evaluation" / "validation" / "60"
    page = (folder / "report.md").read_text()
    assert "tuned for F1 on validation, the split reported here: the F1 is too high" in page
    assert "Each half of the people of validation calibrated by" in page
    assert (folder / "reliability.png").is_file()
    # Told not to: no curve is left for thresholds that are of other probabilities.
    words = [*words, "--calibration", "none", "--threshold-for", "recall:0.9"]
    assert cli.main(words) == 0
    assert load_for_inference(workdir, step=60).calibration is None
    report = json.loads((folder / "report.json").read_text())
    assert "calibration" not in report and "a recall of 0.9" in report["thresholds"]
    assert cli.main([*words[:-1], "most"]) == 2


def test_evaluate_finds_records_that_moved(copy_of, records, tmp_path, capsys):
    workdir, moved = copy_of(), tmp_path / "moved"
    shutil.copytree(records, moved)
    config = workdir / "checkpoints" / "60" / "manifest" / "metadata"
    manifest = json.loads(config.read_text())
    manifest["experiment"]["data"]["source"] = str(tmp_path / "gone")
    manifest.pop("sha256")
    config.write_text(json.dumps(checkpoint._sealed(manifest)))
    arguments = ["evaluate", "--workdir", str(workdir), "--step", "60"]
    assert cli.main(arguments) == 2
    assert "gone is not a record folder" in capsys.readouterr().err
    assert cli.main([*arguments, "--source", str(moved)]) == 0


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_what_was_whole(config_path, tmp_path):
    """A real small file system; where this user may not mount one, a limit on file sizes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)], stderr=subprocess.DEVNULL
    )

    def limit() -> None:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    try:
        process = subprocess.run(
            tiny.command(
                "train", config_path, "--workdir", disk / "run", "--model.width", "40",
                "--checkpoint.latest", "5",
            ),
            env=tiny.environment(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "compiled")),
            cwd=tiny.REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=limit,
        )  # fmt: skip
        said = process.stderr.strip().splitlines()
        assert process.returncode == 2, process.stderr
        assert "Traceback" not in process.stderr
        assert "jaxfacs train: " in said[-1] and "room" in said[-1], said[-1]
        for folder in (disk / "run" / "checkpoints").iterdir():
            if folder.name.isdigit():  # what looks whole is whole
                tiny.digests(disk / "run", int(folder.name))
    finally:
        if mounted:
            subprocess.call(["umount", "-l", str(disk)])
