"""Rows, times and faces of every file of real faces at hand, as its README counts them."""

import numpy as np
import pytest

from jaxfacs.faces import detect
from jaxfacs.faces.track import follower
from jaxfacs.infer.sources import source as sources

# Frames, seconds at which the last one begins, frames with a face.
FILMS = {
    "single_face.mp4": (72, 71 / 30, 72),
    "WolfgangLanger_Pexels.mp4": (472, 471 / 23.976, 472),
    "face_noface.mov": (169, 6.36, 72),
    "no_face.mp4": (95, 94 / 24, 0),
}
PICTURES = {
    "astronaut.png": 1,
    "obama.jpg": 1,
    "obama_small.jpg": 1,
    "two_people.jpg": 2,
    "single_face.jpg": 1,
    "multi_face.jpg": 5,
    "free-mountain-vector-01.jpg": 0,
    "2007_007763.jpg": 7,
    "2009_004587.jpg": 2,  # its landmark file has 5 boxes, which are of another picture
    "expressions_sheet.jpg": 25,
}


@pytest.fixture(scope="module")
def yunet(shared_data):
    return str(shared_data / "yunet" / "face_detection_yunet_2023mar.onnx")


@pytest.mark.long
@pytest.mark.parametrize("name", FILMS)
def test_films(shared_data, yunet, name):
    (source,) = sources.find([str(shared_data / "faces" / name)])
    follow = follower(detect.create(yunet))
    frames, last, faces = FILMS[name]
    times, ids = [], []
    for number, timestamp, frame in source.frames():
        times.append(timestamp)
        assert number == len(times)
        ids.append([i for i, _ in follow(frame)])
    assert len(times) == frames
    assert times[0] == 0 and (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(last, abs=0.01)
    assert sum(map(bool, ids)) == faces
    assert all(i == [0] for i in ids if i)  # one person, under one id
    assert all(ids[:faces])  # with a face first, then without
    assert not sources.ends_early(source, frames)


@pytest.mark.long
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(shared_data, yunet, name):
    (source,) = sources.find([str(shared_data / "faces" / name)])
    ((_, _, frame),) = source.frames()
    assert len(detect.create(yunet)(frame)) == PICTURES[name]


@pytest.mark.long
def test_the_whole_folder_in_one_go(shared_data):
    found = sources.find([str(shared_data / "faces")])
    assert {s.path.name for s in found if not s.still} == FILMS.keys()
    (pictures,) = (s for s in found if s.still)
    assert {p.name for p in pictures.pictures} == PICTURES.keys()
