"""WIDER FACE: a picture without faces and its row of zeros, the owners' order, boxes in pixels."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import reading, wider_face
from jaxfacs.faces.prepare import FaceSteps

LIST = "wider_face_split/wider_face_train_bbx_gt.txt"
# x y w h blur expression illumination invalid occlusion pose
TRAIN = [
    "0--Parade/0_Parade_1.jpg",
    "3",
    "4 6 10 12 2 1 0 0 1 0 ",
    "20 8 16 8 0 0 1 0 2 1 ",
    "1 1 9 9 0 0 0 1 0 0 ",
    "0--Parade/0_Parade_2.jpg",
    "0",
    "0 0 0 0 0 0 0 0 0 0 ",
    "1--Handshaking/1_Hand_3.jpg",
    "2",
    "5 5 0 7 0 0 0 0 0 0 ",
    "2 3 4 5 1 0 0 0 0 0 ",
]
VAL = ["0--Parade/0_Parade_9.jpg", "1", "0 0 30 30 0 0 0 0 0 0"]


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    deliveries.write_text(folder / LIST, *TRAIN)
    deliveries.write_text(folder / LIST.replace("train", "val"), *VAL)
    for part, rows in (("train", TRAIN), ("val", VAL)):
        for row in rows:
            if row.endswith(".jpg"):
                number = int(row[-5])
                path = folder / f"WIDER_{part}/images" / row
                deliveries.write_picture(path, number, height=40, width=48)
    return folder


def test_every_face_with_its_labels(source, tmp_path):
    words = ("--faces", "boxes", "box:0", "--size", "32", "--validation", "0")
    opened = deliveries.build("wider_face", source, tmp_path / "out", *words)
    assert opened.attributes == ("blur", "expression", "illumination", "occlusion", "pose")
    told = {
        key.removeprefix("WIDER_"): (
            clip.box_T4[0].tolist(),
            clip.attributes_TK[0].tolist(),
            deliveries.shown(clip),
            bool(clip.found_T[0]),
        )
        for key, clip in deliveries.clips(opened).items()
    }
    first = "train/images/0--Parade/0_Parade_1.jpg"
    assert told == {
        f"{first}#0": ([4, 6, 10, 12], [2, 1, 0, 1, 0], [grey(1)], True),
        f"{first}#1": ([20, 8, 16, 8], [0, 0, 1, 2, 1], [grey(1)], True),
        "train/images/1--Handshaking/1_Hand_3.jpg": (
            [2, 3, 4, 5], [1, 0, 0, 0, 0], [grey(3)], True,
        ),
        "val/images/0--Parade/0_Parade_9.jpg": ([0, 0, 30, 30], [0] * 5, [grey(9)], True),
    }  # fmt: skip
    assert {s: opened.splits[s] for s in opened.splits} == {"train": 3, "validation": 1}
    card = (tmp_path / "out/labels.json").read_text()
    assert "train: 1 faces left out, marked invalid" in card
    assert "train: 1 faces left out, smaller than 1 pixels" in card
    assert FaceSteps.parse(wider_face.BUILDER.faces).words == ("boxes", "box:0.1")


def test_the_crop_shows_the_box(source, tmp_path):
    path = source / "WIDER_train/images/0--Parade/0_Parade_1.jpg"
    picture = np.zeros((40, 48, 3), np.uint8)
    picture[8:16, 20:36] = 200
    import cv2

    cv2.imwrite(str(path), picture)
    words = ("--faces", "boxes", "box:0", "--size", "32", "--validation", "0")
    opened = deliveries.build("wider_face", source, tmp_path / "out", *words)
    clips = deliveries.clips(opened)
    clip = next(c for k, c in clips.items() if k.endswith("1.jpg#1"))
    crop = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    # The square around 16×8: half of its height is the face, a quarter above and below is not.
    assert crop[10:22, 1:31].min() > 180 and crop[:6].max() < 40 and crop[26:].max() < 40


def test_small_faces_and_the_owners_validation_as_test(source, tmp_path):
    words = ("--min-size", "9", "--measured", "test", "--validation", "0")
    opened = deliveries.build("wider_face", source, tmp_path / "out", *words)
    assert {s: opened.splits[s] for s in opened.splits} == {"train": 1, "test": 1}


def test_faces_of_one_picture_stay_together(source, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 1)
    recordings = wider_face.read(source, wider_face.Options()).recordings
    assert [len(r.frames) for r in recordings] == [2, 1, 1]
    assert [r.name for r in recordings] == ["train/0000", "train/0001", "val/0000"]


def test_missing_and_bad_pictures_are_listed(source, tmp_path):
    (source / "WIDER_train/images/1--Handshaking/1_Hand_3.jpg").write_bytes(b"\xff\xd8")
    out = tmp_path / "out"
    opened = deliveries.build("wider_face", source, out, "--validation", "0")
    assert len(deliveries.clips(opened)) == 3
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        "wider_face_train_bbx_gt.txt,12,WIDER_train/images/1--Handshaking/1_Hand_3.jpg,,unreadable"
    ]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (TRAIN[:4], "line 5: expected 10 numbers of a face, found the end of the file"),
        ([*TRAIN[:2], "4 6 10 12"], "line 3: expected 10 numbers of a face, found '4 6 10 12'"),
        ([*TRAIN[:2], "4 6 10 99999999999999999999 0 0 0 0 0 0"], "line 3: expected 10 numbers"),
        ([TRAIN[0], "x"], "line 2: expected the number of faces, found 'x'"),
        ([TRAIN[0], "99999"], "line 2: 99999 faces of one picture"),
        (["../../secret.jpg", "0"], "line 1: '../../secret.jpg' leads out of the folder"),
        ([*TRAIN, *TRAIN[:2], TRAIN[2]], "line 13: WIDER_train/images/0--Parade/0_Parade_1.jpg"),
    ],
)
def test_bad_lists_are_refused(source, tmp_path, capsys, lines, text):
    deliveries.write_text(source / LIST, *lines)
    message = deliveries.refused(capsys, "wider_face", source, tmp_path / "out")
    assert text in message and "wider_face_train_bbx_gt.txt" in message


def test_half_copied_and_other_folders(source, tmp_path, capsys):
    for path in (source / "WIDER_train").rglob("*.jpg"):
        path.unlink()
    text = deliveries.refused(capsys, "wider_face", source, tmp_path / "out")
    assert "2 of 3 pictures or films that the labels name are not in" in text
    (source / LIST).unlink()
    (source / LIST.replace("train", "val")).unlink()
    text = deliveries.refused(capsys, "wider_face", source, tmp_path / "out")
    assert "has no wider_face_train_bbx_gt.txt" in text
    (tmp_path / "other/AU_OCC").mkdir(parents=True)
    text = deliveries.refused(capsys, "wider_face", tmp_path / "other", tmp_path / "out")
    assert "is not WIDER FACE as delivered" in text
