"""GFT, whose layout nobody describes: columns by header, films by name, lists if there are any."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from binghamton import left_out

from jaxfacs.data.builders import gft
from jaxfacs.faces.steps import FaceSteps

ALL_TRAIN = ("--validation", "0", "--test", "0")


@pytest.fixture
def source(tmp_path) -> Path:
    """001A with occurrence and intensity, 001B without a frame column, 002C in a film too short."""
    root = tmp_path / "GFT"
    occ, graded = root / "Metadata" / "AU_Occurrence", root / "Metadata" / "Intensity"
    deliveries.write_text(
        occ / "001A_AU_Labels.csv",
        "Frame,Person,AU1,AU02,au 4,AU6,AU10,AU12,AU14,AU15,AU23,AU24,AU17,AU28",
        "1,x,0,1,0,0,0,0,0,0,0,0,1,0",
        "2,x,-999,1,,NaN,0,9,0,0,0,0,0,0",
        "3,x,1.0,0.0,0,0,0,0.5,n/a,0,0,1,0,0",
    )
    deliveries.write_text(graded / "001A_AU_Labels.csv", "Frame,AU12", "1,0", "2,-999", "3,4")
    deliveries.write_text(occ / "001B_AU_Labels.csv", '"AU01","AU12"', "1,1", "0,1")
    deliveries.write_text(
        occ / "002C_AU_Labels.csv", "BaseFrame,AU1", *(f"{n},1" for n in (90, 91))
    )
    deliveries.write_text(root / "Metadata" / "people.csv", "person,age", "001A,22")
    deliveries.write_film(root / "Films" / "001A.avi", [0, 1, 2, 3], fps=30)
    deliveries.write_film(root / "Films" / "001B_cam2.avi", [5, 6], fps=30)
    deliveries.write_film(root / "Films" / "002c.avi", [9], fps=30)
    return root


def test_every_label_of_a_delivery(source, tmp_path, capsys):
    opened = deliveries.build("gft", source, tmp_path / "out", *ALL_TRAIN)
    # The ten, and AU 17, which somebody showed; AU 28 was never seen.
    assert opened.aus == ("1", "2", "4", "6", "10", "12", "14", "15", "17", "23", "24")
    assert opened.subjects == {"train": ("001a", "001b", "002c")}
    clips = deliveries.clips(opened)
    assert set(clips) == {"001a:1", "001b:1", "002c:90"}
    grey = deliveries.grey
    first = clips["001a:1"]
    assert deliveries.shown(first) == [grey(0), grey(1), grey(2)]
    np.testing.assert_allclose(first.timestamps_T, [0, 1 / 30, 2 / 30], atol=1e-3)
    expected = {
        "1": [0, -1, 1], "2": [1, 1, 0], "4": [0, -1, 0], "6": [0, -1, 0], "12": [0, -1, -1],
        "14": [0, 0, -1], "24": [0, 0, 1], "17": [1, 0, 0],
    }  # fmt: skip
    for au in opened.aus:
        assert deliveries.labels(opened, first, au) == expected.get(au, [0] * 3), au
        assert deliveries.grades(opened, first, au) == ([0, -1, 4] if au == "12" else [-1] * 3)
    second = clips["001b:1"]
    assert deliveries.shown(second) == [grey(5), grey(6)]
    expected = {"1": [1, 0], "12": [1, 1]}
    for au in opened.aus:
        assert deliveries.labels(opened, second, au) == expected.get(au, [-1, -1]), au
        assert deliveries.grades(opened, second, au) == [-1, -1]
    third = clips["002c:90"]
    assert deliveries.shown(third) == [grey(9)]
    for au in opened.aus:
        assert deliveries.labels(opened, third, au) == [1 if au == "1" else -1]
    assert left_out(opened) == [("Films/002c.avi", "91", "not in film")]
    told = capsys.readouterr().out
    assert "no folder or list called train… or test… was found: people are dealt out" in told
    assert "found 3 people, 3 films and the AUs 1 2 4 6" in told
    assert "rows are numbered from 1, 90" in told
    assert "0 of 2 published counts agree (osf.io/7wcyz)" in told


def test_lists_of_people(source, tmp_path, capsys):
    deliveries.write_text(source / "train_list.txt", "Subject,Group", "001A,1", "001B,1", "777A,9")
    deliveries.write_text(source / "Test.csv", "videos/002C.mp4")
    opened = deliveries.build("gft", source, tmp_path / "out", "--validation", "0")
    assert opened.subjects == {"train": ("001a", "001b"), "test": ("002c",)}
    assert ("777A", "", "listed, but without labels") in left_out(opened)
    assert "names 2 people for training, 1 for test" in capsys.readouterr().out


def test_one_list_says_who_is_in_the_other(source):
    deliveries.write_text(source / "Test.csv", "002C")
    found = {r.name: r.split for r in gft.read(source, gft.Options()).recordings}
    assert found == {"001a": "train", "001b": "train", "002c": "test"}
    apart = gft.read(source, gft.Options(protocol="subjects")).recordings
    assert {r.split for r in apart} == {None}


def test_folders_of_people(source):
    occ = source / "Metadata" / "AU_Occurrence"
    for name, folder in {"001A": "training", "001B": "training", "002C": "test"}.items():
        target = occ / folder / f"{name}_AU_Labels.csv"
        target.parent.mkdir(exist_ok=True)
        (occ / target.name).rename(target)
    found = {r.name: r.split for r in gft.read(source, gft.Options()).recordings}
    assert found == {"001a": "train", "001b": "train", "002c": "test"}


def test_people_of_neither_list_are_left_out(source):
    deliveries.write_text(source / "train.txt", "001A")
    deliveries.write_text(source / "test.txt", "001B")
    delivery = gft.read(source, gft.Options())
    assert [r.name for r in delivery.recordings] == ["001a", "001b"]
    assert [(row.path, row.reason) for row in delivery.left_out] == [
        ("002c", "in neither list of people")
    ]


def test_numbers_that_count_the_films_frames(source):
    delivery = gft.read(source, gft.Options(numbering="film"))
    assert delivery.recordings[2].frames.numbers == (89, 90)
    assert gft.read(source, gft.Options()).recordings[2].frames.numbers == (0, 1)


def test_default_faces_are_understood():
    assert FaceSteps.parse(gft.BUILDER.faces).detection == "haar"


# Bad input


def test_another_set_is_refused(tmp_path, capsys):
    deliveries.write_text(tmp_path / "x" / "labels.csv", "image,happy,sad", "a.png,1,0")
    told = deliveries.refused(capsys, "gft", tmp_path / "x", tmp_path / "out")
    assert "has no CSV with columns like AU01: it is not GFT" in told
    assert "the columns of labels.csv are image, happy, sad" in told


def test_labels_without_films(source, tmp_path, capsys):
    for path in source.rglob("*.avi"):
        path.unlink()
    told = deliveries.refused(capsys, "gft", source, tmp_path / "out")
    assert "001a.mp4" in told


def test_somebody_in_both_lists(source, tmp_path, capsys):
    deliveries.write_text(source / "train.txt", "001A", "001B")
    deliveries.write_text(source / "test.txt", "002C", "001A")
    told = deliveries.refused(capsys, "gft", source, tmp_path / "out")
    assert "train.txt, line 1: 001A is listed for training and for test" in told


@pytest.mark.parametrize("name", ["Metadata/copy/001A_occ.csv", "Films/copy/001a.avi"])
def test_two_files_for_one_person(source, tmp_path, capsys, name):
    path = deliveries.write_text(source / name, "AU1", "1")
    told = deliveries.refused(capsys, "gft", source, tmp_path / "out")
    assert path.name in told and "are both for 001a; remove one of them" in told


def test_two_films_that_may_be_meant(source, tmp_path, capsys):
    deliveries.write_film(source / "Films" / "001B_cam3.avi", [5, 6])
    told = deliveries.refused(capsys, "gft", source, tmp_path / "out")
    assert "labels of 001b may belong to 001b_cam2 or 001b_cam3; rename the films" in told


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Frame,AU1,AU2", "1,1,0", "2,1", "3,1,1"], "line 3: only 2 cells"),
        (["Frame,AU1", "1,1", "1,0"], "line 3: frame 1 comes twice or out of order"),
        (["AU1,AU01_c", "1,1", "1,1", "1,1"], "two columns are for AU 1"),
        (["Frame,AU1"], "has no rows"),
        (["AU1"], "has no rows"),
        (["Frame,AU1", "7,1"], "has other frames than 001A_AU_Labels.csv"),
    ],
)
def test_one_damaged_label_file_is_left_out_and_listed(source, lines, message):
    deliveries.write_text(source / "Metadata/Intensity/001A_AU_Labels.csv", *lines)
    delivery = gft.read(source, gft.Options())
    assert [r.name for r in delivery.recordings] == ["001b", "002c"]
    (row,) = delivery.left_out
    assert row.file == "Metadata/Intensity/001A_AU_Labels.csv" and message in row.reason


def test_nothing_but_damaged_label_files(tmp_path, capsys):
    deliveries.write_text(tmp_path / "x" / "a1.csv", "Frame,AU1", "z,1")
    told = deliveries.refused(capsys, "gft", tmp_path / "x", tmp_path / "out")
    assert "a1.csv, line 2, column 1: 'z' is no number" in told
