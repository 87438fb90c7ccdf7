"""A network's own confidence: in its column, flagged below the threshold; nothing else moves."""

import csv
import json

import numpy as np
import pytest
from tiny_bundle import FRAMES, write_confident

from jaxfacs import cli
from jaxfacs.infer import bundle
from jaxfacs.infer.predictor import load


def test_the_lower_of_both_confidences_is_told(tmp_path, frames, bundles):
    predictor = load(write_confident(tmp_path / "c.jaxfacs", emotion=True))
    plain = load(write_confident(tmp_path / "p.jaxfacs", threshold=None))
    blushed = frames[:4] + frames[36:]
    read, least = predictor.predict(blushed), plain.predict(blushed)
    found = load(bundles["frame"]).predict(blushed)  # whose confidence is the detector's
    crops = [predictor.crop(f, r.faces[0].box_4) for f, r in zip(blushed, read, strict=True)]
    own = predictor.run(np.stack(crops)[None])["confidence"]
    assert own.shape == (1, FRAMES, 1)
    lower = set()
    for n, (one, other, detected) in enumerate(zip(read, least, found, strict=True)):
        face, same, detector = one.faces[0], other.faces[0], detected.faces[0].confidence
        assert face.confidence == pytest.approx(min(own[0, n, 0], detector), abs=1e-5)
        lower.add(detector < own[0, n, 0])
        assert face.unsure == (round(face.confidence, 2) < 0.4)
        assert not same.unsure and same.confidence == face.confidence
        np.testing.assert_array_equal(face.probability_A, same.probability_A)
        assert face.emotion_E.shape == (2,) and face.emotion_E.sum() == pytest.approx(1, abs=2e-3)
    assert lower == {True, False}


def test_one_answer_a_clip_has_one_confidence(tmp_path, frames):
    predictor = load(write_confident(tmp_path / "c.jaxfacs", per_frame=False))
    first, *_, last = predictor.predict(frames[:20])
    assert first.faces[0].confidence < last.faces[0].confidence
    live = predictor.live()
    clips = live.look(frames[0], 0.0, 1)
    assert live.answer(predictor.run(clips)).faces[0].confidence < 0.1


def test_the_table_can_be_cut_at_the_threshold(tmp_path, film, capsys):
    path = write_confident(tmp_path / "c.jaxfacs")
    assert cli.main(["predict", str(film), "--model", str(path), "--out", str(tmp_path)]) == 0
    with (tmp_path / "drawn.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["face_id"] != "-1"]
    told = json.loads((tmp_path / "drawn.json").read_text())
    assert told["settings"]["confidence_threshold"] == 0.4
    unsure = [row for row in rows if float(row["confidence"]) < 0.4]
    assert 0 < len(unsure) == told["unsure_faces"] < len(rows)
    assert all(row["success"] == "1" and row["AU12_p"] for row in unsure)
    assert f"{len(unsure)} answers unsure" in capsys.readouterr().out


def test_bundles_without_are_as_they_were(bundles, frames, tmp_path):
    kept = bundle.read(bundles["frame"])
    assert kept.confidence_threshold is None and "confidence_threshold" not in kept.manifest
    face = load(bundles["frame"]).predict(frames[:1])[0].faces[0]
    assert not face.unsure and face.confidence > 0.5
    with pytest.raises(ValueError, match="threshold of confidence"):
        write_confident(tmp_path / "x.jaxfacs", threshold=1.5)
