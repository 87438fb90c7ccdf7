"""A person's thresholds from their labels, beside what their profile holds already."""

import json

import numpy as np
import pytest

from jaxfacs.cli import main
from jaxfacs.emotion import person as profiles
from jaxfacs.emotion.person import Person
from jaxfacs.errors import UserError
from jaxfacs.infer.person_command import person


@pytest.fixture
def tables(tmp_path):
    """Predictions whose scores of AU 12 are all low, and labels of every other frame, reversed."""
    rng = np.random.default_rng(0)
    smiles = rng.random(60) < 0.4
    score = np.where(smiles, rng.uniform(0.2, 0.4, 60), rng.uniform(0, 0.15, 60))
    frames = tmp_path / "anna.csv"
    rows = [f"{t + 1},0,{t / 25:.3f},1,{score[t]:.4f},0.9000\n" for t in range(60)]
    frames.write_text("frame,face_id,timestamp,success,AU12_p,AU04_p\n" + "".join(rows))
    labels = tmp_path / "labels.csv"
    rows = [f"{t + 1},{int(smiles[t])},9\n" for t in range(58, -1, -2)]
    labels.write_text("frame,AU12_c,AU04_c\n" + "".join(rows))
    return frames, labels


def test_thresholds_come_from_the_labels_and_the_rest_is_kept(tables, tmp_path, capsys):
    frames, labels = tables
    start, out = tmp_path / "start.json", tmp_path / "out.json"
    profiles.save(Person("anna", {"4": 0.3}, {"4": 1.0}, 5, "film", {"4": 0.8}), start)
    person(frames, labels=labels, start=start, out=out, edits=("sad:15=0.6", "anger:4=out"))
    made = profiles.load(out)
    assert 0.15 <= made.thresholds["12"] <= 0.2
    assert made.thresholds["4"] == 0.8  # nobody labelled it: as before
    assert made.probability == {"4": 0.3} and made.name == "anna" and made.frames == 5
    assert made.emotions == {"sadness": {"15": 0.6}, "anger": {"4": None}}
    assert "F1 at 0.5" in capsys.readouterr().out
    person(frames, start=out, out=out, edits=("anger:4=fitted",))
    assert profiles.load(out).emotions == {"sadness": {"15": 0.6}}
    person(frames, labels=labels, out=out, threshold_for="recall:0.5")
    higher = profiles.load(out)
    assert higher.thresholds["12"] > made.thresholds["12"] and higher.name == "anna"
    assert json.loads(out.read_text())["neutral_probability"] == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame,AU01_c\n1,1\n", "no AU of"),
        ("frame,AU12_c\n999,1\n", "no frame of"),
        ("frame,AU12_c\n1,1\n1,0\n", "twice"),
        ("frame,AU12_c\n1,1\n2,0\n", "5 present labels"),
    ],
)
def test_labels_that_do_not_fit_are_named(tables, tmp_path, text, words):
    frames, labels = tables
    labels.write_text(text)
    with pytest.raises(UserError, match=words):
        person(frames, labels=labels, out=tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_wishes_that_ask_for_nothing_or_what_there_is_not(tables, tmp_path):
    frames, labels = tables
    out = tmp_path / "out.json"
    with pytest.raises(UserError, match="nothing to learn"):
        person(frames, out=out)
    with pytest.raises(UserError, match=r"recall:0\.9"):
        person(frames, labels=labels, out=out, threshold_for="best")
    with pytest.raises(UserError, match="no face '3'"):
        person(frames, labels=labels, out=out, face_id="3")


def test_edits_are_used_where_emotions_are_read_from_tables_too(tables, tmp_path):
    frames, _ = tables
    out = tmp_path / "anna.json"
    person(frames, out=out, edits=("happiness:12=0.01",))
    words = ["emotions", "apply", str(frames), "--no-plot", "--out"]
    mean = {}
    for name, options in (("plain", []), ("edited", ["--person", str(out)])):
        told = ["--mapper", "published", *options]
        assert main([*words, str(tmp_path / name), *told]) == 0
        summary = json.loads((tmp_path / name / "anna.emotions.json").read_text())
        mean[name] = summary["emotions"]["happiness"]["mean_probability"]
    assert mean["edited"] != mean["plain"]
    told = ["--mapper", "emfacs", "--person", str(out)]
    assert main([*words, str(tmp_path / "rules"), *told]) == 2
