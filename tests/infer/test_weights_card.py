"""tools/weights_card.py: the card says what was measured, aims that were missed among it."""

import dataclasses
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import weights_card
import weights_card_measure as measuring
import weights_card_rows as asking
from tiny_bundle import AUS as BUNDLE_AUS
from tiny_bundle import write_confident
from weights_card_rows import Rows
from weights_card_text import compared, markdown
from weights_card_text_real import places

from jaxfacs.data.builders import synthface
from jaxfacs.data.delivery import Recording
from jaxfacs.data.records import open_set
from jaxfacs.data.writer import write_set
from jaxfacs.evaluate import metrics
from jaxfacs.faces.steps import FaceSteps
from jaxfacs.infer.predictor import load
from jaxfacs.synthface.clip import EMOTIONS, LABELS
from jaxfacs.synthface.variation import KINDS, Variation

AUS = ("1", "4", "12", "L12", "R12")


def made_rows(*, seed=0, people=30, each=4, noise=0.1, blind_above=None):
    """Answers near the truth; at random where melanin is above `blind_above`."""
    rng = np.random.default_rng(seed)
    count = people * each
    truth_NA = (rng.random((count, len(AUS))) < 0.4).astype(np.int8)
    person_N = np.repeat([f"p{i:03d}" for i in range(people)], each)
    melanin_N = np.repeat(np.exp(rng.uniform(np.log(0.2), np.log(5.5), people)), each)
    p_NA = np.clip(0.2 + 0.6 * truth_NA + rng.normal(0, noise, truth_NA.shape), 0.01, 0.99)
    if blind_above is not None:
        dark_N = melanin_N > blind_above
        p_NA[dark_N] = rng.random((dark_N.sum(), len(AUS))) * 0.98 + 0.01
    p_NA = np.round(p_NA, 2)  # ties, as in tables
    picture = cv2.imencode(".jpg", rng.integers(0, 255, (32, 32, 3), np.uint8))[1].tobytes()
    intensity_NA = np.where(truth_NA == 1, 3.0, 0.0).astype(np.float32)
    return Rows(
        aus=AUS,
        occurrence_NA=truth_NA,
        intensity_NA=intensity_NA,
        probability_NA=p_NA,
        present_NA=p_NA >= 0.5,
        graded_NA=np.where(p_NA >= 0.5, 3.0, 0.5),
        threshold_A=np.full(len(AUS), 0.5),
        confidence_N=np.round(rng.random(count), 2),
        person_N=person_N,
        clip_N=np.arange(count),
        known={"melanin": melanin_N, "hidden": np.full(count, np.nan)},
        emotion_N=np.full(count, -1),
        emotion_NE=None,
        jpeg_N=[picture] * count,
    )


def told_of(rows, **changes):
    network = {
        "name": "tried", "frames": 1, "size": 112, "crop": {"margin": 0.1}, "detector": "haar",
        "outputs": ["probability"], "aus": list(AUS), "emotions": [], "model": "m",
        "parameters": 1234567, "precision": "int8", "bytes": 2345678, "step": 77, "batch": 5,
        "jaxfacs": "9.9", "sha256": "feed", "adapts": True, "report": None, "head": "ict",
        "rendered_only": True,
    }  # fmt: skip
    data = {
        "digest": "cafe" * 4, "sets": [], "held_out_people": 30, "left_out": [], "train": None,
        "varies": {"hair": "hairstyles"}, "facts": "records", "people_checked": "digest",
    }  # fmt: skip
    return {
        "network": network, "data": data, "held_out": measuring.measure(rows, draws=60),
        "failures": measuring.failures(rows, 5), "real": None, "pictures": {},
    } | changes  # fmt: skip


def row_of(card, first):
    """Cells of the first table row that begins with this."""
    line = next(line for line in card.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_weighted_precision_is_that_of_the_rows_repeated():
    rows = made_rows(noise=0.4)
    truth_N, p_N = rows.occurrence_NA[:, 0], rows.probability_NA[:, 0]
    weight_DN = measuring.over_people(rows.person_N, draws=3)
    assert (weight_DN.sum(1) == len(truth_N)).all()  # as many people, each with all pictures
    for weight_N, found in zip(
        weight_DN, measuring.weighted_ap(truth_N, p_N, weight_DN), strict=True
    ):
        again = np.repeat(np.arange(len(truth_N)), weight_N.astype(int))
        wanted = metrics.average_precision(truth_N[again, None], p_N[again, None])[0]
        assert found == pytest.approx(wanted)


def test_the_table_says_what_was_measured():
    rows = made_rows(noise=0.3)
    told = told_of(rows)
    card, measured = markdown(told), told["held_out"]["aus"]["12"]
    cells = row_of(card, "12")
    wanted = metrics.average_precision(rows.occurrence_NA, rows.probability_NA)
    assert measured["ap"] == pytest.approx(wanted[2]) and cells[5] == f"{wanted[2]:.2f}"
    shown_N = rows.occurrence_NA[:, 2] == 1
    assert cells[1:4] == ["120", str(shown_N.sum()), str(len(set(rows.person_N[shown_N])))]
    assert cells[-1] == f"{wanted[3]:.2f}, {wanted[4]:.2f}"  # its sides have no rows of their own
    assert "| L12 |" not in card and "1,234,567 parameters" in card and "`feed`" in card
    assert row_of(card, "**mean**")[5] == f"{wanted[:3].mean():.2f}"
    assert "no threshold of confidence" in card and "Not measured: the pictures" in card


@pytest.mark.parametrize(("noise", "met"), [(0.05, True), (0.6, False)])
def test_aims_are_told_as_met_or_not(noise, met):
    card = markdown(told_of(made_rows(noise=noise)))
    for aim in ("mean AP of 0.90", r"mean ICC\(3,1\) of the intensities of 0.80"):
        assert re.search(rf"{aim}: (\*\*)?(met|not met)", card)
        assert bool(re.search(rf"{aim}: met", card)) is met


def test_groups_differ_where_the_network_is_blind_and_only_there():
    fair = measuring.measure(made_rows(people=150, noise=0.25), draws=100)["groups"]
    blind = measuring.measure(made_rows(people=150, noise=0.25, blind_above=2.9), draws=100)
    (skin,) = blind["groups"]  # nothing is known of what is hidden: no table
    assert skin["bands"][4]["ap"] < 0.7 < skin["bands"][0]["ap"]
    assert skin["apart"]["worst"] == skin["bands"][4]["band"]
    assert "more than chance" in compared(skin) and "chance alone" in compared(fair[0])


def test_confidence_is_compared_with_what_is_right():
    rows = made_rows(noise=0.5)
    right_N = measuring.right_of(rows)
    y, called = rows.occurrence_NA[0] == 1, rows.present_NA[0]
    assert right_N[0] == pytest.approx((y & called).sum() / max((y | called).sum(), 1))
    told = measuring.measure(
        dataclasses.replace(rows, confidence_N=right_N), least_confidence=0.5, draws=20
    )["confidence"]
    assert told["error"] == pytest.approx(0, abs=1e-9) and told["correlation"] > 0.999
    assert told["flagged"] == (right_N < 0.5).sum() and told["right_flagged"] < 0.5


def test_failures_are_wrong_sure_and_of_different_people():
    rows = made_rows(noise=0.5)
    found = measuring.failures(rows, 3)
    assert len({rows.person_N[f["row"]] for f in found}) == len(found) == 3
    for wrong in found:
        truth = rows.occurrence_NA[wrong["row"], AUS.index(wrong["au"])]
        assert wrong["false"] == (truth == 0) and wrong["au"] in AUS[:3]
        assert (wrong["probability"] >= 0.5) == wrong["false"]
    sheet = weights_card.failure_sheet(rows, found, 40)
    assert sheet.shape == (40 + 33, 8 * 40, 3)


def test_real_faces_are_told_with_aims_and_small_counts():
    row = {"label": "12", "present": 3, "absent": 9, "missed": 0, "people_present": 3,
           "people_absent": 4, "auc": 0.97, "average_precision": 0.9, "auc_over_faces": [0.9, 1.0],
           "auc_over_people": None, "threshold": 0.4, "hits": 2, "false_alarms": 0,
           "ranks_of_present": [], "wrong": [{"face": "a.jpg at 5,6", "coded": 1,
                                              "probability": 0.125}]}  # fmt: skip
    real = {
        "detector": "haar", "people": 7, "not_answered": ["19"], "aus": {"12": row}, "films": {},
        "faces": {"coded": 13, "found": 12, "missed": ["b.mp4 frame 3 at 1,2"], "unsure": []},
        "neutral": {"faces": 4, "people": 2, "fires_on_faces": {"12": 3, "L12": 2},
                    "fires_on_people": {"12": 1, "L12": 0}, "on_most": ["12"]},
    }  # fmt: skip
    card = markdown(told_of(made_rows(), real=real))
    line = next(line for line in card.splitlines() if line.startswith("| 12 | 3 (3)"))
    assert line.endswith("| 0.98 | **not met**, by few people |") and "0.90 to 1.00 | - |" in line
    card = " ".join(card.split())
    assert "AU 12 is shown by fewer" in card and "12 on 3." in card and "L12 on" not in card
    assert "a.jpg 5,6 (0.12)" in card and "b.mp4 frame 3" in card
    assert places([("c.mp4 frame 3 at 1,2", 0.5), ("c.mp4 frame 4 at 1,2", 0.25)]) == (
        "c.mp4 frame 3 (0.50), frame 4 (0.25)"
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Three people as the builder makes them, without its processes."""
    job = synthface.RenderJob(
        seed=3, fps=25.0, head=None, near_frontal=False, variation=Variation.naive(),
        steps=FaceSteps.boxed("boxes", size=32), jitter=True, quality=90,
    )  # fmt: skip
    made = {
        split: job(Recording(split, "", synthface.Sitting(range(2 * k, 2 * k + 2), k, 1))).clips
        for k, split in enumerate(("train", "validation", "test"))
    }
    settings = {"clips": 6, "subjects": 3, "seed": 3, "frames": 1, "fps": 25.0, "quality": 90,
                "head": "builtin", "near_frontal": False, "jitter": True,
                "without": list(KINDS)}  # fmt: skip
    path = tmp_path_factory.mktemp("stored") / "set"
    return write_set(
        path, made, aus=LABELS, emotions=EMOTIONS, name="synthface", settings=settings,
        crop=job.steps.card, visible=True, attributes=synthface.ATTRIBUTES,
    )  # fmt: skip


def test_a_bundle_is_asked_about_records(stored, tmp_path):
    """All the way from files to a card, with a network that learned nothing."""
    path = write_confident(tmp_path / "tiny.jaxfacs", per_frame=False)
    out = tmp_path / "CARD.md"
    arguments = ["--model", str(path), "--records", str(stored), "--no-faces"]
    assert not weights_card.main([*arguments, "--out", str(out), "--images", str(tmp_path)])
    card = " ".join(out.read_text().split())
    opened = open_set(stored)
    assert f"{opened.splits['test']} pictures of 1 people" in card
    assert (
        "](weights_tiny_renders.png)" in card and (tmp_path / "weights_tiny_renders.png").exists()
    )
    assert "of whom nothing says whether it learned from them" in card
    assert "did not learn from renders alone" in card  # a bundle that tells of no data
    known, source = asking.facts(opened, "test", None)
    rows = asking.read(load(path), opened, "test", known)
    assert source == "records" and rows.aus == BUNDLE_AUS and rows.confidence_N is not None
    maker = asking._Maker.of(opened, None)
    # What earlier records do not say is drawn again: it is the same.
    drawn = maker.facts(opened.clip("test", 0).clip_id)
    np.testing.assert_allclose(drawn, [known[k][0] for k in synthface.ATTRIBUTES], rtol=1e-5)
    assert asking.same_again(opened, "test", None)


def test_what_varies_is_said_by_the_renderer():
    found = weights_card.varieties()
    assert found["hair"] == "hairstyles and their colours" and len(found) == 12
