"""Aff-Wild2: three challenges by film, the multi-task files, crops and films."""

from pathlib import Path

import deliveries
import numpy as np
import pytest

from jaxfacs.data.builders import aff_wild2
from jaxfacs.faces.prepare import FaceSteps

EDITION = "6th ABAW Annotations"
AU_HEADER = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
EXPRESSIONS = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
FOLDERS = {
    "au": "AU_Detection_Challenge",
    "expression": "EXPR_Classification_Challenge",
    "va": "VA_Estimation_Challenge",
}


def aus(**present: int) -> str:
    """A row of labels: AU12=1 present, the others absent, or all alike with every=-1."""
    every = present.pop("every", 0)
    return ",".join(str(present.get(name, every)) for name in AU_HEADER.split(","))


def write(root: Path, task: str, split: str, video: str, header: str, *rows: str) -> Path:
    folder = root / EDITION / FOLDERS[task] / f"{split}_Set"
    return deliveries.write_text(folder / f"{video}.txt", header, *rows)


def write_crops(root: Path, video: str, *numbers: int, top: str = "cropped_aligned") -> None:
    for number in numbers:
        deliveries.write_picture(root / top / video / f"{number:05d}.jpg", number)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "Aff-Wild2"
    # Frame 3 has no crop, nothing is known of frame 5, and frame 7 is not labelled.
    au = [aus(AU1=1, AU12=1), aus(AU12=1), aus(), aus(AU26=1, AU25=-1), aus(every=-1), aus(AU2=1)]
    write(root, "au", "Train", "video1", AU_HEADER, *au)
    write_crops(root, "video1", 1, 2, 4, 5, 6, 7)
    (root / "cropped_aligned" / "video1" / "99999999999999999999.jpg").touch()
    (root / "cropped_aligned" / "video1" / "00003.txt").touch()
    write(root, "au", "Validation", "10-60_left", AU_HEADER, aus(AU4=1))
    write(root, "au", "Validation", "10-60_right", AU_HEADER, aus(AU6=1), aus(AU7=1))
    write_crops(root, "10-60_left", 1)
    write_crops(root, "10-60_right", 1, 2)
    # Expressions of video1 begin in the same frames; its film validates in that challenge.
    write(root, "expression", "Validation", "video1", EXPRESSIONS, "0", "4", "4", "4", "-1", "7")
    write(root, "expression", "Train", "video9", EXPRESSIONS, "6", "", "6")  # nothing of frame 2
    write_crops(root, "video9", 1, 2, 3, top="cropped_aligned_new_50_vids")
    va = ["0.5,-0.25", "-5,-5", "0,0", "-5,-5", "-0.125,1", "-5,-5"]
    write(root, "va", "Train", "video1", "valence,arousal", *va)
    write(root, "va", "Train", "video9", "valence,arousal", "0.5,0.5", "0.25,0.25", "0,1")
    write(root, "va", "Validation", "video8", "valence,arousal", "1,-1")
    write_crops(root, "video8", 1)
    deliveries.write_text(root / "names_of_videos_in_each_test_set" / "AU.txt", "video77")
    return root


def build(source: Path, out: Path, *options: str):
    return deliveries.build("aff_wild2", source, out, *options)


def occurrence(opened, clip) -> list[str]:
    """Labels of each frame as `aus` writes them."""
    assert opened.aus == tuple(name.removeprefix("AU") for name in AU_HEADER.split(","))
    return [",".join(map(str, frame)) for frame in clip.occurrence_TA.tolist()]


def test_the_au_challenge(source, tmp_path, capsys):
    opened = build(source, tmp_path / "out")
    assert opened.emotions == ()
    train, validation = (deliveries.clips(opened, split) for split in ("train", "validation"))
    assert set(train) == {"video1:1", "video1:4", "video1:6"}
    found = {
        key: (clip.subject, occurrence(opened, clip), deliveries.shown(clip))
        for key, clip in (train | validation).items()
    }
    grey = deliveries.grey
    assert found == {
        "video1:1": ("video1", [aus(AU1=1, AU12=1), aus(AU12=1)], [grey(1), grey(2)]),
        "video1:4": ("video1", [aus(AU26=1, AU25=-1)], [grey(4)]),
        "video1:6": ("video1", [aus(AU2=1)], [grey(6)]),
        "10-60_left:1": ("10-60_left", [aus(AU4=1)], [grey(1)]),
        "10-60_right:1": ("10-60_right", [aus(AU6=1), aus(AU7=1)], [grey(1), grey(2)]),
    }
    np.testing.assert_allclose(train["video1:6"].timestamps_T, [5 / 30])
    told = capsys.readouterr().out
    assert "1 labelled frames have no crop" in told
    assert "1 frames whose labels are all unknown are left out" in told
    assert (tmp_path / "out" / "skipped.csv").read_text().count("\n") == 1


def test_the_expression_challenge(source, tmp_path):
    opened = build(source, tmp_path / "out", "--labels", "expression")
    assert opened.aus == () and opened.emotions[7] == "other"
    found = {
        split: {
            key: (clip.emotion, deliveries.shown(clip))
            for key, clip in deliveries.clips(opened, split).items()
        }
        for split in ("train", "validation")
    }
    grey = deliveries.grey
    assert found == {
        "train": {"video9:1": (6, [grey(1)]), "video9:3": (6, [grey(3)])},
        "validation": {
            "video1:1": (0, [grey(1)]),
            "video1:2": (4, [grey(2)]),
            "video1:4": (4, [grey(4)]),
            "video1:6": (7, [grey(6)]),
        },
    }


def test_the_valence_arousal_challenge(source, tmp_path):
    opened = build(source, tmp_path / "out", "--labels", "valence-arousal")
    clips = deliveries.clips(opened)
    found = {key: clip.valence_arousal_T2.tolist() for key, clip in clips.items()}
    assert found == {
        "video1:1": [[0.5, -0.25]],
        "video1:5": [[-0.125, 1]],
        "video9:1": [[0.5, 0.5], [0.25, 0.25], [0, 1]],
        "video8:1": [[1, -1]],
    }
    assert deliveries.shown(clips["video1:5"]) == [deliveries.grey(5)]


def test_all_labels_of_a_frame_joined(source, tmp_path, capsys):
    """video1 trains in two challenges and validates in the third: nobody is learned and tested."""
    opened = build(source, tmp_path / "out", "--labels", "joined")
    assert "1 films are in the training set of one challenge" in capsys.readouterr().out
    assert set(opened.subjects["train"]) == {"video9"}
    clips = deliveries.clips(opened)
    nan = [np.nan, np.nan]
    expected = {  # emotion, AUs, valence and arousal, frames shown
        "video1:1": (0, [aus(AU1=1, AU12=1)], [[0.5, -0.25]], [1]),
        "video1:2": (4, [aus(AU12=1)], [nan], [2]),
        "video1:4": (4, [aus(AU26=1, AU25=-1)], [nan], [4]),
        "video1:5": (-1, [aus(every=-1)], [[-0.125, 1]], [5]),
        "video1:6": (7, [aus(AU2=1)], [nan], [6]),
        "10-60_left:1": (-1, [aus(AU4=1)], [nan], [1]),
        "10-60_right:1": (-1, [aus(AU6=1), aus(AU7=1)], [nan] * 2, [1, 2]),
        "video9:1": (6, [aus(every=-1)], [[0.5, 0.5]], [1]),
        "video9:2": (-1, [aus(every=-1)], [[0.25, 0.25]], [2]),
        "video9:3": (6, [aus(every=-1)], [[0, 1]], [3]),
        "video8:1": (-1, [aus(every=-1)], [[1, -1]], [1]),
    }
    assert set(clips) == set(expected)
    for key, (emotion, labels, affect, numbers) in expected.items():
        clip = clips[key]
        assert (clip.emotion, occurrence(opened, clip)) == (emotion, labels)
        known = clip.valence_arousal_T2
        np.testing.assert_array_equal(affect, [nan] * len(labels) if known is None else known)
        assert deliveries.shown(clip) == [deliveries.grey(number) for number in numbers]


def write_mtl(root: Path, *train: str) -> None:
    header = "image,valence,arousal,expression,aus"
    folder = root / EDITION / "MTL_Challenge"
    deliveries.write_text(folder / "train_set.txt", header, *train)
    row = f"10-60_left/00001.jpg,-5,-5,-1,{aus(AU4=1)}"
    deliveries.write_text(folder / "validation_set.txt", header, row)


def test_the_multi_task_files(source, tmp_path):
    write_mtl(
        source,
        f"video1/00004.jpg,0.5,0.25,4,{aus(AU12=1)}",
        f"video1/00002.jpg,-5,-5,0,{aus(every=-1)}",
        f"video1/00001.jpg,-0.5,0,8,{aus(AU26=1)}",  # there is no expression 8
        f"video1/00005.jpg,-5,-5,-1,{aus(every=-1)}",
    )
    opened = build(source, tmp_path / "out", "--labels", "mtl")
    clips = deliveries.clips(opened)
    nan = [np.nan, np.nan]
    expected = {
        "video1:1": (-1, aus(AU26=1), [-0.5, 0], 1),
        "video1:2": (0, aus(every=-1), nan, 2),
        "video1:4": (4, aus(AU12=1), [0.5, 0.25], 4),
        "10-60_left:1": (-1, aus(AU4=1), nan, 1),
    }
    assert set(clips) == set(expected)
    for key, (emotion, labels, affect, number) in expected.items():
        clip = clips[key]
        assert (clip.emotion, occurrence(opened, clip)) == (emotion, [labels])
        known = clip.valence_arousal_T2
        np.testing.assert_array_equal([affect], [nan] if known is None else known)
        assert deliveries.shown(clip) == [deliveries.grey(number)]
    assert set(opened.subjects["validation"]) == {"10-60_left"}


def test_whole_films(source, tmp_path):
    """The two people of one film cannot be told apart in it."""
    deliveries.write_film(source / "batch1" / "video1.avi", [20, 1, 2, 3])
    write(source, "au", "Train", "video3", AU_HEADER, aus())
    options = ("--pictures", "films", "--may-lack", "--validation", "0")
    opened = build(source, tmp_path / "out", *options)
    clips = deliveries.clips(opened)
    grey = deliveries.grey
    assert {key: deliveries.shown(clip) for key, clip in clips.items()} == {
        "video1:1": [grey(20), grey(1), grey(2), grey(3)]
    }
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [
        ",,10-60_left,,two people in one film: take the crops",
        ",,10-60_right,,two people in one film: take the crops",
        ",,batch1/video1.avi,6,not in film",
        ",,batch1/video3.mp4,1,missing",
    ]
    films = aff_wild2.read(source, aff_wild2.Options(pictures="films"))
    assert FaceSteps.parse(films.faces).detection == "haar"
    assert aff_wild2.read(source, aff_wild2.Options()).faces == ()
    assert FaceSteps.parse(aff_wild2.BUILDER.faces).detection == "none"


def test_first_releases_are_read(tmp_path):
    root = tmp_path / "source"
    for split, video in (("Train", "a"), ("Validation", "b")):
        deliveries.write_text(root / "AU_Set" / f"{split}_Set" / f"{video}.txt", AU_HEADER, aus())
        write_crops(root, video, 1)
    assert build(root, tmp_path / "out").splits == {"train": 1, "validation": 1}


def test_one_damaged_file_leaves_its_film_out(source, tmp_path):
    write(source, "au", "Train", "video2", AU_HEADER, aus(), "0,1,x,0,0,0,0,0,0,0,0,0")
    write_crops(source, "video2", 1, 2)
    (source / "cropped_aligned" / "10-60_right" / "00002.jpg").write_bytes(b"cut")
    opened = build(source, tmp_path / "out")
    assert "video2" not in {s for split in opened.splits for s in opened.subjects[split]}
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows[0].startswith(",,video2,,") and "video2.txt, line 3" in rows[0]
    assert rows[1:] == [",,cropped_aligned/10-60_right/00002.jpg,2,unreadable"]


def test_a_film_without_crops_is_missing(source, tmp_path, capsys):
    (source / "cropped_aligned" / "video1").rename(source / "elsewhere")
    told = deliveries.refused(capsys, "aff_wild2", source, tmp_path / "out")
    assert "5 of 8" in told and "cropped_aligned/video1/00001.jpg" in told


def test_several_editions_need_a_choice(source, tmp_path, capsys):
    other = source / "3rd ABAW Annotations" / "AU_Detection_Challenge"
    deliveries.write_text(other / "Train_Set" / "video8.txt", AU_HEADER, aus(AU24=1))
    deliveries.write_text(other / "Validation_Set" / "video9.txt", AU_HEADER, aus(AU23=1), aus())
    told = deliveries.refused(capsys, "aff_wild2", source, tmp_path / "out")
    assert "3rd ABAW Annotations, 6th ABAW Annotations" in told and "--edition" in told
    opened = build(source, tmp_path / "out", "--edition", "3rd")
    clips = deliveries.clips(opened)
    assert occurrence(opened, clips["video8:1"]) == [aus(AU24=1)]
    assert occurrence(opened, clips["video9:1"]) == [aus(AU23=1), aus()]


def test_no_folder_of_crops_is_walked_for_labels(source, monkeypatch):
    walked = []
    walk = aff_wild2.os.walk
    monkeypatch.setattr(
        aff_wild2.os, "walk", lambda top: (walked.append(step[0]) or step for step in walk(top))
    )
    aff_wild2.read(source, aff_wild2.Options())
    assert walked and not [top for top in walked if "cropped" in str(top)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["video1/00001.jpg,0,0,0,1"], "line 2, column 6: nothing is no number"),
        ([f"../x/00001.jpg,0,0,0,{aus()}"], "line 2: '../x/00001.jpg' leads out of the folder"),
        ([f"video1/00001.jpg,0,0,0,{aus()}"] * 2, "line 3: video1/00001.jpg comes twice"),
        ([f"10-60_left/00001.jpg,0,0,0,{aus()}"], "10-60_left is in another split as well"),
        ([f"video1/9999999999.jpg,0,0,0,{aus()}"], "should be like video/00001.jpg"),
        ([f"00001.jpg,0,0,0,{aus()}"], "line 2: '00001.jpg' should be like video/00001.jpg"),
    ],
)
def test_bad_rows_of_the_multi_task_files_are_refused(source, tmp_path, capsys, rows, message):
    write_mtl(source, *rows)
    told = deliveries.refused(capsys, "aff_wild2", source, tmp_path / "out", "--labels", "mtl")
    assert "_set.txt" in told and message in told


def test_half_copied_and_contradicting_labels_are_refused(source, tmp_path, capsys):
    write(source, "au", "Validation", "video1", AU_HEADER, aus())
    told = deliveries.refused(capsys, "aff_wild2", source, tmp_path / "out")
    assert "video1 is in both splits of AU_Detection_Challenge" in told
    folder = source / EDITION / "EXPR_Classification_Challenge"
    (folder / "Train_Set").rename(source / "Train")
    options = ("--labels", "expression")
    told = deliveries.refused(capsys, "aff_wild2", source, tmp_path / "out", *options)
    assert "lacks Train_Set" in told
    told = deliveries.refused(capsys, "aff_wild2", source, tmp_path / "out", "--labels", "mtl")
    assert "no folder MTL_" in told


def test_another_folder_is_refused(tmp_path, capsys):
    (tmp_path / "source" / "train_set").mkdir(parents=True)
    told = deliveries.refused(capsys, "aff_wild2", tmp_path / "source", tmp_path / "out")
    assert "not Aff-Wild2 as delivered" in told
    (tmp_path / "source" / "6th ABAW Annotations").mkdir()
    told = deliveries.refused(capsys, "aff_wild2", tmp_path / "source", tmp_path / "out")
    assert "holds 0 folders of annotations" in told
