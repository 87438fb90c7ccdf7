"""What a run tells while it is at work: lines of metrics, Weights & Biases, traces, `runs`."""

import json
import sys
from pathlib import Path

import pytest
import tiny

from jaxfacs import cli
from jaxfacs.runtime import metrics, wandb_board


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """The stand-in is what is imported as wandb; a function that reads what it was told."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "stand_ins"))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    file = tmp_path / "told.jsonl"
    file.touch()
    monkeypatch.setenv("WANDB_STAND_IN", str(file))

    def told(kind):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        return [row[kind] for row in rows if kind in row]

    yield told
    sys.modules.pop("wandb", None)


def train(config_path, workdir, *more):
    return ["train", str(config_path), "--workdir", str(workdir), *more]


def test_lines_tell_of_groups_aus_time_and_speed(straight):
    rows = metrics.read(straight / "metrics.jsonl", "train")
    groups = {name.partition("/")[2] for name in rows[0] if name.startswith("grad_norm/")}
    assert {"stem", "head", "norm"} <= groups
    for row in rows:
        assert all(row[f"grad_norm/{g}"] > 0 and row[f"update_ratio/{g}"] > 0 for g in groups)
        for au in tiny.AUS:
            f1, rate = row[f"f1_AU{au}"], row[f"base_rate_AU{au}"]
            assert 0 <= rate <= 1 and (f1 is None or 0 <= f1 <= 1)
        assert 0 <= row["goodput"] <= 1
    # One epoch's share of present labels, over windows of 32 clips, is that of the records.
    first, last = rows[0], rows[-1]
    assert last["mean_f1"] > max(first["mean_f1"], 0.6)
    phases = [name for name in last if name.endswith("_s") and "per" not in name]
    assert {"start_s", "compile_s", "data_s", "step_s", "evaluation_s", "other_s"} <= set(phases)
    assert all(last[name] >= first.get(name, 0) for name in phases)
    assert last["goodput"] == pytest.approx(last["step_s"] / sum(last[name] for name in phases))
    # uint8 frames of 8 clips, and labels, against a rate in clips a second
    bytes_a_clip = last["bytes_per_s"] / last["clips_per_s"]
    assert 4 * 16 * 16 * 3 < bytes_a_clip * 4 / 3 < 1.5 * 4 * 16 * 16 * 3 * 4 / 3


def test_wandb_is_told_what_the_file_is_and_goes_on_in_the_same_run(config_path, tmp_path, wandb):
    workdir = tmp_path / "run"
    options = ["--wandb", "faces", "--evaluation.every", "0"]
    assert cli.main(train(config_path, workdir, *options, "--steps", "8")) == 0
    assert cli.main(train(config_path, workdir, *options, "--steps", "12", "--accept-changes")) == 0
    first, second = wandb("init")
    assert first["id"] == second["id"] and first["resume"] == second["resume"] == "allow"
    assert (first["project"], first["name"], first["dir"]) == ("faces", "run", str(workdir))
    assert first["config"]["optim"]["learning_rate"] == 1e-2
    assert wandb("metric") == [["*", "step"]] * 2 and wandb("finish") == [True, True]
    expected = [
        {"step": row.pop("step")} | {f"{row['kind']}/{k}": v for k, v in row.items() if k != "kind"}
        for row in metrics.read(workdir / "metrics.jsonl")
    ]
    expected = [{k: v for k, v in row.items() if v is not None} for row in expected]
    assert [row for row in wandb("log") if row in expected] == expected


@pytest.mark.parametrize(("fails", "logged"), [("init", 0), ("2", 1), ("finish", 3)])
def test_wandb_that_fails_is_told_once_and_raises_nothing(
    tmp_path, wandb, monkeypatch, capsys, fails, logged
):
    monkeypatch.setenv("WANDB_STAND_IN_FAILS", fails)
    (board,) = wandb_board.boards(tmp_path, project="faces", config={})
    for step in (4, 8, 12):
        board.add(step, {"train/loss": 1.0 / step})
        board.sync()
    board.close()
    said = "nothing more is written to Weights & Biases: no answer from the server\n"
    assert capsys.readouterr().err.count(said) == 1
    assert len(wandb("log")) == logged
    assert wandb_board.boards(tmp_path, project="", config={}) == []


def test_wandb_that_is_not_installed_is_one_line(config_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb_board.importlib.util, "find_spec", lambda name: None)
    assert cli.main(train(config_path, tmp_path, "--wandb", "faces")) == 2
    said = capsys.readouterr().err
    assert "pip install 'jaxfacs[wandb]'" in said and said.count("\n") == 1


def test_the_real_wandb_keeps_all_of_it_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (board,) = wandb_board.boards(tmp_path, project="faces", config={"steps": 8})
    board.add(4, {"train/loss": 0.25})
    board.close()
    (run_id,) = json.loads((tmp_path / "wandb.json").read_text()).values()
    (file,) = tmp_path.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb")
    assert b"train/loss" in file.read_bytes()


def test_steps_done_in_vain_are_lost_and_not_goodput(copy_of, config_path, capsys):
    """As after a kill at step 75: the heartbeat file is ahead of the newest checkpoint."""
    workdir = copy_of()
    heartbeat = workdir / "heartbeat" / "process-0.json"
    heartbeat.write_text(json.dumps({**json.loads(heartbeat.read_text()), "step": 75}))
    (before,) = metrics.read(workdir / "metrics.jsonl", "seconds")
    manifest = json.loads((workdir / "checkpoints/60/manifest/metadata").read_text())
    each_s = manifest["host"]["seconds"]["step"] / 60
    arguments = [*train(config_path, workdir), "--steps", "64", "--accept-changes"]
    assert cli.main(arguments) == 0
    assert "about 15 steps after it are done again" in capsys.readouterr().err
    line = metrics.read(workdir / "metrics.jsonl", "train")[-1]
    assert line["step"] == 64 and "lost_s" not in before
    assert line["lost_s"] == pytest.approx(15 * each_s)
    phases = [line[name] for name in line if name.endswith("_s") and "_per_" not in name]
    assert line["goodput"] == pytest.approx(line["step_s"] / sum(phases))
