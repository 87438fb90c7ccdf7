"""`jaxfacs compare`: a run that learned beside one that did not, and what cannot be compared."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.data.records import clip_from_arrays, write_set
from jaxfacs.errors import UserError
from jaxfacs.train import forgetting


@pytest.fixture(scope="module")
def unlearned(config_path, tmp_path_factory):
    """A work directory of the same network after four steps."""
    workdir = tmp_path_factory.mktemp("unlearned")
    arguments = ["train", str(config_path), "--workdir", str(workdir), "--smoke"]
    assert cli.main([*arguments, "--model.intensity", "True"]) == 0
    return workdir


def _report(workdir):
    (path,) = workdir.glob("evaluation/*/*/comparison.json")
    return json.loads(path.read_text()), path.parent


def test_what_was_learned_and_is_gone_is_called_lost(unlearned, straight, capsys):
    arguments = ["compare", "--workdir", str(unlearned), "--with", str(straight)]
    assert cli.main([*arguments, "--split", "train", "--with-step", "60"]) == 0
    said = capsys.readouterr().out
    report, folder = _report(unlearned)
    assert folder == unlearned / "evaluation" / "train" / "4"
    assert {p.name for p in folder.iterdir()} >= {f"comparison.{e}" for e in ("json", "md", "png")}
    assert (folder / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert [row["au"] for row in report["per_au"]] == list(tiny.AUS)
    assert (report["meta"]["step"], report["meta"]["with_step"]) == (4, 60)
    assert report["same_labels"]
    for row in report["per_au"]:
        gone = row["before"]["average_precision"] - row["after"]["average_precision"]
        assert gone == pytest.approx(-row["change"]["average_precision"])
        chance = row["before"]["chance_ap"]
        kept = (row["after"]["average_precision"] - chance) / (
            row["before"]["average_precision"] - chance
        )
        assert row["kept"] == pytest.approx(kept)
        assert (row["au"] in report["lost"]) == (kept < forgetting.LOST)
        assert row["before"]["icc"] is None and row["after"]["icc"] is not None
    assert report["lost"], "a run of four steps knows less than half of one of sixty"
    assert f"lost: AU {', '.join(report['lost'])}" in said
    assert "ICC" not in said  # only one of them answers intensities
    assert (folder / "comparison.md").read_text().count("\n| ") >= 5


def test_a_run_beside_itself_has_changed_nothing(unlearned, capsys):
    assert cli.main(["compare", "--workdir", str(unlearned), "--with", str(unlearned)]) == 0
    said = capsys.readouterr().out
    assert "no AU was lost" in said and "ICC(3,1) before" in said
    report = json.loads((unlearned / "evaluation/test/4/comparison.json").read_text())
    for row in report["per_au"]:
        assert all(change in (0, None) for change in row["change"].values())


def test_records_without_these_aus_are_refused(unlearned, straight, tmp_path, capsys):
    """As those of an emotion set, whose clips carry no AU."""
    frames = np.zeros((6, 16, 16, 3), np.uint8)
    unknown = {"occurrence_TA": -np.ones((6, 1), np.int8), "emotion": 1}
    splits = {
        split: [clip_from_arrays(frames, clip_id=split, subject=split, **unknown)]
        for split in ("train", "test")
    }
    source = write_set(tmp_path / "emotions", splits, aus=("7",), emotions=tiny.EMOTIONS)
    arguments = ["compare", "--workdir", str(unlearned), "--with", str(straight)]
    assert cli.main([*arguments, "--source", str(source)]) == 2
    said = capsys.readouterr().err
    assert "codes none of the AUs 1 12 25; give --source records that do" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--split", "dev"], "no split 'dev'"),
        (["--step", "7"], "holds no checkpoint of step 7"),
        (["--with-step", "7"], "holds no checkpoint of step 7"),
        (["--source", "nowhere"], "nowhere is not a record folder"),
    ],
)
def test_bad_input_is_one_line(unlearned, straight, capsys, more, told):
    arguments = ["compare", "--workdir", str(unlearned), "--with", str(straight), *more]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_networks_without_a_common_au_are_refused(unlearned):
    after = forgetting.load_for_inference(unlearned)
    before = dataclasses.replace(after, aus=("4", "9"))
    with pytest.raises(UserError, match="no AU in common: 1 12 25 and 4 9"):
        forgetting.comparison(after, before, sources=(), split="test")


def test_an_au_never_known_cannot_be_lost():
    chance = {"average_precision": 0.31, "chance_ap": 0.3, "f1": 0.4, "icc": math.nan}
    assert math.isnan(forgetting._row("9", chance, chance)["kept"])
    known = {**chance, "average_precision": 0.8}
    assert forgetting._row("9", known, chance)["kept"] == pytest.approx(0.02)
