"""From rendered faces to a table: what is said comes true more often, and its columns agree."""

import csv
import json

import pytest
import tiny

from jaxfacs import cli
from jaxfacs.synthface import clip as synthface


def run(*words):
    assert cli.main([str(word) for word in words]) == 0


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_network_trained_with_weights_says_what_comes_true(tmp_path):
    """Weighing present frames up makes a network say them too often: that is what is undone."""
    records, work, bundle = tmp_path / "records", tmp_path / "run", tmp_path / "net.jaxfacs"
    build = "--clips 150 --frames 4 --fps 12.5 --size 32 --subjects 75 --near-frontal --seed 3"
    run(*f"data build synthface {build} --validation 0.4 --test 0.3 --out".split(), records)
    config = tiny.write_config(tmp_path, records)
    run("train", config, "--workdir", work, "--data.frames", 1, "--evaluation.every", 0)
    for split in ("validation", "test"):
        run("evaluate", "--workdir", work, "--split", split)
        text = (work / "evaluation" / split / "60" / "report.json").read_text()
        mean = json.loads(text)["calibration"]["mean"]
        for measure in ("ece", "ece_mass", "brier"):
            assert mean[f"{measure}_after"]["value"] < mean[f"{measure}_before"]["value"]
        assert mean["ece_after"]["value"] < 0.7 * mean["ece_before"]["value"]

    run("export", "--workdir", work, "--out", bundle)
    film = synthface.film(
        7, subject=4242, path=tmp_path / "film.mp4", emotions=("happiness", "anger"), size=96,
        fps=12.5,
    ).path  # fmt: skip
    run("predict", film, "--model", bundle, "--out", tmp_path / "out")
    smooth = ("--baseline", "median", "--smooth", 0.3)
    run("predict", film, "--model", bundle, "--out", tmp_path / "smooth", *smooth)
    thresholds = json.loads((work / "evaluation/validation/60/thresholds.json").read_text())
    checked = 0
    for folder in ("out", "smooth"):
        with (tmp_path / folder / "film.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                for au, threshold in thresholds.items():
                    if row["success"] == "0":
                        continue
                    p, r, c = (float(row[f"AU{int(au):02d}_{kind}"]) for kind in "prc")
                    assert (p >= round(threshold, 4)) == (c == 1) == (r >= 1)
                    checked += 1
    assert checked > 200
