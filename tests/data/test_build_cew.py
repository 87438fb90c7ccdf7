"""CEW: closed eyes are AU 43, places of eyes, one photograph in one split, single eyes."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import cew
from jaxfacs.faces.prepare import FaceSteps

TOP = "dataset_B_FacialImages"
CLOSED = {
    "closed_eye_0001.jpg_face_1": 1,
    "closed_eye_0001.jpg_face_2": 2,
    "closed_eye_0002.BMP_face_1": 3,
}
OPEN = {"Aaron_Guiel_0001": 4, "Abid_Hamid-Tikriti_0003": 5, "Aaron_Guiel_0002": 6}
EVERYBODY = ("--validation", "0", "--test", "0")


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    for name, pictures in (("ClosedFace", CLOSED), ("OpenFace", OPEN)):
        for stem, number in pictures.items():
            deliveries.write_picture(folder / TOP / name / f"{stem}.jpg", number)
    deliveries.write_text(
        folder / TOP / "EyeCoordinatesInfo_ClosedFace.txt",
        "closed_eye_0001.jpg_face_1.jpg 30 41  70 42",
        "closed_eye_0002.BMP_face_1.jpg 31 43 71 44 ",
        "closed_eye_0999.jpg_face_1.jpg 1 2 3 4",
        "",
    )
    deliveries.write_text(
        folder / TOP / "EyeCoordinatesInfo_OpenFace.txt", "Aaron_Guiel_0001.jpg 32 45 72 46"
    )
    return folder


def test_every_label_of_every_picture(source, tmp_path):
    out = tmp_path / "out"
    opened = deliveries.build("cew", source, out, *EVERYBODY)
    told = {
        Path(key).stem: (
            clip.subject,
            deliveries.labels(opened, clip, "43"),
            deliveries.shown(clip),
            np.nan_to_num(clip.attributes_TK[0], nan=-1).tolist(),
        )
        for key, clip in deliveries.clips(opened).items()
    }
    none = [-1] * 4
    assert opened.aus == ("43",)
    assert opened.attributes == ("eye1_x", "eye1_y", "eye2_x", "eye2_y")
    assert told == {
        "closed_eye_0001.jpg_face_1": ("", [1], [grey(1)], [30, 41, 70, 42]),
        "closed_eye_0001.jpg_face_2": ("", [1], [grey(2)], none),
        "closed_eye_0002.BMP_face_1": ("", [1], [grey(3)], [31, 43, 71, 44]),
        "Aaron_Guiel_0001": ("Aaron_Guiel", [0], [grey(4)], [32, 45, 72, 46]),
        "Abid_Hamid-Tikriti_0003": ("Abid_Hamid-Tikriti", [0], [grey(5)], none),
        "Aaron_Guiel_0002": ("Aaron_Guiel", [0], [grey(6)], none),
    }
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        "EyeCoordinatesInfo_ClosedFace.txt,3,ClosedFace/closed_eye_0999.jpg_face_1.jpg,,missing"
    ]


def test_faces_of_one_photograph_are_in_one_recording(tmp_path, source):
    for number in range(10, 50):
        for face in (1, 2):
            name = f"closed_eye_{number:04d}.jpg_face_{face}.jpg"
            deliveries.write_picture(source / TOP / "ClosedFace" / name, 0)
    read = cew.read(source, cew.Options())
    closed = [r for r in read.recordings if not r.subject]
    assert len(closed) == 3 and sum(len(r.frames) for r in closed) == 83
    homes: dict[str, set[str]] = {}
    for recording in closed:
        for path in recording.frames.paths:
            homes.setdefault(path.split(".")[0], set()).add(recording.name)
    assert all(len(names) == 1 for names in homes.values())
    assert FaceSteps.parse(cew.BUILDER.faces, size=cew.BUILDER.size).words == ("none",)


def test_single_eyes(tmp_path):
    folder = tmp_path / "source"
    top = folder / "dataset_B_Eye_Images"
    pictures = {
        "closedLeftEyes/closed_eye_0001.jpg_face_1_L.jpg": 1,
        "closedRightEyes/closed_eye_0001.jpg_face_1_R.jpg": 2,
        "openLeftEyes/Aaron_Guiel_0001_L.jpg": 3,
        "openRightEyes/Aaron_Guiel_0001_R.jpg": 4,
    }
    for place, number in pictures.items():
        deliveries.write_picture(top / place, number, height=24, width=24)
    words = ("--part", "eyes", *EVERYBODY)
    opened = deliveries.build("cew", folder, tmp_path / "out", *words)
    told = {
        key: (
            clip.subject,
            deliveries.labels(opened, clip, "43")[0],
            deliveries.shown(clip)[0],
            clip.attributes_TK[0, 0],
        )
        for key, clip in deliveries.clips(opened).items()
    }
    assert list(told.values()) == [
        ("Aaron_Guiel", 0, grey(3), 1),
        ("Aaron_Guiel", 0, grey(4), 0),
        ("", 1, grey(1), 1),
        ("", 1, grey(2), 0),
    ]


def test_a_bad_picture_is_listed(source, tmp_path):
    (source / TOP / "OpenFace/Aaron_Guiel_0001.jpg").write_bytes(b"\xff\xd8")
    out = tmp_path / "out"
    assert len(deliveries.clips(deliveries.build("cew", source, out, *EVERYBODY))) == 5
    assert ",,OpenFace/Aaron_Guiel_0001.jpg,,unreadable" in (out / "skipped.csv").read_text()


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("a.jpg 1 2 3", "line 1: expected a name and four numbers, not 'a.jpg 1 2 3'"),
        ("a.jpg 1 2 3 x", "line 1: expected a name and four numbers"),
        ("../../a.jpg 1 2 3 4", "line 1: '../../a.jpg' leads out of the folder"),
        ("a.jpg 1 2 3 4\na.jpg 1 2 3 5", "line 2: a.jpg stands in line 1 already"),
    ],
)
def test_bad_rows_are_refused(source, tmp_path, capsys, row, text):
    deliveries.write_text(source / TOP / "EyeCoordinatesInfo_OpenFace.txt", row)
    message = deliveries.refused(capsys, "cew", source, tmp_path / "out")
    assert text in message and "EyeCoordinatesInfo_OpenFace.txt" in message


def test_half_copied_and_other_folders(source, tmp_path, capsys):
    (source / TOP / "OpenFace").rename(tmp_path / "away")
    text = deliveries.refused(capsys, "cew", source, tmp_path / "out")
    assert "OpenFace is missing; copy the delivery again" in text
    text = deliveries.refused(capsys, "cew", tmp_path / "away", tmp_path / "out")
    assert "is not CEW as delivered" in text
