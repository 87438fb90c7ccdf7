"""`jaxfacs runs`: what runs differ in, their numbers, damaged lines, empty folders, curves."""

import json
import os

import pytest

from jaxfacs import cli
from jaxfacs.train import runs


def write_run(folder, *, rate=0.1, steps=20, points=((10, 0.5), (20, 0.4)), finished=True, **more):
    """A work directory as training leaves it, as far as it is read here."""
    folder.mkdir(parents=True)
    experiment = {
        "steps": steps,
        "optim": {"learning_rate": rate},
        "checkpoint": {"metric": "mean_f1", "mode": "max", **more},
    }
    (folder / "config.json").write_text(json.dumps({"experiment": experiment}))
    lines = []
    for step, value in points:
        loss = {"loss": 1 / step, "clips_per_s": 10.0 * step}
        lines.append({"step": step, "kind": "train", **loss})
        lines.append({"step": step, "kind": "validation", "mean_f1": value, "mean_icc": None})
    if finished:
        lines.append({"step": steps, "kind": "seconds", "step_s": 3600.0, "compile_s": 61.0})
        (folder / "checkpoints" / str(steps)).mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def cells(said):
    """Rows of the printed table as lists, the headings first."""
    rows = [line.strip("| ").split("|") for line in said.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not row[0].startswith("-")]


def test_the_table_says_what_differs_and_how_far_each_came(tmp_path, capsys):
    write_run(tmp_path / "all" / "a", rate=0.1)
    write_run(tmp_path / "all" / "deep" / "b", rate=0.01, points=((10, 0.7),), finished=False)
    assert cli.main(["runs", str(tmp_path / "all")]) == 0
    assert cells(capsys.readouterr().out) == [
        [
            *("run", "learning_rate", "steps", "best mean_f1", "at step", "last", "at step"),
            *("wall time", "clips/s", "finished"),
        ],
        ["a", "0.1", "20/20", "0.5", "10", "0.4", "20", "1:01:01", "150.0", "yes"],
        ["deep/b", "0.01", "10/20", "0.7", "10", "0.7", "10", "–", "100.0", "no"],
    ]


def test_mfu_and_goodput_are_columns_where_a_run_tells_them(tmp_path, capsys):
    write_run(tmp_path / "old")
    path = write_run(tmp_path / "new", finished=False) / "metrics.jsonl"
    for step, mfu, seconds in ((22, None, 60.0), (24, 0.314, 61.0)):
        told = {"goodput": 0.5 + step / 100, "step_s": seconds, "data_s": 1.0, "clips_per_s": 1.0}
        told |= {} if mfu is None else {"mfu": mfu}
        with path.open("a") as file:
            file.write(json.dumps({"step": step, "kind": "train", **told}) + "\n")
    assert cli.main(["runs", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    heads, old, new = cells(capsys.readouterr().out)
    assert heads[-5:] == ["wall time", "clips/s", "MFU", "goodput", "finished"]
    assert old[-5:] == ["1:01:01", "150.0", "–", "–", "yes"]
    assert new[-5:] == ["0:01:02", "50.5", "31%", "74%", "no"]


def test_what_training_tells_of_aus_is_not_shown_as_validation(tmp_path):
    path = write_run(tmp_path / "a", points=()) / "metrics.jsonl"
    row = {"step": 4, "kind": "train", "mean_f1": 0.9, "f1_AU12": 0.8, "grad_norm": 2.0}
    path.write_text(json.dumps(row) + "\n")
    log = runs.read_run(tmp_path / "a")
    assert log.curve("mean_f1") == log.curve("f1_AU12") == {}
    assert log.curve("grad_norm") == {4: 2.0}


def test_the_best_is_the_smallest_where_the_metric_is_an_error(tmp_path, capsys):
    write_run(tmp_path / "a")
    assert cli.main(["runs", str(tmp_path / "a"), "--metric", "loss"]) == 0
    assert cells(capsys.readouterr().out)[1][2:6] == ["0.05", "20", "0.05", "20"]
    write_run(tmp_path / "b", mode="min")
    assert cli.main(["runs", str(tmp_path / "b")]) == 0
    assert cells(capsys.readouterr().out)[1][2:4] == ["0.4", "20"]


@pytest.mark.parametrize(
    "damage",
    [
        '{"step": 30, "kind": "validation", "mean_',  # a kill
        "\x00\x00\x00",
        "[1, 2]",
        '{"kind": "train"}',
        '{"step": "x", "kind": "train"}',
        '{"step": 1e3, "kind": "train"}',
        "",
    ],
)
def test_damaged_lines_are_left_out_and_counted(tmp_path, capsys, damage):
    path = write_run(tmp_path / "a") / "metrics.jsonl"
    path.write_bytes(b"\xff\xfe\n" + path.read_bytes() + damage.encode() + b"\n")
    assert cli.main(["runs", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "2 damaged lines" in said
    assert cells(said)[1][1:6] == ["20/20", "0.5", "10", "0.4", "20"]


def test_a_step_that_was_done_again_counts_once(tmp_path):
    path = write_run(tmp_path / "a") / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 10, "kind": "validation", "mean_f1": 0.9}\n')
    assert runs.read_run(tmp_path / "a").curve("mean_f1") == {10: 0.9, 20: 0.4}


def test_time_of_a_run_at_work_is_that_of_its_newest_checkpoint(tmp_path):
    write_run(tmp_path / "a", finished=False)
    for step, seconds in ((5, 1.0), (10, 90.0)):
        manifest = tmp_path / "a" / "checkpoints" / str(step) / "manifest"
        manifest.mkdir(parents=True)
        text = json.dumps({"host": {"seconds": {"step": seconds, "data": 2.0}}})
        (manifest / "metadata").write_text(text)
    (tmp_path / "a" / "checkpoints" / "20.orbax-checkpoint-tmp").mkdir()
    log = runs.read_run(tmp_path / "a")
    assert sum(log.seconds.values()) == 92.0 and not log.finished


def test_empty_folders_are_named_and_the_others_compared(tmp_path, capsys):
    write_run(tmp_path / "a")
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    os.symlink(tmp_path, tmp_path / "nothing" / "ring")
    assert cli.main(["runs", str(tmp_path / "a"), str(tmp_path / "nothing")]) == 0
    said = capsys.readouterr()
    assert len(cells(said.out)) == 2
    assert said.err == f"no run in {tmp_path / 'nothing'}\n"


def test_a_run_given_twice_is_one_row(tmp_path, capsys):
    write_run(tmp_path / "a")
    assert cli.main(["runs", str(tmp_path / "a"), str(tmp_path)]) == 0
    assert len(cells(capsys.readouterr().out)) == 2


def test_a_damaged_config_is_told(tmp_path, capsys):
    (write_run(tmp_path / "a") / "config.json").write_text("{")
    assert cli.main(["runs", str(tmp_path / "a"), "--metric", "mean_f1"]) == 0
    said = capsys.readouterr().out
    assert "config.json is missing or damaged" in said and cells(said)[1][1] == "20/?"


def test_curves_show_each_run(tmp_path, capsys):
    from matplotlib.image import imread

    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", rate=0.01, points=((8, 0.2), (16, 0.9)))
    picture = tmp_path / "new" / "curves.png"
    assert cli.main(["runs", str(tmp_path / "runs"), "--out", str(picture)]) == 0
    assert f"curves: {picture}" in capsys.readouterr().out
    pixels = imread(picture)[..., :3].reshape(-1, 3)
    for colour in ((31, 119, 180), (255, 127, 14)):  # the first two of matplotlib's tab10
        assert (abs(pixels * 255 - colour).max(1) < 2).sum() > 50
    assert [p.name for p in picture.parent.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["RUN", "--metric", "mean_f2"], "no run has the metric 'mean_f2'; did you mean mean_f1"),
        (["RUN", "--out", "curves.jpg"], "--out curves.jpg is no PNG"),
        (["RUN", "--out", "RUN/config.json/curves.png"], "give a file you may write"),
        (["nowhere"], "nowhere is no folder"),
        (["RUN/checkpoints"], "no run in"),
        ([], "no folder is given"),
    ],
)
def test_bad_input_is_told(tmp_path, capsys, arguments, told):
    run = str(write_run(tmp_path / "a"))
    assert cli.main(["runs", *(word.replace("RUN", run) for word in arguments)]) == 2
    assert told in capsys.readouterr().err
