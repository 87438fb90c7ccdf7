"""tools/real_faces.py: the coding that is kept, and what is measured against one."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import write_confident

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import real_faces
import weights_adaptation
from real_faces_films import Blink, blinks_found, correlation, head_turns
from real_faces_text import lines, sheet

from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics
from jaxfacs.facs import ACTION_UNITS

HEAD = "file,frame,x,y,au,code,why,person"


def test_the_kept_coding_is_whole():
    coded = real_faces.read_coding(real_faces.CODING)
    assert len(coded) == 103
    assert all(int(au.lstrip("LR")) in ACTION_UNITS for face in coded for au in face.codes)
    assert sum(face.neutral for face in coded) >= 5
    assert all(len(row["why"]) > 3 for row in real_faces._rows(real_faces.CODING, "why"))
    films = {face.file for face in coded if face.frame is not None}
    assert set(real_faces.read_blinks(real_faces.BLINKS)) <= films


def test_neutral_needs_enough_that_were_looked_for():
    def face(**codes):
        return real_faces.Coded("a", None, (0, 0), "a", {k[1:]: v for k, v in codes.items()})

    eight = dict.fromkeys(("a1", "a2", "a4", "a5", "a6", "a9", "a10", "a12"), 0)
    assert face(**eight, a43=1).neutral  # lids are no expression
    assert not face(**eight, a25=1).neutral
    assert not face(**dict(list(eight.items())[:7])).neutral


@pytest.fixture(scope="module")
def folder(tmp_path_factory, frames, film):
    """One picture with a face, one without, and the drawn film, coded."""
    made = tmp_path_factory.mktemp("faces")
    cv2.imwrite(str(made / "face.png"), frames[0][..., ::-1])
    cv2.imwrite(str(made / "none.png"), np.full((240, 240, 3), 90, np.uint8))
    (made / "drawn.avi").write_bytes(film.read_bytes())
    rows = ["face.png,,110,120,12,1,because,a", "none.png,,110,120,12,1,because,b"]
    rows += [f"drawn.avi,{n},{110 + n // 2},120,12,{n > 34:d},because,c" for n in (1, 9, 35, 40)]
    rows += [f"drawn.avi,{n},{110 + n // 2},120,{au},0,because,c" for n in (1,) for au in (1, 45)]
    (made / "coding.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (made / "blinks.csv").write_text("file,first,last,sure\ndrawn.avi,3,4,1\n")
    return made


@pytest.fixture(scope="module")
def found(folder, bundles):
    return real_faces.score(
        bundles["frame"],
        faces=folder,
        coding=folder / "coding.csv",
        blinks=folder / "blinks.csv",
        yunet=folder / "none.onnx",
        draws=200,
    )


def test_it_measures_what_the_package_answers(found, folder, bundles):
    from jaxfacs.infer.predictor import load

    assert found["faces"] == {
        "coded": 6,
        "found": 5,
        "missed": ["none.png at 110,120"],
        "unsure": [],
    }
    row = found["aus"]["12"]
    assert (row["present"], row["absent"], row["missed"]) == (3, 2, 1)
    assert set(found["aus"]) == {"1", "12"} and found["not_answered"] == ["45"]
    assert "auc" not in found["aus"]["1"]  # nobody showed it
    predictor = load(bundles["frame"])
    read = list(predictor.video(folder / "drawn.avi"))
    p = [float(read[n - 1].faces[0].probability_A[2]) for n in (1, 9, 35, 40)]
    (still,) = predictor.video(folder / "face.png")
    truth, scores = [1, 0, 0, 1, 1], [float(still.faces[0].probability_A[2]), *p]
    wanted = metrics.roc_auc(np.array(truth)[:, None], np.array(scores)[:, None])[0]
    assert row["auc"] == pytest.approx(float(wanted))
    assert len(row["ranks_of_present"]) == 3
    assert {cell["coded"] for cell in row["wrong"]} <= {0, 1}
    film = found["films"]["drawn.avi"]
    assert film["frames"] == 40 and "with_head" not in film and film["jitter"]["12"]["mean"] >= 0


def test_it_is_told_in_lines_and_on_a_sheet(found, folder):
    text = "\n".join(lines(found))
    assert "5 of 6 coded faces found" in text and "missed: none.png at 110,120" in text
    picture = sheet(found["crops"], folder)
    assert picture.shape[1] == 9 * 150 and len(np.unique(picture)) > 50


def test_a_baseline_changes_films_alone_and_the_table_of_adaptation_sums_it(found, folder, bundles):
    flattened = real_faces.score(
        bundles["frame"],
        faces=folder,
        coding=folder / "coding.csv",
        blinks=None,
        films=False,
        draws=20,
        baseline="first:1.6",  # all of the film: its median is then the rest
    )
    picture = [
        {cell["face"]: cell["probability"] for cell in measured["aus"]["12"]["wrong"]}
        for measured in (found, flattened)
    ]
    still = [wrong.get("face.png at 110,120") for wrong in picture]
    assert still[0] == still[1]
    before, after = (weights_adaptation.summary(x) for x in (found, flattened))
    assert (before["present"], before["absent"]) == (after["present"], after["absent"]) == (3, 3)
    assert before["hits"] + before["false_alarms"] != after["hits"] + after["false_alarms"]
    told = weights_adaptation.line({"row": "x", "on": "all"} | before)
    assert f"{before['hits']} of 3" in told and f"{before['mean_auc']:.3f} (1)" in told


def test_faces_that_the_model_flags_are_told_and_left_out(folder, tmp_path):
    path = write_confident(tmp_path / "c.jaxfacs")
    found = real_faces.score(
        path, faces=folder, coding=folder / "coding.csv", blinks=None, films=False, draws=50
    )
    unsure = found["faces"]["unsure"]
    assert set(unsure) == {
        "face.png at 110,120",
        "drawn.avi frame 1 at 110,120",
        "drawn.avi frame 9 at 114,120",
    }
    assert "auc_without_unsure" not in found["aus"]["12"]  # only present ones are left
    text = "\n".join(lines(found))
    assert "3 of them are flagged" in text and "unsure: face.png" in text


def test_an_interval_holds_the_auc_and_widens_with_fewer_people():
    rng = np.random.default_rng(1)
    truth = np.tile([0, 1], 60)
    p = rng.normal(truth, 1.0)
    auc = metrics.roc_auc(truth[:, None], p[:, None])[0]
    low, high = real_faces.interval(truth, p, np.arange(120), draws=500)
    assert low < auc < high and 0.05 < high - low < 0.25
    person = np.arange(120) // 2 % 5
    by_person = p + rng.normal(0, 2, 5)[person] * truth
    low5, high5 = real_faces.interval(truth, by_person, person, draws=500)
    assert high5 - low5 > high - low
    assert real_faces.interval(truth[:2], p[:2], [0, 1], draws=100) in (None, [0, 0], [1, 1])


def test_blinks_that_are_found_missed_and_false():
    blinks = [Blink(10, 12), Blink(20, 21), Blink(30, 33, sure=False), Blink(90, 91)]
    told = blinks_found(blinks, {13, 31, 50, 52}, set(range(1, 80)))
    assert (told["coded"], told["hits"], told["missed"]) == (2, 1, [[20, 21]])
    assert told["false"] == [[50, 52]]
    assert (told["frames_shut"], told["frames_shut_called"]) == (5, 0)


def test_head_turns_tell_yaw_pitch_and_roll_apart():
    front = np.array([[40, 40], [80, 40], [60, 62], [46, 80], [74, 80]], float)
    assert head_turns(front) == pytest.approx([0, 0.55, 0])
    turned = front.copy()
    turned[2, 0] += 10
    assert head_turns(turned) == pytest.approx([0.25, 0.55, 0])
    angle = np.radians(20)
    tilt = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert head_turns(turned @ tilt.T) == pytest.approx([0.25, 0.55, 20])
    assert correlation(np.full(9, 0.4), np.arange(9)) is None


@pytest.mark.parametrize(
    "row, told",
    [
        ("a.png,,1,2,12,2,w,p", "code 2"),
        ("a.png,x,1,2,12,1,w,p", "give numbers"),
        ("a.png,,1,2,12,1,w,p\na.png,,1,2,12,0,w,p", "twice"),
    ],
)
def test_a_wrong_coding_is_one_line(tmp_path, row, told):
    path = tmp_path / "c.csv"
    path.write_text(f"{HEAD}\n{row}\n")
    with pytest.raises(UserError, match=told):
        real_faces.read_coding(path)


def test_folders_without_the_faces_are_named(tmp_path, folder, bundles, capsys):
    words = ["--model", str(bundles["frame"]), "--faces", str(tmp_path), "--no-films"]
    assert real_faces.main([*words, "--coding", str(folder / "coding.csv")]) == 2
    assert "lacks drawn.avi, face.png, none.png; give" in capsys.readouterr().err
