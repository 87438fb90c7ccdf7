"""DISFA+ from deliveries written here: two header lines, "000.jpg  3", trials of posed AUs."""

import csv
import json
from pathlib import Path

import deliveries as d
import numpy as np
import pytest

from jaxfacs.data import splits
from jaxfacs.data.builders import disfa_plus
from jaxfacs.errors import UserError
from jaxfacs.faces.prepare import FaceSteps

AUS = disfa_plus.AUS["all"]
TRIALS = {
    "SN001": ("A1_AU1_TrailNo_1", "A5_AU1_4b_TrailNo_1"),
    "SN003": ("Y_HappyDescribed_TrailNo_1",),
    "SN025": ("B2_AU6_TrailNo_2",),
}


def grade(subject: str, trial: str, au: str, frame: int) -> int:
    return (len(trial) + int(subject[2:]) + int(au) + frame) % 6


def write_trial(source: Path, subject: str, trial: str, *, frames: int = 4, inner: str = ""):
    for au in AUS:
        rows = [f"{f:03d}.jpg     {grade(subject, trial, au, f)}" for f in range(frames)]
        path = source / "Labels" / subject / inner / trial / f"AU{au}.txt"
        d.write_text(path, "# DISFA+", "#Frame    Intensity", *rows)
    for f in range(frames):
        d.write_picture(
            source / "Images" / subject / inner / trial / f"{f:03d}.jpg", f + len(trial)
        )
    d.write_text(source / "Images" / subject / inner / trial / "TimeStamp.txt", "0.00")


def write_delivery(source: Path) -> Path:
    for subject, trials in TRIALS.items():
        for trial in trials:
            # one person's folders are doubled
            write_trial(source, subject, trial, inner=subject if subject == "SN025" else "")
    return source


def skipped(out: Path) -> list[dict[str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_label_of_every_trial(tmp_path):
    source = write_delivery(tmp_path / "in")
    d.write_picture(source / "Images/SN001/A1_AU1_TrailNo_1/004.jpg", 9)
    options = ("--test-subject", "SN003", "--validation", "0")
    opened = d.build("disfa_plus", source, tmp_path / "out", *options)
    assert opened.aus == AUS
    assert set(d.clips(opened, "test")) == {"SN003/Y_HappyDescribed_TrailNo_1:0"}
    found = d.clips(opened)
    assert set(found) == {f"{s}/{t}:0" for s, trials in TRIALS.items() for t in trials}
    for subject, trials in TRIALS.items():
        for trial in trials:
            clip = found[f"{subject}/{trial}:0"]
            intensity_TA = np.array(
                [[grade(subject, trial, au, f) for au in AUS] for f in range(4)], np.float32
            )
            np.testing.assert_array_equal(clip.intensity_TA, intensity_TA)
            np.testing.assert_array_equal(clip.occurrence_TA, intensity_TA >= 2)
            assert clip.subject == subject
            assert d.shown(clip) == [d.grey(f + len(trial)) for f in range(4)]
            np.testing.assert_allclose(clip.timestamps_T, np.arange(4) / 20)
    assert [(r["path"], r["reason"]) for r in skipped(tmp_path / "out")] == [
        ("Images/SN001/A1_AU1_TrailNo_1/004.jpg", "no label")
    ]
    assert json.loads((tmp_path / "out" / "labels.json").read_text())["people"] == "disfa"


def test_missing_files_rows_and_pictures(tmp_path):
    source = write_delivery(tmp_path / "in")
    labels = source / "Labels/SN001/A1_AU1_TrailNo_1"
    (labels / "AU2.txt").unlink()
    d.write_text(labels / "AU4.txt", "#", "#", "000.jpg  5", "001.jpg  9", "003.jpg  1")
    (source / "Images/SN001/A5_AU1_4b_TrailNo_1/001.jpg").unlink()
    broken = source / "Images/SN001/A5_AU1_4b_TrailNo_1/003.jpg"
    broken.write_bytes(broken.read_bytes()[:60])
    d.write_text(source / "Labels/SN003/Y_HappyDescribed_TrailNo_1/AU1.txt", "#", "#", "000.jpg x")
    options = ("--present-from", "1", "--validation", "0", "--test", "0")
    opened = d.build("disfa_plus", source, tmp_path / "out", *options)
    found = d.clips(opened)
    clip = found["SN001/A1_AU1_TrailNo_1:0"]
    assert d.grades(opened, clip, "2") == [-1] * 4 == d.labels(opened, clip, "2")
    assert d.grades(opened, clip, "4") == [5, -1, -1, 1]
    assert d.labels(opened, clip, "4") == [1, -1, -1, 1]
    # a missing picture is a gap: the clip ends there
    assert {k for k in found if "A5" in k} == {
        "SN001/A5_AU1_4b_TrailNo_1:0",
        "SN001/A5_AU1_4b_TrailNo_1:2",
    }
    after = found["SN001/A5_AU1_4b_TrailNo_1:2"]
    assert d.shown(after) == [d.grey(2 + len("A5_AU1_4b_TrailNo_1"))]
    assert d.grades(opened, after, "6") == [grade("SN001", "A5_AU1_4b_TrailNo_1", "6", 2)]
    assert not [k for k in found if k.startswith("SN003")]
    rows = {(r["path"], r["frame"], r["reason"].split(":")[0]) for r in skipped(tmp_path / "out")}
    assert rows == {
        ("Labels/SN001/A1_AU1_TrailNo_1/AU2.txt", "", "missing"),
        ("Images/SN001/A5_AU1_4b_TrailNo_1/001.jpg", "1", "missing"),
        ("Images/SN001/A5_AU1_4b_TrailNo_1/003.jpg", "3", "unreadable"),
        ("Images/SN003/Y_HappyDescribed_TrailNo_1", "", "unreadable labels"),
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("000.jpg 1", "000.jpg 2"), "line 4: 000.jpg comes twice"),
        (("../../../etc/000.jpg 1",), "is no picture and its grade"),
        (("000.jpg",), "line 3: '000.jpg' is no picture and its grade"),
        ((), "holds no grades"),
        (("000.jpg 1", "00.jpg 1"), "are the same frame"),
    ],
)
def test_when_no_trial_is_readable_the_first_mistake_is_told(tmp_path, capsys, rows, message):
    source = tmp_path / "in"
    write_trial(source, "SN001", "A1_AU1_TrailNo_1")
    path = d.write_text(source / "Labels/SN001/A1_AU1_TrailNo_1/AU12.txt", "#", "#", *rows)
    told = d.refused(capsys, "disfa_plus", source, tmp_path / "out")
    assert str(path) in told and message in told


def test_what_is_not_disfa_plus_is_refused(tmp_path, capsys):
    (tmp_path / "disfa" / "ActionUnit_Labels").mkdir(parents=True)
    told = d.refused(capsys, "disfa_plus", tmp_path / "disfa", tmp_path / "out")
    assert "is not DISFA+ as delivered" in told and "ActionUnit_Labels" in told
    source = write_delivery(tmp_path / "in")
    told = d.refused(capsys, "disfa_plus", source, tmp_path / "out", "--test-subject", "SN002")
    assert "SN002 is none of SN001, SN003, SN025" in told
    write_trial(source, "SN001", "A1_AU1_TrailNo_1", inner="copy")
    told = d.refused(capsys, "disfa_plus", source, tmp_path / "out")
    assert "hold the same labels" in told


def test_folds_of_sorted_people():
    people = [f"S{n:03d}" for n in (7, 1, 3, 5, 9, 2)]
    tested = [
        [s for s, split in splits.every_nth(people, fold=k, folds=4).items() if split == "test"]
        for k in (1, 2, 3, 4)
    ]
    assert tested == [["S001", "S007"], ["S002", "S009"], ["S003"], ["S005"]]
    with pytest.raises(UserError, match="6 people cannot be dealt into 10 folds"):
        splits.every_nth(people, fold=1, folds=10)
    with pytest.raises(UserError, match="or the only one"):
        splits.one_tested("S001", ["S001", "S001"])


def test_the_builder_says_how_faces_are_found():
    assert FaceSteps.parse(disfa_plus.BUILDER.faces).detection == "haar"
