"""Networks without AUs, from a table of pictures to a table of answers."""

import csv
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

import jaxfacs
from jaxfacs import cli
from jaxfacs.infer.tables.layouts import BOX

EMOTIONS = ("anger", "happiness")
CONFIG = """
from jaxfacs.data.config import DataConfig
from jaxfacs.train.config import *


def get_config():
    return Experiment(
        data=DataConfig(source="RECORDS", frames=1, size=16, batch_size=8, threads=1),
        model=ModelConfig(name="tiny", module="tiny_model", occurrence=False, ANSWERS),
        optim=OptimConfig(name="adam", learning_rate=2e-2, schedule="constant"),
        checkpoint=CheckpointConfig(every=60, metric="METRIC"),
        evaluation=EvaluationConfig(every=60),
        steps=60,
    )
"""
KINDS = {
    "emotion": ("emotion=True", "emotion_accuracy"),
    "affect": ("valence_arousal=True", "mean_affect_ccc"),
    "both": ("emotion=True, valence_arousal=True, per_frame=True", "mean_affect_ccc"),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """Pictures that are the brighter the happier; a column of AUs is not there."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    rows = []
    splits = {"train": 40, "validation": 16, "test": 16}
    for split, count in splits.items():
        for i in range(count):
            valence = float(rng.uniform(-1, 1))
            level = 128 + 80 * valence + rng.normal(0, 8, (24, 24, 3))
            name = f"{split}_{i}.png"
            cv2.imwrite(str(folder / name), np.clip(level, 0, 255).astype(np.uint8))
            known = i % 5 > 0
            rows.append(
                {
                    "image": name,
                    "subject": f"{split}{i}",
                    "split": split,
                    "emotion": EMOTIONS[int(valence > 0)] if i % 7 else "",
                    "valence": f"{valence:.3f}" if known else "-2",
                    "arousal": f"{-valence:.3f}" if known else "",
                }
            )
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    out = folder.with_name("records")
    words = ["--source", folder, "--out", out, "--frames", 1, "--size", 16, "--faces", "none"]
    assert cli.main(["data", "build", "folder", *map(str, words), "--workers", "1"]) == 0
    return out


def test_records_without_aus_are_shown(records, capsys):
    assert cli.main(["data", "show", str(records)]) == 0
    assert "happiness" in capsys.readouterr().out


@pytest.fixture(scope="module", params=KINDS)
def run(request, records, tmp_path_factory):
    """(kind, work directory, bundle) of a network trained, evaluated and exported."""
    answers, metric = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    text = CONFIG.replace("RECORDS", str(records)).replace("ANSWERS", answers)
    (folder / "config.py").write_text(text.replace("METRIC", metric))
    work, model = folder / "run", folder / "model.jaxfacs"
    assert cli.main(["train", str(folder / "config.py"), "--workdir", str(work)]) == 0
    assert cli.main(["evaluate", "--workdir", str(work), "--split", "test"]) == 0
    assert cli.main(["export", "--workdir", str(work), "--out", str(model)]) == 0
    return request.param, work, model


def test_report_measures_what_is_answered(run):
    kind, work, _ = run
    folder = work / "evaluation" / "test" / "60"
    report = json.loads((folder / "report.json").read_text())
    assert "per_au" not in report and "thresholds" not in report
    assert ("emotion" in report) == (kind != "affect")
    assert ("affect" in report) == (kind != "emotion")
    page = (folder / "report.md").read_text()
    if "emotion" in report:
        assert report["emotion"]["accuracy"] > 0.8 and "mean recall" in page
        assert (folder / "emotion_confusion.png").is_file()
    if "affect" in report:
        valence, arousal = report["affect"]["per_dimension"]
        assert valence["known"] == arousal["known"] == 12
        assert valence["ccc"] > 0.7 and arousal["ccc"] > 0.7 and "| valence |" in page


def test_training_followed_the_metric_that_was_named(run):
    kind, work, _ = run
    lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "validation"][-1]
    assert last[KINDS[kind][1]] > 0.6
    assert not any("AU" in key or key == "f1" for key in last)


def test_table_has_the_columns_of_the_answers_and_no_others(run, tmp_path):
    kind, _, model = run
    cartoon = runpy.run_path(str(Path(__file__).parents[1] / "faces" / "cartoon.py"))
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), cartoon["cartoon_face"](centre=(110, 120))[..., ::-1])
    words = [picture, "--model", model, "--out", tmp_path / "out", "--overlay"]
    assert cli.main(["predict", *map(str, words)]) == 0
    with (tmp_path / "out" / "face.csv").open() as file:
        header, row = csv.reader(file)
    affect = ["valence", "arousal"] if kind != "emotion" else []
    emotions = list(EMOTIONS) if kind != "affect" else []
    assert header[5:] == [*affect, *emotions, *BOX]
    cells = dict(zip(header, row, strict=True))
    assert cells["success"] == "1"
    if emotions:
        assert sum(float(cells[e]) for e in EMOTIONS) == pytest.approx(1, abs=0.01)
    assert (tmp_path / "out" / "face.overlay.jpg").is_file()


def test_the_bundle_answers_any_batch(run):
    kind, _, model = run
    predictor = jaxfacs.load(model)
    assert predictor.aus == () and predictor.valence_arousal == (kind != "emotion")
    dark, bright = np.full((2, 1, 16, 16, 3), [[[[[40]]]], [[[[210]]]]], np.uint8)
    answered = predictor.run(np.stack([dark, bright, bright]))
    assert answered["probability"].shape == (3, 0)
    if kind != "emotion":
        valence, arousal = answered["valence_arousal"].T
        assert valence[0] < 0 < valence[1] and arousal[1] < 0 < arousal[0]
    if kind != "affect":
        assert answered["emotion"].argmax(-1).tolist() == [0, 1, 1]


def test_emotions_that_no_record_names_are_refused(tmp_path, capfd):
    from jaxfacs.data.records import clip_from_arrays, write_set

    frames = np.zeros((1, 16, 16, 3), np.uint8)
    labels = {"occurrence_TA": np.zeros((1, 0), np.int8)}
    clips = {
        split: [clip_from_arrays(frames, clip_id=split, subject=split, **labels)]
        for split in ("train", "validation")
    }
    source = write_set(tmp_path / "records", clips, aus=())
    text = CONFIG.replace("RECORDS", str(source)).replace("ANSWERS", "emotion=True")
    (tmp_path / "config.py").write_text(text)
    words = ["train", str(tmp_path / "config.py"), "--workdir", str(tmp_path / "run")]
    assert cli.main(words) == 2
    assert "names no emotions" in capfd.readouterr().err
    balanced = [*words, "--model.valence-arousal", "True", "--model.emotion", "False"]
    assert cli.main([*balanced, "--data.balance", "0.5"]) == 2
    assert "these records have none" in capfd.readouterr().err


def test_asking_for_nothing_is_refused(records, tmp_path, capfd):
    text = CONFIG.replace("RECORDS", str(records)).replace(", ANSWERS", "")
    (tmp_path / "config.py").write_text(text.replace("tiny", "mobilenet3d_v1", 1))
    words = ["train", str(tmp_path / "config.py"), "--workdir", str(tmp_path / "run")]
    assert cli.main(words) == 2
    assert "asked for nothing" in capfd.readouterr().err
