import numpy as np
import pytest

from jaxfacs.data import crops
from jaxfacs.errors import UserError
from jaxfacs.faces.detect import Face

SETTINGS = crops.CropSettings(detector="scripted", margin=0.0, size=20)


@pytest.fixture
def scripted(monkeypatch):
    """Puts a list of answers, one for each frame, in the place of detector and tracker."""

    def install(*answers):
        script = iter(answers)
        monkeypatch.setattr(crops, "_detector", lambda name: name)
        monkeypatch.setattr(crops, "follower", lambda detector: lambda frame: next(script))

    return install


def face(number: int, *box: float) -> tuple[int, Face]:
    return number, Face(np.array(box, np.float32), 1.0)


def frames(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (80, 120, 3), np.uint8) for i in range(count)]


def test_without_a_detector_the_whole_picture_is_the_crop():
    settings = crops.CropSettings(detector="none", size=20)
    (got,) = crops.face_crops([np.full((40, 40, 3), 9, np.uint8)], settings)
    assert got is not None and not got.found
    assert got.box_4.tolist() == [0, 0, 40, 40] and (got.frame_HWC == 9).all()


def test_one_face_is_followed_and_misses_are_none(scripted):
    left, right = face(0, 10, 10, 30, 30), face(1, 60, 10, 40, 40)
    scripted([left], [right, left], [], [right])
    got = list(crops.face_crops(frames(4), SETTINGS))
    boxes = [None if c is None else c.box_4[0] for c in got]
    assert boxes == [10, 10, None, 60]  # the larger newcomer only when the first one is gone


def test_the_known_face_is_taken_among_others(scripted):
    scripted([face(0, 60, 10, 60, 60), face(1, 12, 10, 30, 30)])
    known = [np.array([10, 10, 30, 30], np.float32)]
    (got,) = crops.face_crops(frames(1), SETTINGS, known=known)
    assert got is not None and got.found and got.box_4.tolist() == [12, 10, 30, 30]


def test_a_miss_keeps_to_the_known_place_without_a_jump(scripted):
    scripted([], [face(0, 14, 10, 36, 36)], [])
    known = [np.array([x, 10, 30, 30], np.float32) for x in (10, 10, 20)]
    first, found, missed = crops.face_crops(frames(3), SETTINGS, known=known)
    assert first is not None and found is not None and missed is not None
    assert first.box_4.tolist() == [10, 10, 30, 30] and not first.found
    assert found.found and not missed.found
    np.testing.assert_allclose(missed.box_4, [24, 10, 36, 36], atol=1e-4)  # moved by 10, as known


def test_points_go_with_the_crop(scripted):
    scripted([face(0, 30, 20, 40, 40)])
    frame = np.zeros((80, 120, 3), np.uint8)
    frame[39:42, 49:52] = 255  # about the point (50, 40), the middle of the box
    (got,) = crops.face_crops([frame], SETTINGS)
    assert got is not None
    point = (np.array([50.0, 40.0]) - got.low_2) * got.scale
    np.testing.assert_allclose(point, [10, 10])
    assert got.frame_HWC[9:11, 9:11].min() > 60 and got.frame_HWC[:7].max() == 0


def test_an_unknown_detector_is_refused():
    with pytest.raises(UserError, match="no face detector 'dlib'"):
        crops.require_detector("dlib")
    crops.require_detector("none")
