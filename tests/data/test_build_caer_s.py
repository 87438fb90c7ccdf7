"""CAER-S: stills in folders of emotions."""

import cv2
import deliveries
import numpy as np
import pytest

from jaxfacs.data.builders import caer_s, reading
from jaxfacs.faces.prepare import FaceSteps

NAMES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")


@pytest.fixture
def source(tmp_path):
    """Two pictures an emotion and split, of 2 and 10: the order is that of the numbers."""
    root = tmp_path / "CAER-S"
    for s, split in enumerate(("train", "test")):
        for e, name in enumerate(NAMES):
            for n, number in enumerate((2, 10)):
                path = root / split / name / f"{number}.png"
                deliveries.write_picture(path, 10 * s + e + n)
    return root


def test_stills_have_the_label_and_split_of_their_folder(source, tmp_path):
    (source / "train" / "Fear" / "3.png").write_bytes(b"no picture")
    opened = deliveries.build("caer_s", source, tmp_path / "out", "--validation", "0")
    assert opened.splits == {"train": 14, "test": 14}
    assert opened.aus == ()
    for s, split in enumerate(("train", "test")):
        clips = deliveries.clips(opened, split)
        for e, name in enumerate(NAMES):
            for n, number in enumerate((2, 10)):
                clip = clips[f"{split}/{name}/{number}.png"]
                assert (clip.emotion, clip.subject, len(clip.frames)) == (e, "", 1)
                assert deliveries.shown(clip) == [deliveries.grey(10 * s + e + n)]
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [",,train/Fear/3.png,,unreadable"]


def test_neighbours_stay_together_when_a_validation_split_is_dealt_out(source, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 2)
    for number in range(11, 14):
        deliveries.write_picture(source / "train" / "Anger" / f"{number}.png", number)
    delivery = caer_s.read(source, caer_s.Options())
    anger = [r for r in delivery.recordings if r.name.startswith("train/anger")]
    assert [r.name for r in anger] == ["train/anger/0000", "train/anger/0001", "train/anger/0002"]
    assert [list(r.frames.paths) for r in anger] == [
        ["train/Anger/2.png", "train/Anger/10.png"],
        ["train/Anger/11.png", "train/Anger/12.png"],
        ["train/Anger/13.png"],
    ]
    assert all(r.stills and r.split == "train" for r in anger)
    assert np.concatenate([r.emotion_T for r in anger]).tolist() == [0] * 5


def test_boxes_of_the_hand_checked_lists(source, tmp_path):
    """A white square of 8 px in a black picture is the box; one picture has none."""
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for path in sorted(source.rglob("*.png")):
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[16:24, 32:40] = 255
        cv2.imwrite(str(path), picture)
        name = path.relative_to(source).as_posix()
        rows[name.split("/")[0]].append(f"{name},0,32,16,40,24")
    assert rows["test"].pop() == "test/Surprise/2.png,0,32,16,40,24"
    for split, lines in rows.items():
        deliveries.write_text(source / f"{split}.txt", *lines)
    delivery = caer_s.read(source, caer_s.Options())
    assert FaceSteps.parse(delivery.faces, size=96).detection == "boxes"
    assert caer_s.read(source, caer_s.Options(boxes=False)).faces == ()
    options = ("--faces", "boxes", "box:0", "--size", "32", "--validation", "0")
    opened = deliveries.build("caer_s", source, tmp_path / "out", *options)
    assert opened.splits == {"train": 14, "test": 13}
    for clip in deliveries.clips(opened).values():
        np.testing.assert_array_equal(clip.box_T4, [[32, 16, 8, 8]])
        crop = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert crop[4:-4, 4:-4].min() > 200
    skipped = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    reason = '"no face of its own, as CAERS-Annotation has it"'
    assert skipped == [f",,test/Surprise/2.png,,{reason}"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train/Sad/2.png,5,1,2,3", "line 2, column 6: nothing is no number"),
        ("train/Sad/2.png,5,9,2,3,4", "line 2: the box has no width"),
        ("train/Anger/2.png,5,1,2,3,4", "line 2: train/Anger/2.png comes twice"),
        ("../2.png,5,1,2,3,4", "line 2: '../2.png' leads out of the folder"),
    ],
)
def test_bad_rows_of_boxes_are_refused(source, tmp_path, capsys, row, message):
    deliveries.write_text(source / "train.txt", "train/Anger/2.png,0,1,2,3,4", row)
    told = deliveries.refused(capsys, "caer_s", source, tmp_path / "out")
    assert "train.txt" in told and message in told


def test_boxes_of_one_split_alone_are_refused(source, tmp_path, capsys):
    deliveries.write_text(source / "train.txt", "train/Anger/2.png,0,1,2,3,4")
    told = deliveries.refused(capsys, "caer_s", source, tmp_path / "out")
    assert "test.txt is missing" in told


def test_a_missing_split_is_refused(source, tmp_path, capsys):
    (source / "test").rename(source / "exam")
    told = deliveries.refused(capsys, "caer_s", source, tmp_path / "out")
    assert "lacks the folder test" in told


def test_the_usual_crops_are_those_of_the_recipes():
    steps = FaceSteps.parse(caer_s.BUILDER.faces, size=caer_s.BUILDER.size)
    assert (steps.detection, steps.size) == ("haar", 96)
