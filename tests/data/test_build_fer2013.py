"""FER2013: pictures inside CSV files of three forms, and FER+."""

from pathlib import Path

import deliveries
import numpy as np
import pytest

from jaxfacs.data.builders import fer2013
from jaxfacs.faces.prepare import FaceSteps

USAGES = ("Training", "Training", "Training", "PublicTest", "PrivateTest", "Training", "Training")
EMOTIONS = (0, 6, 3, 1, 5, 2, 4)
VOTES = (  # neutral happiness surprise sadness anger disgust fear contempt unknown NF
    "4,0,0,1,3,2,0,0,0,0",  # 4 of 9: no majority
    "4,1,1,1,1,1,1,0,0,0",  # 4 of 4: single votes do not count
    "0,10,0,0,0,0,0,0,0,0",
    "0,0,1,0,0,0,1,7,1,0",  # contempt
    "0,0,0,0,0,0,0,0,0,10",  # no face
    "0,0,0,3,0,0,1,0,6,0",  # unknown
    "5,5,0,0,0,0,0,0,0,0",  # a tie
)


def pixels(number: int) -> str:
    return " ".join([str(deliveries.grey(number))] * 48 * 48)


def write_faces(path: Path, form: str) -> Path:
    rows = {
        "icml_face_data.csv": ["emotion, Usage, pixels"],
        "fer2013.csv": ["emotion,pixels,Usage"],
        "train.csv": ["emotion,pixels"],
    }[form]
    for number, (emotion, usage) in enumerate(zip(EMOTIONS, USAGES, strict=True)):
        rows.append({
            "icml_face_data.csv": f"{emotion},{usage},{pixels(number)}",
            "fer2013.csv": f"{emotion},{pixels(number)},{usage}",
            "train.csv": f'{emotion},"{pixels(number)}"',
        }[form])  # fmt: skip
    return deliveries.write_text(path / form, *rows)


def write_votes(path: Path) -> Path:
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"  # fmt: skip  # noqa: E501
    named = (f"fer{n:07d}.png" if "10" not in v[-2:] else "" for n, v in enumerate(VOTES))
    rows = [f"{u},{n},{v}" for u, n, v in zip(USAGES, named, VOTES, strict=True)]
    return deliveries.write_text(path / "fer2013new.csv", header, *rows)


@pytest.mark.parametrize("form", ["icml_face_data.csv", "fer2013.csv"])
def test_rows_become_faces(tmp_path, form):
    folder = tmp_path / "source" / ("fer2013" if form == "fer2013.csv" else "")
    write_faces(folder, form)
    opened = deliveries.build("fer2013", tmp_path / "source", tmp_path / "out", "--validation", "0")
    assert opened.emotions[:3] == ("anger", "disgust", "fear")
    assert opened.splits == {"train": 5, "validation": 1, "test": 1}
    split_of = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    for number, (emotion, usage) in enumerate(zip(EMOTIONS, USAGES, strict=True)):
        split = split_of[usage]
        clip = deliveries.clips(opened, split)[f"{split}/0000:{number}"]
        assert (clip.emotion, clip.subject) == (emotion, "")
        assert deliveries.shown(clip) == [deliveries.grey(number)]
        np.testing.assert_array_equal(clip.box_T4, [[0, 0, 48, 48]])


def test_train_csv_alone_names_no_test_set(tmp_path, capsys):
    write_faces(tmp_path / "source", "train.csv")
    deliveries.write_text(tmp_path / "source" / "test.csv", "pixels", pixels(0))
    options = ("--validation", "0", "--test", "0")
    opened = deliveries.build("fer2013", tmp_path / "source", tmp_path / "out", *options)
    clips = deliveries.clips(opened)
    assert [clips[f"fer2013/0000:{n}"].emotion for n in range(7)] == list(EMOTIONS)
    assert "names no test set" in capsys.readouterr().out


def test_fer_plus_is_what_more_than_half_say(tmp_path):
    write_faces(tmp_path / "source", "icml_face_data.csv")
    write_votes(tmp_path / "source")
    opened = deliveries.build(
        "fer2013", tmp_path / "source", tmp_path / "out", "--labels", "fer_plus"
    )
    assert opened.emotions[1] == "happiness" and len(opened.emotions) == 8
    assert opened.attributes[-2:] == ("votes_unknown", "votes_not_a_face")
    clips = {int(key.split(":")[1]): clip for key, clip in deliveries.clips(opened).items()}
    found = {row: clip.emotion for row, clip in clips.items()}
    assert found == {0: -1, 1: 0, 2: 1, 3: 7, 5: -1, 6: -1}
    for row, clip in clips.items():
        assert clip.attributes_TK.tolist() == [[float(v) for v in VOTES[row].split(",")]]
        assert deliveries.shown(clip) == [deliveries.grey(row)]
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [',,icml_face_data.csv,4,"not a face, as FER+ has it"']


def test_fer_plus_must_have_the_same_rows(tmp_path, capsys):
    source = tmp_path / "source"
    write_faces(source, "fer2013.csv")
    options = ("--labels", "fer_plus")
    told = deliveries.refused(capsys, "fer2013", source, tmp_path / "out", *options)
    assert "fer2013new.csv is missing" in told
    votes = write_votes(source)
    lines = votes.read_text().splitlines()
    votes.write_text("\n".join(lines[:-1]) + "\n")
    told = deliveries.refused(capsys, "fer2013", source, tmp_path / "out", *options)
    assert "6 rows" in told and "7" in told
    votes.write_text("\n".join([lines[0], lines[4], *lines[2:4], lines[1], *lines[5:]]) + "\n")
    told = deliveries.refused(capsys, "fer2013", source, tmp_path / "out", *options)
    assert "line 2: PublicTest where fer2013.csv has Training" in told
    (source / "fer2013.csv").unlink()
    write_faces(source, "train.csv")
    told = deliveries.refused(capsys, "fer2013", source, tmp_path / "out", *options)
    assert "add one of them" in told


def test_a_damaged_picture_is_listed_with_its_line(tmp_path):
    path = write_faces(tmp_path / "source", "fer2013.csv")
    lines = path.read_text().splitlines()
    lines[3] = "3,1 2 3,Training"
    lines[4] = lines[4].replace("40 40 ", "400 40 ", 1)
    lines[6] = lines[6].replace(f"{deliveries.grey(5)},Training", "dark,Training")
    path.write_text("\n".join(lines) + "\n")
    opened = deliveries.build("fer2013", tmp_path / "source", tmp_path / "out")
    assert sum(opened.splits.values()) == 4
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [
        "fer2013.csv,4,fer2013.csv,2,unreadable",
        "fer2013.csv,5,fer2013.csv,3,unreadable",
        "fer2013.csv,7,fer2013.csv,5,unreadable",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,{},Training", "line 9: emotion '7' is not 0 to 6"),
        ("0,{},Exam", "line 9: Usage 'Exam' is none of"),
        ("0", "line 9: 1 columns"),
    ],
)
def test_rows_that_say_something_else_are_refused(tmp_path, capsys, row, message):
    path = write_faces(tmp_path / "source", "fer2013.csv")
    with open(path, "a") as file:
        file.write(row.format(pixels(0)) + "\n")
    told = deliveries.refused(capsys, "fer2013", tmp_path / "source", tmp_path / "out")
    assert "fer2013.csv" in told and message in told


def test_another_folder_is_refused(tmp_path, capsys):
    deliveries.write_text(tmp_path / "source" / "training.csv", "a,b")
    told = deliveries.refused(capsys, "fer2013", tmp_path / "source", tmp_path / "out")
    assert "not FER2013 as delivered" in told and "training.csv" in told


def test_a_binary_file_is_refused(tmp_path, capsys):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fer2013.csv").write_bytes(b"\x89PNG\xff\xfe")
    told = deliveries.refused(capsys, "fer2013", tmp_path / "source", tmp_path / "out")
    assert "is no CSV file" in told


def test_the_pictures_are_faces_of_48_px():
    steps = FaceSteps.parse(fer2013.BUILDER.faces, size=fer2013.BUILDER.size)
    assert (steps.detection, steps.size) == ("none", 48)
