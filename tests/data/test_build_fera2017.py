"""FERA 2017: films of nine views, occurrence and intensity files wherever they lie."""

from pathlib import Path

import deliveries
import pytest
from binghamton import left_out

from jaxfacs import facs
from jaxfacs.data.builders import bp4d, fera2017
from jaxfacs.faces.steps import FaceSteps

HEADER = "0,1,4,6,7,10,12,14,15,17,23"


@pytest.fixture
def source(tmp_path) -> Path:
    """TR F001 T1 in two views, TR M018 T8 without occurrence, VA F001 T1 which is somebody else."""
    root = tmp_path / "FERA2017"
    labels, graded = root / "Train_Occ", root / "Train_Int"
    # Numbers of the whole task: the film begins with the first row.
    deliveries.write_text(
        labels / "FERA17_TR_F001_T1.csv",
        HEADER,
        "40,1,0,0,0,0,0,0,0,0,0",
        "41,0,9,0,0,0,1,0,0,0,0",
        "42,0,0,0,0,0,0,0,0,0,1",
    )
    deliveries.write_text(graded / "FERA17_TR_F001_T1_AU01_Int.csv", "40,5", "41,0", "42,9")
    deliveries.write_text(graded / "FERA17_TR_F001_T1_AU12_Int.csv", "40,0", "41,2", "42,1")
    deliveries.write_text(graded / "FERA17_TR_M018_T8_AU17_Int.csv", "1,3", "2,4")
    deliveries.write_text(
        root / "Valid_Occ" / "FERA17_VA_F001_T1.csv", HEADER, "1,0,0,1,1,0,0,0,0,0,0",
        "2,0,0,0,1,0,0,0,0,0,0",
    )  # fmt: skip
    films = root / "FERA17_Train_MV"
    deliveries.write_film(films / "FERA17_TR_F001_T1_6.avi", [0, 1, 2])
    deliveries.write_film(films / "FERA17_TR_F001_T1_1.avi", [10, 11, 12])
    deliveries.write_film(films / "FERA17_TR_M018_T8_6.avi", [4])  # shorter than its labels
    deliveries.write_film(root / "FERA17_Valid_MV" / "FERA17_VA_F001_T1_6.avi", [6, 7, 8])
    deliveries.write_film(root / "FERA17_Test_MV" / "FERA17_VA_F002_T1_6.avi", [0])
    return root


def test_every_label_of_the_front(source, tmp_path, capsys):
    opened = deliveries.build("fera2017", source, tmp_path / "out")
    assert opened.aus == facs.DATASET_AUS["fera2017"] and opened.people == "bp4d"
    assert opened.subjects == {"train": ("F001", "M018"), "validation": ("FERA17_VA_F001",)}
    train, validation = (deliveries.clips(opened, s) for s in ("train", "validation"))
    assert set(train) == {"train/F001/T1/6:40", "train/M018/T8/6:1"}
    assert set(validation) == {"validation/F001/T1/6:1"}
    grey = deliveries.grey
    first = train["train/F001/T1/6:40"]
    assert deliveries.shown(first) == [grey(0), grey(1), grey(2)]
    expected = {"1": [1, 0, 0], "4": [0, -1, 0], "12": [0, 1, 0], "23": [0, 0, 1]}
    grades = {"1": [5, 0, -1], "12": [0, 2, 1]}
    for au in opened.aus:
        assert deliveries.labels(opened, first, au) == expected.get(au, [0] * 3), au
        assert deliveries.grades(opened, first, au) == grades.get(au, [-1] * 3), au
    second = train["train/M018/T8/6:1"]
    assert deliveries.shown(second) == [grey(4)]
    for au in opened.aus:
        assert deliveries.labels(opened, second, au) == [-1]
        assert deliveries.grades(opened, second, au) == ([3] if au == "17" else [-1])
    third = validation["validation/F001/T1/6:1"]
    assert deliveries.shown(third) == [grey(6), grey(7)]
    expected = {"6": [1, 0], "7": [1, 1]}
    for au in opened.aus:
        assert deliveries.labels(opened, third, au) == expected.get(au, [0, 0])
    assert left_out(opened) == [
        ("FERA17_Test_MV/FERA17_VA_F002_T1_6.avi", "", "no label"),
        ("FERA17_Train_MV/FERA17_TR_M018_T8_6.avi", "2", "not in film"),
    ]
    assert "labels of 1 tasks begin at a frame like 40; their first row" in capsys.readouterr().out


def test_all_views_and_the_aus_with_intensity(source, tmp_path):
    words = ["--view", "all", "--aus", "intensity", "--may-lack"]
    opened = deliveries.build("fera2017", source, tmp_path / "out", *words)
    assert opened.aus == ("1", "4", "6", "10", "12", "14", "17")
    clips = deliveries.clips(opened)
    grey = deliveries.grey
    assert deliveries.shown(clips["train/F001/T1/1:40"]) == [grey(10), grey(11), grey(12)]
    assert deliveries.shown(clips["train/F001/T1/6:40"]) == [grey(0), grey(1), grey(2)]
    for view in "16":
        clip = clips[f"train/F001/T1/{view}:40"]
        assert deliveries.labels(opened, clip, "12") == [0, 1, 0]
        assert deliveries.grades(opened, clip, "12") == [0, 2, 1]
    missing = [path for path, _, reason in left_out(opened) if reason == "missing"]
    assert missing == [
        *["FERA17_Train_MV/FERA17_TR_M018_T8_1.mp4"] * 2,
        *["FERA17_Valid_MV/FERA17_VA_F001_T1_1.mp4"] * 2,
    ]


def test_numbers_that_count_the_films_frames(source):
    delivery = fera2017.read(source, fera2017.Options(numbering="film", protocol="subjects"))
    numbers = {r.name: r.frames.numbers for r in delivery.recordings}
    assert numbers["train/F001/T1/6"] == (39, 40, 41) and numbers["validation/F001/T1/6"] == (0, 1)
    assert {r.split for r in delivery.recordings} == {None} and not delivery.notes


def test_validation_people_are_not_bp4ds(source):
    people = {r.subject for r in fera2017.read(source, fera2017.Options()).recordings}
    assert people & set(bp4d.PEOPLE) == {"F001", "M018"} and "FERA17_VA_F001" in people


def test_default_faces_are_understood():
    assert FaceSteps.parse(fera2017.BUILDER.faces).detection == "haar"


# Bad input


def test_a_view_that_is_not_there(source, tmp_path, capsys):
    told = deliveries.refused(capsys, "fera2017", source, tmp_path / "out", "--view", "3")
    assert "has no film of view 3; give --view 1 or 6" in told


def test_labels_alone(source, tmp_path, capsys):
    for path in source.rglob("*.avi"):
        path.unlink()
    told = deliveries.refused(capsys, "fera2017", source, tmp_path / "out")
    assert "has no film like FERA17_TR_F001_T1_6.mp4" in told


def test_half_a_delivery(source, tmp_path, capsys):
    (source / "FERA17_Train_MV" / "FERA17_TR_F001_T1_6.avi").unlink()
    told = deliveries.refused(capsys, "fera2017", source, tmp_path / "out")
    assert "FERA17_Train_MV/FERA17_TR_F001_T1_6.mp4" in told


def test_two_files_for_one_task(source, tmp_path, capsys):
    deliveries.write_text(source / "copy" / "FERA17_TR_F001_T1.csv", HEADER)
    told = deliveries.refused(capsys, "fera2017", source, tmp_path / "out")
    assert "FERA17_TR_F001_T1.csv and" in told and "hold the same; remove one" in told


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0,2,5", "40,1,1"], "none of the 10 AUs is in 2 5"),
        ([HEADER, "40,1"], "line 2, column 3: nothing is no number"),
        ([HEADER, "40,1,0,0,0,0,0,0,0,0,0", "39,1,0,0,0,0,0,0,0,0,0"], "line 3: frame 39 comes"),
    ],
)
def test_one_damaged_label_file_is_left_out_and_listed(source, lines, message):
    deliveries.write_text(source / "Train_Occ" / "FERA17_TR_F001_T1.csv", *lines)
    delivery = fera2017.read(source, fera2017.Options())
    assert [r.name for r in delivery.recordings] == ["train/M018/T8/6", "validation/F001/T1/6"]
    (row,) = (row for row in delivery.left_out if row.file)
    assert row.file == "Train_Occ/FERA17_TR_F001_T1.csv" and message in row.reason


def test_nothing_but_damaged_label_files(tmp_path, capsys):
    root = tmp_path / "x"
    deliveries.write_text(root / "FERA17_TR_F001_T1.csv", HEADER)
    deliveries.write_film(root / "FERA17_TR_F001_T1_6.avi", [0])
    told = deliveries.refused(capsys, "fera2017", root, tmp_path / "out")
    assert "no label file of" in told and "has no rows" in told


def test_another_set_is_refused(tmp_path, capsys):
    deliveries.write_text(tmp_path / "x" / "AUCoding" / "F001_T1.csv", "0,1", "1,1")
    told = deliveries.refused(capsys, "fera2017", tmp_path / "x", tmp_path / "out")
    assert "has no label file like FERA17_TR_F001_T1.csv; is it FERA 2017" in told
