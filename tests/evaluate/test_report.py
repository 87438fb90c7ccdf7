"""The report is whole, says what the measures say, and survives labels that say nothing."""

import json
import os

import cv2
import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics, plots, report

AUS = ("1", "12", "L12", "3")
EMOTIONS = ("happiness", "sadness", "neutral")


@pytest.fixture
def arrays():
    rng = np.random.default_rng(5)
    truth = rng.integers(-1, 2, (120, len(AUS)))
    truth[:, 2] = -1  # nobody coded it
    truth[:, 3] = 0  # it never occurs
    probability = np.clip(0.4 * np.maximum(truth, 0) + 0.6 * rng.random(truth.shape), 0, 1)
    return {"occurrence_NA": truth, "probability_NA": probability.astype(np.float32)}


@pytest.fixture
def extras():
    rng = np.random.default_rng(6)
    intensity = rng.uniform(0, 5, (120, len(AUS)))
    return {
        "intensity_NA": intensity,
        "predicted_intensity_NA": intensity + 0.5,
        "emotions": EMOTIONS,
        "emotion_N": rng.integers(-1, 3, 120),
        "emotion_probability_NE": rng.dirichlet(np.ones(3), 120),
    }


def strict_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_report_says_what_the_measures_say(tmp_path, arrays, extras):
    thresholds = np.array([0.3, 0.6, 0.5, 0.5], np.float32)
    returned = report.write(
        tmp_path / "a" / "b",
        aus=AUS,
        thresholds=thresholds,
        meta={"step": 7, "digest": "abc", "loss": float("nan")},
        **arrays,
        **extras,
    )
    folder = tmp_path / "a" / "b"
    content = strict_json(folder / "report.json")
    assert content == returned
    assert content["meta"] == {"step": 7, "digest": "abc", "loss": None}
    first = content["per_au"][0]
    truth, probability = arrays["occurrence_NA"], arrays["probability_NA"]
    assert (first["au"], first["name"]) == ("1", "Inner brow raiser")
    assert first["average_precision"] == metrics.average_precision(truth, probability)[0]
    assert first["f1"] == metrics.f1(truth, probability, threshold=thresholds)[0]
    assert first["f1_at_half"] == metrics.f1(truth, probability)[0]
    assert first["chance_ap"] == pytest.approx((truth[:, 0] == 1).sum() / (truth[:, 0] >= 0).sum())
    assert content["mean"]["average_precision"]["aus"] == 2
    assert content["mean"]["average_precision"]["value"] == pytest.approx(
        np.nanmean(metrics.average_precision(truth, probability))
    )
    # The chance beside a mean AP is over the same AUs as that mean.
    assert content["mean"]["chance_ap"]["aus"] == 2
    assert content["per_au"][2]["accuracy"] is None
    assert content["per_au"][2]["name"] == "Lip corner puller, left"
    assert content["intensity"]["mean"]["mae"]["value"] == pytest.approx(0.5)
    confusion = np.array(content["emotion"]["confusion"])
    assert confusion.sum() == (extras["emotion_N"] >= 0).sum()
    assert content["emotion"]["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())


def test_page_shows_the_table_and_its_pictures(tmp_path, arrays, extras):
    report.write(tmp_path, aus=AUS, meta={"split": "test"}, **arrays, **extras)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| 12 |")]
    ap = metrics.average_precision(arrays["occurrence_NA"], arrays["probability_NA"])[1]
    assert f"{ap:.4f}" in rows[0] and "Lip corner puller" in rows[0]
    assert "- split: test" in page and "without AP: AU L12, 3." in page and "nan" not in page
    pictures = {"pr_curves.png", "confusion.png", "emotion_confusion.png"}
    assert {*os.listdir(tmp_path)} == pictures | {"report.json", "report.md"}
    for name in pictures:
        assert name in page
        picture = cv2.imread(str(tmp_path / name))
        assert picture.shape[0] > 200 and picture.std() > 5


def test_page_says_which_data_thresholds_were_tuned_on(tmp_path, arrays):
    where = "tuned on validation, this very split"
    content = report.write(tmp_path, aus=AUS, tuned_on=where, **arrays)
    assert content["thresholds"] == where
    assert f"Thresholds: {where}." in (tmp_path / "report.md").read_text()
    assert report.write(tmp_path, aus=AUS, **arrays)["thresholds"] == "0.5, not tuned"


def test_affect_and_emotions_make_a_report_without_aus(tmp_path, extras):
    rng = np.random.default_rng(7)
    truth = rng.uniform(-1, 1, (120, 2))
    truth[:30, 0] = np.nan
    said = np.clip(np.nan_to_num(truth) + rng.normal(0, 0.3, truth.shape), -1, 1)
    emotions = {key: value for key, value in extras.items() if key.startswith("emotion")}
    content = report.write(
        tmp_path, valence_arousal_N2=truth, predicted_valence_arousal_N2=said, **emotions
    )
    assert content.keys() == {"format", "meta", "affect", "emotion"}
    valence, arousal = content["affect"]["per_dimension"]
    assert (valence["dimension"], valence["known"], arousal["known"]) == ("valence", 90, 120)
    x, y = truth[30:, 0], said[30:, 0]
    error = x - y
    assert valence["mse"] == pytest.approx((error**2).mean())
    assert valence["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert valence["pcc"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    concordance = (
        2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    )
    assert valence["ccc"] == pytest.approx(concordance)
    mean = content["affect"]["mean"]["ccc"]
    assert mean == {"value": pytest.approx((valence["ccc"] + arousal["ccc"]) / 2), "aus": 2}
    page = (tmp_path / "report.md").read_text()
    assert "## Valence and arousal" in page and "## Emotions" in page and "Occurrence" not in page
    assert {*os.listdir(tmp_path)} == {"report.json", "report.md", "emotion_confusion.png"}


def test_aus_without_their_predictions_are_refused(tmp_path, arrays):
    with pytest.raises(ValueError, match="4 AUs without"):
        report.write(tmp_path, aus=AUS, occurrence_NA=arrays["occurrence_NA"])


def test_all_unknown_and_padded_labels_make_a_report(tmp_path, arrays):
    unknown = np.full_like(arrays["occurrence_NA"], -1)
    content = report.write(
        tmp_path, aus=AUS, occurrence_NA=unknown, probability_NA=arrays["probability_NA"]
    )
    assert content["examples"] == 0 and content["mean"]["f1"] == {"value": None, "aus": 0}
    content = report.write(tmp_path, aus=AUS, weight_N=np.r_[1, np.zeros(119)], **arrays)
    assert content["examples"] == 1
    none = {"occurrence_NA": np.zeros((0, 4), int), "probability_NA": np.zeros((0, 4))}
    assert report.write(tmp_path, aus=AUS, **none)["examples"] == 0


def test_a_report_that_fails_midway_does_not_look_whole(tmp_path, arrays, monkeypatch):
    report.write(tmp_path, aus=AUS, **arrays)

    def full_disk(path, **_):
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plots, "confusion_sheet", full_disk)
    with pytest.raises(UserError, match="No space left"):
        report.write(tmp_path, aus=AUS, **arrays)
    assert not (tmp_path / "report.json").exists()
    assert not [
        name for name in os.listdir(tmp_path) if name.endswith(".tmp") or name.startswith(".part-")
    ]
    assert (tmp_path / "confusion.png").read_bytes() != b"half a picture"


def test_a_file_in_the_place_of_the_folder(tmp_path, arrays):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UserError, match="choose another folder"):
        report.write(tmp_path / "taken", aus=AUS, **arrays)


def test_labels_that_do_not_fit(tmp_path, arrays):
    with pytest.raises(ValueError, match="4\\) for 2 AUs"):
        report.write(tmp_path, aus=AUS[:2], **arrays)
    assert not os.listdir(tmp_path)
