"""BP4D as its owners deliver it: both header forms, intensities, pictures and films, the lists."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from binghamton import left_out, long_form, pictures, short_form

from jaxfacs import facs
from jaxfacs.data import known_counts
from jaxfacs.data.builders import bp4d
from jaxfacs.faces.steps import FaceSteps


@pytest.fixture
def source(tmp_path) -> Path:
    """F001 and M001 (part 1), F003 (part 2), F007 (part 3), with what is odd in each."""
    root = tmp_path / "BP4D"
    occ, pictured = root / "AUCoding" / "AU_OCC", root / "Sequences_2D+3D"
    # Frames 3-6; 5 is not codable in AU 12, 6 is occluded; padding of four digits.
    long_form(
        occ / "F001_T1.csv",
        {3: {1: 1, 12: 1}, 4: {12: 1}, 5: {12: 9, 6: 1}, 6: {12: 1, 99: 1}},
    )
    pictures(pictured / "F001" / "T1", range(1, 9), 4)
    # AU 6 in a row for each frame but 4, in an order of its own AU 12: 9 is unknown, 7 no grade.
    deliveries.write_text(root / "AUCoding/AU_INT/AU06/F001_T1_AU06.csv", "3,0", "5,3", "6,5")
    graded = root / "AU Intensity Codes3.0/AU12/F001_T1_AU12.csv"
    deliveries.write_text(graded, "2,1", "3,2", "4,9", "5,7", "6,-1")
    # The short form; padding of three digits; frame 12 has no picture; 13 is cut short.
    short_form(
        occ / "M001_T2.csv", {10: {1: 1, 2: 1}, 11: {24: 1}, 12: {39: 1}, 13: {}, 14: {2: 9}}
    )
    pictures(pictured / "M001" / "T2", [10, 11, 13, 14], 3)
    cut = pictured / "M001" / "T2" / "013.jpg"
    cut.write_bytes(cut.read_bytes()[:40])
    # A film with the original task's number (08 is T4), shorter than its labels.
    long_form(occ / "F003_T4.csv", {n: {4: n % 2} for n in range(2, 8)})
    deliveries.write_film(root / "2F03_08.avi", [1, 2, 3, 4, 5])
    # No padding, a film beside that is not needed.
    long_form(occ / "F007_T8.csv", {n: {17: 1} for n in (9, 10)})
    pictures(pictured / "F007" / "T8", [9, 10], 1)
    deliveries.write_film(root / "F007_T8.avi", [0] * 12)
    return root


def test_every_label_of_a_delivery(source, tmp_path, capsys):
    opened = deliveries.build("bp4d", source, tmp_path / "out", "--validation", "0")
    # All that was once scored present, and the 12 of the protocol that have a column.
    assert opened.aus == (*facs.DATASET_AUS["bp4d"], "39")
    train, test = deliveries.clips(opened, "train"), deliveries.clips(opened, "test")
    assert set(train) == {"F001/T1:3", "M001/T2:10", "M001/T2:14", "F003/T4:2"}
    assert set(test) == {"F007/T8:9"}
    assert opened.subjects == {"train": ("F001", "F003", "M001"), "test": ("F007",)}

    grey = deliveries.grey
    first = train["F001/T1:3"]
    assert deliveries.shown(first) == [grey(n) for n in (3, 4, 5, 6)]
    expected = {"1": [1, 0, 0, -1], "12": [1, 1, -1, -1], "6": [0, 0, 1, -1], "39": [0, 0, 0, -1]}
    for au in opened.aus:
        assert deliveries.labels(opened, first, au) == expected.get(au, [0, 0, 0, -1]), au
    grades = {"6": [0, -1, 3, 5], "12": [2, -1, -1, -1]}
    for au in opened.aus:
        assert deliveries.grades(opened, first, au) == grades.get(au, [-1] * 4), au
    np.testing.assert_allclose(first.timestamps_T, [0, 0.04, 0.08, 0.12])

    second, third = train["M001/T2:10"], train["M001/T2:14"]
    assert deliveries.shown(second) == [grey(10), grey(11)]
    assert deliveries.shown(third) == [grey(14)]
    expected = {"1": [1, 0], "2": [1, 0], "24": [0, 1]}
    for au in opened.aus:
        assert deliveries.labels(opened, second, au) == expected.get(au, [0, 0]), au
        assert deliveries.labels(opened, third, au) == ([-1] if au == "2" else [0]), au

    film = train["F003/T4:2"]
    assert deliveries.shown(film) == [grey(n) for n in (2, 3, 4, 5)]
    for au in opened.aus:
        assert deliveries.labels(opened, film, au) == ([0, 1, 0, 1] if au == "4" else [0] * 4)
    np.testing.assert_allclose(film.timestamps_T, [0.04, 0.08, 0.12, 0.16], atol=1e-3)
    assert deliveries.shown(test["F007/T8:9"]) == [grey(9), grey(10)]
    assert deliveries.labels(opened, test["F007/T8:9"], "17") == [1, 1]

    folder = "Sequences_2D+3D/M001/T2"
    assert left_out(opened) == [
        ("2F03_08.avi", "6", "not in film"),
        ("2F03_08.avi", "7", "not in film"),
        (f"{folder}/013.jpg", "13", "unreadable"),
        (f"{folder}/12.jpg", "12", "missing"),
    ]
    told = capsys.readouterr().out
    assert "taken for AUs that were not coded: 3 5 8-9 11 13 16 18-22 25-38 40-98" in told
    assert "0 of 13 published counts agree" in told and "AU1 2 (-31040)" in told


@pytest.mark.parametrize(("chosen", "aus"), [("occurrence", "bp4d"), ("intensity", None)])
def test_aus_of_the_protocols(source, tmp_path, chosen, aus):
    words = ["--aus", chosen, "--protocol", "subjects", "--test", "0", "--validation", "0"]
    opened = deliveries.build("bp4d", source, tmp_path / "out", *words)
    assert opened.aus == (facs.DATASET_AUS["bp4d"] if aus else ("6", "10", "12", "14", "17"))
    clip = deliveries.clips(opened, "train")["F001/T1:3"]
    assert deliveries.grades(opened, clip, "6") == [0, -1, 3, 5]
    assert deliveries.labels(opened, clip, "12") == [1, 1, -1, -1]


def test_a_folder_around_and_links(source, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "BP4D").symlink_to(source)
    (source / "AUCoding" / "round").symlink_to(source)
    delivery = bp4d.read(outer, bp4d.Options())
    assert [r.name for r in delivery.recordings] == ["F001/T1", "F003/T4", "F007/T8", "M001/T2"]


# Lists


def test_three_folds_part_the_41_people():
    everyone = {f"F{n:03d}" for n in range(1, 24)} | {f"M{n:03d}" for n in range(1, 19)}
    for parts in (bp4d.THREE_FOLD, bp4d.FMAE_THREE_FOLD, bp4d.OPENGRAPHAU):
        listed = [subject for part in parts.values() for subject in part]
        assert len(listed) == 41 and set(listed) == everyone
    assert [len(bp4d.THREE_FOLD[part]) for part in ("part1", "part2", "part3")] == [14, 14, 13]


@pytest.mark.parametrize(
    ("protocol", "tested"),
    [
        ("fold1", bp4d.THREE_FOLD["part3"]),
        ("fold2", bp4d.THREE_FOLD["part2"]),
        ("fold3", bp4d.THREE_FOLD["part1"]),
        ("fmae-fold1", bp4d.FMAE_THREE_FOLD["part3"]),
        ("fmae-fold3", bp4d.FMAE_THREE_FOLD["part1"]),
        ("opengraphau", bp4d.OPENGRAPHAU["test"]),
        ("fera2015", []),
    ],
)
def test_who_is_tested(protocol, tested):
    split_of = bp4d.split_of(protocol)
    assert len(split_of) == 41
    assert {s for s, split in split_of.items() if split == "test"} == set(tested)
    if protocol == "fera2015":
        odd = {s for s, split in split_of.items() if split == "train"}
        assert odd == {s for s in split_of if s[-1] in "13579"} and len(odd) == 21
        assert set(split_of.values()) == {"train", "validation"}


def test_people_get_the_split_of_their_list(source):
    for protocol, splits in {
        "fold1": ["train", "train", "test", "train"],
        "fold2": ["train", "test", "train", "train"],
        "fold3": ["test", "train", "train", "test"],
        "fera2015": ["train"] * 4,
        "opengraphau": ["train", "validation", "test", "train"],
        "subjects": [None] * 4,
    }.items():
        found = bp4d.read(source, bp4d.Options(protocol=protocol)).recordings
        assert [r.split for r in found] == splits, protocol


def test_published_counts_add_up():
    frames, *_, fold1_all, fold1 = (known.counts for known in bp4d.BUILDER.known[:5])
    assert frames["frames"] == 146847
    positives = bp4d.BUILDER.known[1].counts
    published = (31042, 25110, 29755, 67676, 80616, 87270, 82530, 68375, 24869, 50406, 24288, 22229)
    assert tuple(positives.values()) == published
    assert fold1 == fold1_all and fold1["frames/test"] == 46034 and fold1["AU24/test"] == 7286
    for known in bp4d.BUILDER.known:
        assert set(known.when) <= {"protocol", "aus"}
        for key in known.counts:
            assert known_counts.count(key, Path(), {"splits": {}}) == 0


def test_default_faces_are_understood():
    assert FaceSteps.parse(bp4d.BUILDER.faces).detection == "haar"


# Bad input


def test_another_set_is_refused(tmp_path, capsys):
    deliveries.write_text(tmp_path / "CK" / "Emotion" / "S005.txt", "3")
    told = deliveries.refused(capsys, "bp4d", tmp_path / "CK", tmp_path / "out")
    assert "is not BP4D as delivered: expected AUCoding or AU_OCC, found Emotion" in told


def test_bp4d_plus_is_refused(source, tmp_path, capsys):
    long_form(source / "AUCoding/AU_OCC/F024_T1.csv", {1: {1: 1}})
    told = deliveries.refused(capsys, "bp4d", source, tmp_path / "out")
    assert "F024, who is not among the 41 people" in told and "bp4d_plus" in told


def test_label_folder_without_labels(tmp_path, capsys):
    (tmp_path / "BP4D" / "AUCoding").mkdir(parents=True)
    told = deliveries.refused(capsys, "bp4d", tmp_path / "BP4D", tmp_path / "out")
    assert "has no label file like AU_OCC/F001_T1.csv" in told


def test_two_label_files_for_one_task(source, tmp_path, capsys):
    long_form(source / "AUCoding/F001_T1.csv", {3: {1: 1}})
    told = deliveries.refused(capsys, "bp4d", source, tmp_path / "out")
    assert "F001_T1.csv and" in told and "hold the same; remove one of them" in told


def test_two_pictures_for_one_frame(source, tmp_path, capsys):
    pictures(source / "Sequences_2D+3D/F001/T1", [4], 1)
    told = deliveries.refused(capsys, "bp4d", source, tmp_path / "out")
    assert "are both frame 4; remove one of them" in told


def test_packed_pictures(source, tmp_path, capsys):
    folder = source / "Sequences_2D+3D"
    (folder / "M001").rename(source / "elsewhere")
    (folder / "M001.zip").write_bytes(b"PK")
    told = deliveries.refused(capsys, "bp4d", source, tmp_path / "out")
    assert "M001.zip is packed; unpack it" in told


def test_half_a_delivery(source, tmp_path, capsys):
    for task in ("F001/T1", "M001/T2"):
        for path in (source / "Sequences_2D+3D" / task).iterdir():
            path.unlink()
    told = deliveries.refused(capsys, "bp4d", source, tmp_path / "out")
    assert "Sequences_2D+3D/F001/T1/3.jpg" in told


@pytest.mark.parametrize(
    ("lines", "message", "line"),
    [
        (["0,1,2", "3,1,x"], "line 2, column 3: 'x' is no number", "2"),
        (["0,1,2", "3,1,0", "3,1,0"], "line 3: frame 3 comes twice or out of order", "3"),
        (["0,1,2", "3.5,1,0"], "line 2: '3.5' is no number of a frame", "2"),
        (["0,1,2", "3,1"], "line 2, column 3: nothing is no number", "2"),
        (["frame,AU1,smile", "3,1,0"], "the header should be numbers of AUs, not 'smile'", ""),
        (["0,1,1.1", "3,1,0"], "two columns are for AU 1", ""),
        (["0,1,2"], "has no rows", ""),
        ([""], "is empty", ""),
    ],
)
def test_one_damaged_label_file_is_left_out_and_listed(source, lines, message, line):
    deliveries.write_text(source / "AUCoding/AU_OCC/F001_T1.csv", *lines)
    delivery = bp4d.read(source, bp4d.Options())
    assert [r.name for r in delivery.recordings] == ["F003/T4", "F007/T8", "M001/T2"]
    (row,) = delivery.left_out
    assert row.file == "AUCoding/AU_OCC/F001_T1.csv" and str(row.line or "") == line
    assert row.reason.startswith("unreadable labels: ") and message in row.reason


@pytest.mark.parametrize("lines", [["3,x"], ["3,1", "3,2"], ["0"]])
def test_a_damaged_intensity_file_costs_its_grades_alone(source, lines):
    deliveries.write_text(source / "AUCoding/AU_INT/AU06/F001_T1_AU06.csv", *lines)
    delivery = bp4d.read(source, bp4d.Options())
    first = delivery.recordings[0]
    assert (first.intensity_TA[:, delivery.aus.index("6")] == -1).all()
    assert (first.intensity_TA[:, delivery.aus.index("12")] == [2, -1, -1, -1]).all()
    (row,) = delivery.left_out
    assert row.file.endswith("F001_T1_AU06.csv")


def test_nothing_but_damaged_label_files(tmp_path, capsys):
    root = tmp_path / "BP4D"
    for name in ("F001_T1", "M001_T1"):
        deliveries.write_text(root / "AUCoding" / "AU_OCC" / f"{name}.csv", "0,1", "3,x")
    told = deliveries.refused(capsys, "bp4d", root, tmp_path / "out")
    assert "M001_T1.csv, line 2, column 2: 'x' is no number" in told


def test_pandas_headers_and_frames_that_are_floats(tmp_path):
    path = deliveries.write_text(tmp_path / "F001_T1.csv", "1,1.1,2,AU04", "7.0,1.0,0,9")
    numbers_T, columns = bp4d.occurrence_file(path)
    assert numbers_T.tolist() == [7]
    assert {au: value_T.tolist() for au, value_T in columns.items()} == {
        "1": [1], "2": [0], "4": [-1],
    }  # fmt: skip
