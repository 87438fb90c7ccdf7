"""DISFA from deliveries written here: films of two cameras, labels from 1, pictures from 0."""

import csv
import json
from pathlib import Path

import deliveries as d
import numpy as np
import pytest
from scipy.io import savemat

from jaxfacs.data.builders import disfa
from jaxfacs.faces.points import AVERAGE_68x2
from jaxfacs.faces.prepare import FaceSteps

AUS = disfa.AUS["all"]
FRAMES = 6


def grade(subject: int, au: str, frame: int) -> int:
    """The intensity that the tiny coders gave in frame `frame`, counted from 1."""
    return (subject + int(au) + frame) % 6


def expected(subject: int, frames: range | list[int]) -> np.ndarray:
    return np.array([[grade(subject, au, f) for au in AUS] for f in frames], np.float32)


def write_labels(source: Path, subject: int, *, inner: str = "", frames: int = FRAMES) -> None:
    name = f"SN{subject:03d}"
    for au in AUS:
        rows = [f"{f},{grade(subject, au, f)}" for f in range(1, frames + 1)]
        d.write_text(source / "ActionUnit_Labels" / inner / name / f"{name}_au{au}.txt", *rows)


def write_delivery(source: Path, *, camera: str = "Left", frames: int = FRAMES) -> Path:
    """SN001, SN013 and SN003: one of each part."""
    for subject in (1, 13, 3):
        write_labels(source, subject)
        film = source / f"Video_{camera}Camera" / f"{camera}VideoSN{subject:03d}_comp.avi"
        d.write_film(film, list(range(subject, subject + frames)), fps=20)
    return source


def skipped(out: Path) -> list[dict[str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_label_of_every_frame_and_the_folds(tmp_path):
    write_delivery(tmp_path / "in")
    opened = d.build("disfa", tmp_path / "in", tmp_path / "out", "--validation", "0")
    assert opened.aus == AUS
    assert set(d.clips(opened, "test")) == {"SN003:1"}
    assert set(d.clips(opened, "train")) == {"SN001:1", "SN013:1"}
    for subject in (1, 3, 13):
        clip = d.clips(opened)[f"SN{subject:03d}:1"]
        intensity_TA = expected(subject, range(1, 7))
        np.testing.assert_array_equal(clip.intensity_TA, intensity_TA)
        np.testing.assert_array_equal(clip.occurrence_TA, intensity_TA >= 2)
        assert clip.subject == f"SN{subject:03d}"
        # label 1 is the film's first frame
        assert d.shown(clip) == [d.grey(subject + t) for t in range(6)]
        np.testing.assert_allclose(clip.timestamps_T, np.arange(6) / 20, atol=1e-3)
    assert not skipped(tmp_path / "out")
    card = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert card["people"] == "disfa"


@pytest.mark.parametrize(("fold", "tested"), [("fold2", "SN013"), ("fold3", "SN001")])
def test_each_fold_tests_its_part(tmp_path, fold, tested):
    source = write_delivery(tmp_path / "in")
    delivery = disfa.read(source, disfa.Options(protocol=fold))
    splits = {r.subject: r.split for r in delivery.recordings}
    assert splits == {s: "test" if s == tested else "train" for s in ("SN001", "SN003", "SN013")}


def test_the_protocols_are_those_of_their_papers():
    parts = [set(part) for part in disfa.PARTS.values()]
    assert [len(part) for part in parts] == [9, 9, 9] and len(set.union(*parts)) == 27
    split = [set(people) for people in disfa.OPENGRAPHAU.values()]
    assert [len(people) for people in split] == [14, 4, 9] and set.union(*split) == set.union(
        *parts
    )
    dropped = {s: sum(b - a + 1 for a, b in runs) for s, runs in disfa.JAANET_DROPS.items()}
    assert 130_814 - sum(dropped.values()) == 126_144
    assert 4845 - dropped["SN021"] == 1793 and 4845 - dropped["SN023"] == 4423
    # what remains of each part in JAA-Net's lists
    rest = {
        name: sum((4844 if s == "SN010" else 4845) - dropped.get(s, 0) for s in part)
        for name, part in disfa.PARTS.items()
    }
    assert rest == {"part1": 43_173, "part2": 40_344, "part3": 42_627}


# data/DISFA/list/DISFA_weight_fold*.txt of CVI-SZU/ME-GraphAU
WEIGHTS = {
    "fold1": "1.422290 2.347771 0.399672 0.795021 1.878217 0.440125 0.195583 0.521322",
    "fold2": "1.390215 1.469573 0.527298 1.034498 1.672842 0.656650 0.303915 0.945009",
    "fold3": "1.510590 1.560063 0.475896 0.884891 1.656857 0.570937 0.277589 1.063177",
}


@pytest.mark.parametrize("fold", WEIGHTS)
def test_the_published_counts_give_the_published_class_weights(fold):
    learned = [row for other, row in disfa.COUNTED.items() if other != fold]
    frames = sum(count for count, _ in learned)
    weight_A = frames / np.sum([positives for _, positives in learned], axis=0)
    found = weight_A / weight_A.sum() * len(weight_A)
    np.testing.assert_allclose(found, np.array(WEIGHTS[fold].split(), float), atol=5.1e-7)
    # the positives of datasets' descriptions, and all 130,814 frames
    counts = disfa.BUILDER.known[0].counts
    assert counts["frames"] == sum(count for count, _ in disfa.COUNTED.values())
    assert [counts[f"AU{au}"] for au in disfa.AUS["occurrence"]] == [
        *(6506, 5644, 19933, 10327, 5473, 16851, 36247, 11533)
    ]


def test_counts_are_compared_with_the_published(tmp_path, capsys):
    source = write_delivery(tmp_path / "in")
    d.build("disfa", source, tmp_path / "out", "--validation", "0")
    told = capsys.readouterr().out
    assert "frames 18 (-130796)" in told and "frames/test 6 (-43599)" in told
    present = sum(grade(3, "1", f) >= 2 for f in range(1, 7))
    assert f"AU1/test {present} ({present - 3198})" in told
    # with other labels nothing is compared
    d.build("disfa", source, tmp_path / "other", "--validation", "0", "--present-from", "1")
    assert "published counts" not in capsys.readouterr().out


def test_frames_that_jaanet_drops_leave_a_gap(tmp_path):
    # SN002's frames 799 to 825, counted from 0, are labels 800 to 826.
    source = tmp_path / "in"
    name = "SN002"
    for au in AUS:
        rows = [f"{f},{f % 6}" for f in range(797, 830)]
        d.write_text(source / "ActionUnit_Labels" / name / f"{name}_au{au}.txt", *rows)
    for number in range(796, 829):
        d.write_picture(source / name / f"{number}.png", number)
    d.write_picture(source / name / "0.png", 0)
    opened = d.build(
        *("disfa", source, tmp_path / "out"),
        *("--frames-of", "jaanet", "--protocol", "subjects", "--validation", "0", "--test", "0"),
    )
    found = d.clips(opened)
    assert {k: d.grades(opened, c, "1") for k, c in found.items()} == {
        "SN002:797": [5.0, 0.0, 1.0],
        "SN002:827": [5.0, 0.0, 1.0],
    }
    assert d.shown(found["SN002:797"]) == [d.grey(n) for n in (796, 797, 798)]
    assert d.shown(found["SN002:827"]) == [d.grey(n) for n in (826, 827, 828)]


def test_films_that_end_early_and_the_other_camera(tmp_path):
    source = write_delivery(tmp_path / "in", camera="Right", frames=5)
    options = ("--camera", "right", "--aus", "occurrence", "--present-from", "1")
    opened = d.build("disfa", source, tmp_path / "out", *options, "--validation", "0")
    assert opened.aus == disfa.AUS["occurrence"]
    clip = d.clips(opened)["SN013:1"]
    columns = [AUS.index(au) for au in opened.aus]
    np.testing.assert_array_equal(clip.occurrence_TA, expected(13, range(1, 6))[:, columns] >= 1)
    assert sorted((r["path"], r["frame"], r["reason"]) for r in skipped(tmp_path / "out")) == [
        (f"Video_RightCamera/RightVideoSN{n:03d}_comp.avi", "6", "not in film") for n in (1, 3, 13)
    ]


@pytest.mark.parametrize("first", [0, 1])
def test_pictures_and_landmarks_from_0_or_from_1(tmp_path, first, capsys):
    source = tmp_path / "in"
    # a second folder of the same name inside, as some archives unpack
    write_labels(source, 1, inner="ActionUnit_Labels", frames=4)
    for t in range(4):
        d.write_picture(source / "images" / "SN001" / f"{t + first:05d}.png", t)
    points = np.stack([np.linspace(2, 30, 66), np.linspace(1, 20, 66)], 1)
    folder = source / "Landmark_Points" / "SN001" / "SN001" / "tmp_frame_lm"
    folder.mkdir(parents=True)
    for t in (0, 1, 3):  # 2 is missing
        savemat(folder / f"SN001_{t + first:04d}_lm.mat", {"pts": points + t})
    (folder / f"SN001_{1 + first:04d}_lm.mat").write_bytes(b"MATLAB 5.0 cut sho")
    options = ("--protocol", "subjects", "--validation", "0", "--test", "0")
    opened = d.build("disfa", source, tmp_path / "out", *options)
    (clip,) = d.clips(opened).values()
    assert d.shown(clip) == [d.grey(t) for t in range(4)]
    found = clip.landmarks_T68x2
    order = [i for i in range(68) if i not in (60, 64)]
    for t in (0, 3):  # whole 32 px pictures: the crop's pixels are the picture's
        np.testing.assert_allclose(found[t][order], points + t - 0.5, atol=1e-4)
        assert np.isnan(found[t][[60, 64]]).all()
    assert np.isnan(found[1]).all() and np.isnan(found[2]).all()
    told = capsys.readouterr().out
    assert f"numbered from {first}" in told
    assert "1 landmark files cannot be read" in told and "1 frames have no landmark file" in told


@pytest.mark.parametrize("faces", ["me-graphau", "scc"])
def test_faces_are_laid_by_the_owners_landmarks(tmp_path, capsys, faces):
    """As configs/disfa_*.py want them: the face at the same place in every crop."""
    source = tmp_path / "in"
    order = [i for i in range(68) if i not in (60, 64)]
    for subject in (1, 13):
        write_labels(source, subject, frames=2)
        name = f"SN{subject:03d}"
        for t in range(2):
            d.write_picture(source / name / f"{t}.png", t, height=96, width=96)
    # doubled folders of one person, a nested archive of another
    folder = source / "Landmark_Points/Landmark_Points/SN001/tmp_frame_lm"
    folder.mkdir(parents=True)
    for t in range(2):
        points = 8 + 4 * t + (60 + 5 * t) * AVERAGE_68x2[order]
        savemat(folder / f"SN001_{t:04d}_lm.mat", {"pts": points})
    (source / "Landmark_Points/Landmark_Points/SN013").mkdir()
    (source / "Landmark_Points/Landmark_Points/SN013/SN013.zip").touch()
    options = (
        "--faces",
        "me-graphau",
        "--protocol",
        "subjects",
        "--validation",
        "0",
        "--test",
        "0",
    )
    opened = d.build("disfa", source, tmp_path / "out", *options)
    found = d.clips(opened)
    clip = found["SN001:1"]
    assert opened.size == 256 and clip.found_T.all()
    assert not found["SN013:1"].found_T.any() and found["SN013:1"].landmarks_T68x2 is None
    first, second = clip.landmarks_T68x2
    np.testing.assert_allclose(first[order], second[order], atol=0.05)
    assert np.ptp(first[order], axis=0).min() > 100  # the face fills the crop
    assert "SN013: landmarks are still in a .zip" in capsys.readouterr().out


def test_a_missing_au_and_a_missing_row_are_unknown(tmp_path):
    source = write_delivery(tmp_path / "in")
    (source / "ActionUnit_Labels/SN001/SN001_au4.txt").unlink()
    d.write_text(source / "ActionUnit_Labels/SN001/SN001_au5.txt", "1,3", "2,9", "4,0", "5,1")
    opened = d.build("disfa", source, tmp_path / "out", "--validation", "0")
    clip = d.clips(opened)["SN001:1"]
    assert d.labels(opened, clip, "4") == [-1] * 6
    assert d.grades(opened, clip, "4") == [-1] * 6
    assert d.grades(opened, clip, "5") == [3, -1, -1, 0, 1, -1]
    assert d.labels(opened, clip, "5") == [1, -1, -1, 0, 0, -1]
    others = [AUS.index(au) for au in AUS if au not in ("4", "5")]
    np.testing.assert_array_equal(clip.intensity_TA[:, others], expected(1, range(1, 7))[:, others])
    assert [(r["path"], r["reason"]) for r in skipped(tmp_path / "out")] == [
        ("ActionUnit_Labels/SN001/SN001_au4.txt", "missing")
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("1,0", "2,x"), "line 2, column 2: 'x' is no number"),
        (("1,0", "2"), "line 2, column 2: nothing is no number"),
        (("1,0", "1,2"), "line 2: frame 1 comes twice or out of order"),
        (("0,0",), "line 1: frames should count from 1"),
        (("nan,0",), "line 1: 'nan' is no number of a frame"),
        ((), "is empty"),
    ],
)
def test_damaged_labels_are_refused_with_file_and_line(tmp_path, capsys, rows, message):
    source = write_delivery(tmp_path / "in")
    path = source / "ActionUnit_Labels/SN013/SN013_au12.txt"
    path.write_text("".join(f"{row}\n" for row in rows))
    told = d.refused(capsys, "disfa", source, tmp_path / "out")
    assert str(path) in told and message in told


def test_deliveries_that_are_not_whole_are_refused(tmp_path, capsys):
    d.write_text(tmp_path / "other" / "Emotion" / "S005" / "x.txt", "1")
    (tmp_path / "other" / "ActionUnit_Labels.zip").touch()
    told = d.refused(capsys, "disfa", tmp_path / "other", tmp_path / "out")
    assert "is not DISFA as delivered" in told and "unpack ActionUnit_Labels.zip" in told
    (tmp_path / "empty" / "ActionUnit_Labels").mkdir(parents=True)
    assert "no file like" in d.refused(capsys, "disfa", tmp_path / "empty", tmp_path / "out")
    # labels without any pictures
    write_labels(tmp_path / "half", 1)
    told = d.refused(capsys, "disfa", tmp_path / "half", tmp_path / "out")
    assert "Video_LeftCamera/LeftVideoSN001_comp.avi" in told
    # the other camera alone
    source = write_delivery(tmp_path / "right", camera="Right")
    told = d.refused(capsys, "disfa", source, tmp_path / "out")
    assert "films of the right camera alone; give --camera right" in told
    # the same labels twice
    write_labels(source, 1, inner="copy")
    told = d.refused(capsys, "disfa", source, tmp_path / "out", "--camera", "right")
    assert "hold the same labels" in told


def test_the_builder_says_how_faces_are_found():
    assert FaceSteps.parse(disfa.BUILDER.faces).detection == "haar"
