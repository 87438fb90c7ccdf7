"""One run of `jaxfacs predict` over every real file: rows, times and faces, as its README says."""

import csv

import numpy as np
import pytest

from jaxfacs import cli
from jaxfacs.infer.sources.source import FILMS, PICTURES

pytestmark = pytest.mark.long

FACES = {  # of pictures
    "2007_007763.jpg": 7,
    "2009_004587.jpg": 2,  # its README says 5; the picture shows two people
    "astronaut.png": 1,
    "expressions_sheet.jpg": 25,
    "free-mountain-vector-01.jpg": 0,
    "multi_face.jpg": 5,
    "obama.jpg": 1,
    "obama_small.jpg": 1,
    "single_face.jpg": 1,
    "two_people.jpg": 2,
}
LENGTHS = {  # frames that decode, and frames a second on average by ffprobe
    "single_face.mp4": (72, 30.0),
    "WolfgangLanger_Pexels.mp4": (472, 23.976),
    "face_noface.mov": (169, 519168 / 19667),  # a variable rate
    "no_face.mp4": (95, None),
}


@pytest.fixture(scope="module")
def rows(shared_data, bundles, tmp_path_factory):
    """File name -> the rows of its table; all files in one call."""
    folder, out = shared_data / "faces", tmp_path_factory.mktemp("results")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES | FILMS)
    assert {p.name for p in files} == FACES.keys() | LENGTHS.keys()
    yunet = shared_data / "yunet/face_detection_yunet_2023mar.onnx"
    words = ["--model", str(bundles["frame"]), "--detector", str(yunet), "--out", str(out)]
    assert cli.main(["predict", *map(str, files), *words]) == 0
    stems = [p.stem for p in files]
    tables = {}
    for path in files:  # two files of one stem keep their whole names
        name = path.name if stems.count(path.stem) > 1 else path.stem
        with (out / f"{name}.csv").open(newline="") as file:
            tables[path.name] = list(csv.DictReader(file))
    return tables


@pytest.mark.parametrize("name", FACES)
def test_pictures(rows, name):
    found = [row for row in rows[name] if row["success"] == "1"]
    assert len(found) == FACES[name]
    assert len(rows[name]) == max(1, FACES[name])  # nobody there is a row, too
    assert sorted(row["face_id"] for row in found) == sorted(map(str, range(len(found))))


@pytest.mark.parametrize("name", LENGTHS)
def test_films(rows, name):
    frames, fps = LENGTHS[name]
    assert [int(row["frame"]) for row in rows[name]] == list(range(1, frames + 1))
    times_s = np.array([float(row["timestamp"]) for row in rows[name]])
    assert times_s[0] == 0 and (np.diff(times_s) > 0).all()
    if fps is not None:
        np.testing.assert_allclose(times_s[-1], (frames - 1) / fps, atol=2 / fps)


def test_faces_of_films(rows):
    seen = {name: np.array([row["success"] == "1" for row in rows[name]]) for name in LENGTHS}
    assert seen["single_face.mp4"].all() and seen["WolfgangLanger_Pexels.mp4"].all()
    assert not seen["no_face.mp4"].any()
    there = seen["face_noface.mov"]
    last = int(np.flatnonzero(there).max())
    assert there[: last // 2].mean() > 0.9 and not there[last + 1 :].any()
    assert last < len(there) - 10  # the face leaves well before the end
    for name in ("single_face.mp4", "WolfgangLanger_Pexels.mp4"):
        assert {row["face_id"] for row in rows[name]} == {"0"}
