"""RAF-AU: AUs with sides in one list."""

from pathlib import Path

import deliveries
import pytest

from jaxfacs import facs
from jaxfacs.data.builders import raf_au
from jaxfacs.data.projection import Projection
from jaxfacs.faces.prepare import FaceSteps

ROWS = ("0007.jpg 1+2+L12+R14", "0012.jpg 12+25 ", "0013.jpg null", "0101.jpg R12+L14+T23  ")
AUS = ("1", "2", "12", "14", "23", "25", "L12", "R12", "L14", "R14")
# One row a picture, one column for each of AUS.
CODED = {
    7: [1, 1, 1, 1, 0, 0, 1, 0, 0, 1],
    12: [0, 0, 1, 0, 0, 1, -1, -1, 0, 0],
    13: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    101: [0, 0, 1, 1, 1, 0, 0, 1, 1, 0],
}


def write_set(root: Path, *rows: str) -> Path:
    deliveries.write_text(root / "RAFAU_label.txt", *rows)
    for row in rows:
        number = int(row.split(".")[0])
        deliveries.write_picture(root / "aligned" / f"{number:04d}_aligned.jpg", number)
    return root


@pytest.fixture
def source(tmp_path):
    return write_set(tmp_path / "delivered" / "RAF-AU", *ROWS)


def build(source: Path, out: Path, *options: str):
    return deliveries.build("raf_au", source, out, "--validation", "0", "--test", "0", *options)


def coded(opened) -> dict[int, list[int]]:
    """number of the picture -> occurrence, having checked that the picture is the right one."""
    found = {}
    for key, clip in deliveries.clips(opened).items():
        number = int(key.removeprefix("aligned/").removesuffix("_aligned.jpg"))
        assert deliveries.shown(clip) == [deliveries.grey(number)]
        assert (clip.subject, (clip.intensity_TA == -1).all()) == ("", True)
        found[number] = clip.occurrence_TA[0].tolist()
    return found


def test_every_au_and_side_of_every_picture(source, tmp_path, capsys):
    (source / "RAFAU_landmark.txt").write_text("0007.jpg 1;2\n")
    opened = build(source.parent, tmp_path / "out")
    assert opened.aus == AUS
    assert coded(opened) == CODED
    told = capsys.readouterr().out
    assert "upper or lower lip alone, read as present: T23" in told
    assert "RAFAU_landmark.txt is not read" in told and "frames 4 (-4597)" in told


def test_open_graphau_counts_a_side_only_where_it_is_alone(source, tmp_path):
    options = ("--both-sides", "absent", "--null", "unknown", "--aus", "opengraphau")
    opened = build(source, tmp_path / "out", *options)
    assert opened.aus == AUS and set(AUS) <= set(facs.DATASET_AUS["opengraphau"])
    expected = {**CODED, 12: [0, 0, 1, 0, 0, 1, 0, 0, 0, 0], 13: [-1] * 10}
    assert coded(opened) == expected


def test_both_sides_may_be_taken_for_present(source, tmp_path):
    opened = build(source, tmp_path / "out", "--both-sides", "present")
    assert coded(opened)[12] == [0, 0, 1, 0, 0, 1, 1, 1, 0, 0]


def test_a_mirrored_picture_shows_the_other_side(source):
    delivery = raf_au.read(source, raf_au.Options())
    flipped = Projection.between(delivery.aus, ("12", "L12", "R12", "L14", "R14"), flipped=True)
    occurrence_NA = delivery.recordings[0].occurrence_TA
    assert flipped.occurrence(occurrence_NA)[0].tolist() == [1, 0, 1, 1, 0]


def test_opengraphau_reads_fewer_aus(tmp_path, capsys):
    """FACS has no side for 28, and no 99."""
    source = write_set(tmp_path / "source", "0001.jpg 1+43+L28", "0002.jpg 28+L1+99")
    opened = build(source, tmp_path / "out")
    assert opened.aus == ("1", "28", "43", "L1", "R1")
    assert coded(opened) == {1: [1, 1, 1, -1, -1], 2: [1, 1, 0, 1, 0]}
    assert "numbers that FACS does not have, not read: 99" in capsys.readouterr().out
    few = raf_au.read(source, raf_au.Options(aus="opengraphau"))
    assert few.aus == ("1", "L1", "R1")
    assert few.recordings[0].occurrence_TA.tolist() == [[1, -1, -1], [1, 1, 0]]


def test_padding_may_differ_and_missing_and_bad_files_are_listed(source, tmp_path):
    (source / "aligned" / "0012_aligned.jpg").rename(source / "aligned" / "12_aligned.jpg")
    (source / "aligned" / "0007_aligned.jpg").unlink()
    (source / "aligned" / "0101_aligned.jpg").write_bytes(b"no picture")
    with open(source / "RAFAU_label.txt", "a") as file:
        file.write("0200.jpg 1+smile\n0201.jpg\n")
    opened = build(source, tmp_path / "out", "--may-lack")
    clips = deliveries.clips(opened)
    assert sorted(clips) == ["aligned/0013_aligned.jpg", "aligned/12_aligned.jpg"]
    assert clips["aligned/12_aligned.jpg"].occurrence_TA[0].tolist() == CODED[12]
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [
        "RAFAU_label.txt,5,0200.jpg,,unreadable labels: smile",
        "RAFAU_label.txt,6,0201.jpg,,unreadable labels: nothing",
        ",,aligned/0007_aligned.jpg,,missing",
        ",,aligned/0101_aligned.jpg,,unreadable",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0007.jpg 4", "line 5: 0007.jpg is in line 1 already"),
        ("/etc/0300.jpg 4", "line 5: '/etc/0300.jpg' leads out of the folder"),
        ("face.jpg 4", "line 5: 'face.jpg' should be like 0007.jpg"),
    ],
)
def test_bad_rows_are_refused(source, tmp_path, capsys, row, message):
    with open(source / "RAFAU_label.txt", "a") as file:
        file.write(row + "\n")
    told = deliveries.refused(capsys, "raf_au", source, tmp_path / "out")
    assert "RAFAU_label.txt" in told and message in told


def test_two_files_for_one_picture_are_refused(source, tmp_path, capsys):
    deliveries.write_picture(source / "aligned" / "7_aligned.jpg", 7)
    told = deliveries.refused(capsys, "raf_au", source, tmp_path / "out")
    assert "7_aligned.jpg" in told and "both frame 7" in told


def test_another_folder_is_refused(tmp_path, capsys):
    deliveries.write_text(tmp_path / "source" / "RAFCE_AUlabel.txt", "0001.jpg 1")
    told = deliveries.refused(capsys, "raf_au", tmp_path / "source", tmp_path / "out")
    assert "not RAF-AU as delivered" in told and "RAFCE_AUlabel.txt" in told


def test_whole_pictures_are_searched_for_faces(source):
    assert FaceSteps.parse(raf_au.BUILDER.faces).detection == "none"
    delivery = raf_au.read(source, raf_au.Options(pictures="original"))
    assert FaceSteps.parse(delivery.faces).detection == "haar"
    assert delivery.recordings[0].frames.paths[0] == "original/0007.jpg"
