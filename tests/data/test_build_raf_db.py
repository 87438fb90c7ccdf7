"""RAF-DB: basic and compound emotions, crops and whole pictures."""

from pathlib import Path

import cv2
import deliveries
import numpy as np
import pytest

from jaxfacs import facs
from jaxfacs.data.builders import raf_db, reading
from jaxfacs.faces.prepare import FaceSteps

BASIC = {"train_00001": 5, "train_00002": 1, "train_00003": 7, "train_00010": 4, "test_0001": 6,
         "test_0002": 2, "test_0003": 3}  # fmt: skip
COMPOUND = {f"train_{n:04d}": n for n in range(1, 12)} | {"test_0001": 11}


def write_part(root: Path, rows: dict[str, int]) -> Path:
    deliveries.write_text(
        root / "EmoLabel" / "list_patition_label.txt",
        *(f"{stem}.jpg {label}" for stem, label in rows.items()),
    )
    for number, stem in enumerate(rows):
        deliveries.write_picture(root / "Image" / "aligned" / f"{stem}_aligned.jpg", number)
    return root


def write_annotation(root: Path, stem: str, box: str, points: list[str], codes: list[str]) -> None:
    folder = root / "Annotation"
    deliveries.write_text(folder / "boundingbox" / f"{stem}_boundingbox.txt", box)
    deliveries.write_text(folder / "manual" / f"{stem}_manu_attri.txt", *points, *codes)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "RAF-DB"
    write_part(root / "basic", BASIC)
    write_part(root / "compound", COMPOUND)
    return root


def build(source: Path, out: Path, *options: str):
    return deliveries.build("raf_db", source, out, "--validation", "0", *options)


def test_crops_have_their_label_and_split(source, tmp_path, capsys):
    annotation = (["10\t11", "20 11", "15\t15", "11 20", "19 20"], ["1", "2", "4"])
    write_annotation(source / "basic", "train_00001", "1 2 3 4", *annotation)
    write_annotation(source / "basic", "test_0002", "1 2 3 4", annotation[0], ["2", "0", "0"])
    opened = build(source, tmp_path / "out")
    assert opened.emotions == ("surprise", "fear", "disgust", "happiness", "sadness", "anger",
                               "neutral")  # fmt: skip
    assert opened.attributes == ("sex", "race", "age_group")
    told = {"train_00001": [1, 2, 4], "test_0002": [np.nan, 0, 0]}
    for split in ("train", "test"):
        clips = deliveries.clips(opened, split)
        stems = [stem for stem in BASIC if stem.startswith(split)]
        assert set(clips) == {f"Image/aligned/{stem}_aligned.jpg" for stem in stems}
        for stem in stems:
            clip = clips[f"Image/aligned/{stem}_aligned.jpg"]
            assert (clip.emotion, clip.subject) == (BASIC[stem] - 1, "")
            assert deliveries.shown(clip) == [deliveries.grey(list(BASIC).index(stem))]
            np.testing.assert_array_equal(clip.attributes_TK, [told.get(stem, [np.nan] * 3)])
            assert clip.landmarks_T68x2 is None
            np.testing.assert_array_equal(clip.box_T4, [[0, 0, 32, 32]])
    assert "frames 7 (-15332)" in capsys.readouterr().out


def test_boxes_and_points_belong_to_the_whole_pictures(source, tmp_path):
    """A white square of 8 px in a black picture is the given box, and fills the crop."""
    root = source / "basic"
    (root / "Image" / "original").mkdir()
    for stem in BASIC:
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[16:24, 32:40] = 255
        cv2.imwrite(str(root / "Image" / "original" / f"{stem}.jpg"), picture)
        points = ["33 18", "38 18", "36 20", "34 22", "38 22"]
        write_annotation(root, stem, "32 16.0 40 24", points, ["0", "0", "2"])
    options = ("--pictures", "original", "--faces", "boxes", "box:0", "--size", "32")
    opened = build(root, tmp_path / "out", *options)
    for clip in deliveries.clips(opened).values():
        np.testing.assert_allclose(clip.box_T4, [[32, 16, 8, 8]])
        assert clip.found_T.all()
        crop = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert crop[4:-4, 4:-4].min() > 200
    delivery = raf_db.read(source, raf_db.Options(pictures="original"))
    assert delivery.faces == ("boxes",)
    train = delivery.recordings[0]
    np.testing.assert_array_equal(train.landmarks_TK2[0, 0], [33.5, 18.5])  # the person's right eye
    np.testing.assert_array_equal(train.landmarks_TK2[0, 4], [38.5, 22.5])
    assert train.landmarks_TK2.shape == (4, 5, 2)


def test_without_boxes_the_faces_of_whole_pictures_are_looked_for(source):
    assert raf_db.read(source, raf_db.Options(pictures="original")).faces == ("haar",)


def test_compound_emotions_in_the_order_of_public_readers(source, tmp_path, capsys):
    opened = build(source, tmp_path / "out", "--part", "compound")
    assert opened.emotions[0] == "happily surprised"
    assert opened.emotions[10] == "disgustedly surprised"
    clips = deliveries.clips(opened)
    for number, (stem, label) in enumerate(COMPOUND.items()):
        clip = clips[f"Image/aligned/{stem}_aligned.jpg"]
        assert clip.emotion == label - 1 and deliveries.shown(clip) == [deliveries.grey(number)]
    assert "no readme with the order" in capsys.readouterr().out


def test_the_readme_s_own_order_wins(source, tmp_path, capsys):
    order = list(facs.EMOTION_SETS["raf_db_compound"])
    order[0], order[1] = order[1], order[0]
    rows = (f"{n}: {name.title()}" for n, name in enumerate(order, start=1))
    deliveries.write_text(source / "compound" / "RAFDB_readme.txt", "RAF-DB", *rows)
    opened = build(source, tmp_path / "out", "--part", "compound")
    assert list(opened.emotions) == order
    told = capsys.readouterr().out
    assert "that of RAFDB_readme.txt, unlike public readers" in told


def test_missing_and_bad_pictures_are_listed(source, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 2)
    images = source / "basic" / "Image" / "aligned"
    (images / "train_00002_aligned.jpg").unlink()
    (images / "test_0003_aligned.jpg").write_bytes(b"\xff\xd8")
    opened = build(source, tmp_path / "out")
    assert opened.splits == {"train": 3, "test": 2}
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [
        ",,Image/aligned/train_00002_aligned.jpg,,missing",
        ",,Image/aligned/test_0003_aligned.jpg,,unreadable",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train_00011.jpg 8", "line 8: label '8' is not 1 to 7"),
        ("train_00011.jpg", "line 8: label '' is not 1 to 7"),
        ("train_00001.jpg 5", "line 8: train_00001.jpg is in line 1 already"),
        ("../train_00011.jpg 5", "line 8: '../train_00011.jpg' leads out of the folder"),
        ("exam_00011.jpg 5", "line 8: 'exam_00011.jpg' should be like train_00001.jpg"),
    ],
)
def test_bad_rows_are_refused(source, tmp_path, capsys, row, message):
    path = source / "basic" / "EmoLabel" / "list_patition_label.txt"
    path.write_text(path.read_text() + row + "\n")
    told = deliveries.refused(capsys, "raf_db", source, tmp_path / "out")
    assert "list_patition_label.txt" in told and message in told


def test_a_bad_annotation_is_named(source, tmp_path, capsys):
    deliveries.write_text(
        source / "basic" / "Annotation" / "manual" / "train_00002_manu_attri.txt", "1 2", "3"
    )
    told = deliveries.refused(capsys, "raf_db", source, tmp_path / "out")
    assert "train_00002_manu_attri.txt: 3 numbers where 10 belong" in told


def test_the_parts_are_told_apart(source, tmp_path, capsys):
    out = tmp_path / "out"
    told = deliveries.refused(capsys, "raf_db", source / "basic", out, "--part", "compound")
    assert "labels 1 to 7 alone" in told
    told = deliveries.refused(capsys, "raf_db", source / "compound", out)
    assert "label '8' is not 1 to 7" in told


def test_a_half_copied_delivery_is_refused(source, tmp_path, capsys):
    for path in sorted((source / "basic" / "Image" / "aligned").iterdir())[:3]:
        path.unlink()
    told = deliveries.refused(capsys, "raf_db", source, tmp_path / "out")
    assert "3 of 7" in told and "--may-lack" in told


def test_another_folder_is_refused(tmp_path, capsys):
    (tmp_path / "source" / "basic" / "Image").mkdir(parents=True)
    told = deliveries.refused(capsys, "raf_db", tmp_path / "source", tmp_path / "out")
    assert "list_patition_label.txt is missing" in told
    (tmp_path / "source" / "basic").rename(tmp_path / "source" / "AUCoding")
    told = deliveries.refused(capsys, "raf_db", tmp_path / "source", tmp_path / "out")
    assert "not RAF-DB as delivered" in told


def test_the_crops_are_faces_already():
    assert FaceSteps.parse(raf_db.BUILDER.faces).detection == "none"
