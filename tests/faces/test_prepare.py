"""One crop for every frame: which face, where it is when it is not seen, what is given."""

import weakref

import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.faces import align, prepare
from jaxfacs.faces.crop import crop
from jaxfacs.faces.detect import Face
from jaxfacs.faces.points import AVERAGE_68x2, haar_square
from jaxfacs.faces.prepare import PRESETS, FaceSteps, Known, prepared

SCRIPTED = FaceSteps("haar", margin=0.0, size=20)


@pytest.fixture
def scripted(monkeypatch):
    """Puts a list of answers, one for each frame, in the place of detector and tracker."""

    def install(*answers):
        script = iter(answers)
        monkeypatch.setattr(prepare, "follower", lambda detector: lambda frame: next(script))

    return install


def face(number: int, *box: float, points=None) -> tuple[int, Face]:
    return number, Face(np.array(box, np.float32), 1.0, points)


def frames(count: int, *shape: int) -> list[np.ndarray]:
    size = shape or (80, 120, 3)
    return [np.random.default_rng(i).integers(0, 256, size, np.uint8) for i in range(count)]


def given(x: float, y: float, side: float) -> Known:
    return Known(np.array([x, y, side, side], np.float32))


def face_at(x: float, y: float, side: float) -> np.ndarray:
    """The 68 landmarks of an average face in this square."""
    return side * AVERAGE_68x2 + (x, y)


def five(points_68x2: np.ndarray) -> np.ndarray:
    p = points_68x2
    return np.stack([p[36:42].mean(0), p[42:48].mean(0), p[30], p[48], p[54]])


# Found by a detector


def test_one_face_is_followed_and_kept_in_place_where_it_is_missed(scripted):
    left, right = face(0, 10, 10, 30, 30), face(1, 60, 10, 40, 40)
    scripted([left], [right, left], [], [right])
    got = list(prepared(frames(4), SCRIPTED))
    # the larger newcomer only when the first one is gone
    assert [c.box_4.tolist()[0] for c in got] == [10, 10, 10, 60]
    assert [c.found for c in got] == [True, True, False, True]
    same = crop(frames(4)[2], left[1].box_4, size=20, margin=0.0)
    np.testing.assert_array_equal(got[2].frame_HWC, same)


def test_before_the_first_find_it_is_the_middle_of_the_picture(scripted):
    scripted([], [face(0, 10, 10, 30, 30)], [])
    first, found, lost = prepared(frames(3), FaceSteps("haar", margin=0.5, size=20))
    assert first.box_4.tolist() == [20, 0, 80, 80] and not first.found
    np.testing.assert_allclose(first.matrix_2x3, [[0.25, 0, -5], [0, 0.25, 0]])
    assert found.found and lost.box_4.tolist() == [10, 10, 30, 30]


def test_the_known_face_is_taken_among_others(scripted):
    scripted([face(0, 60, 10, 60, 60), face(1, 12, 10, 30, 30)])
    (got,) = prepared(frames(1), SCRIPTED, [given(10, 10, 30)])
    assert got.found and got.box_4.tolist() == [12, 10, 30, 30]
    scripted([face(0, 60, 10, 60, 60), face(1, 12, 10, 30, 30)])
    (got,) = prepared(frames(1), SCRIPTED, [Known(landmarks_K2=face_at(10, 10, 30))])
    assert got.found and got.box_4.tolist() == [12, 10, 30, 30]


def test_a_miss_keeps_to_the_known_place_without_a_jump(scripted):
    scripted([], [face(0, 14, 10, 36, 36)], [])
    known = [given(x, 10, 30) for x in (10, 10, 20)]
    first, found, missed = prepared(frames(3), SCRIPTED, known)
    assert first.box_4.tolist() == [10, 10, 30, 30] and not first.found
    assert found.found and not missed.found
    np.testing.assert_allclose(missed.box_4, [24, 10, 36, 36], atol=1e-4)  # moved by 10, as known


def test_a_box_that_is_not_square_keeps_its_longer_side(scripted):
    scripted([])
    known = [Known(np.array([10, 10, 20, 30], np.float32))]
    (got,) = prepared(frames(1), SCRIPTED, known)
    assert got.box_4.tolist() == [5, 10, 30, 30] and not got.found


def test_eyes_and_mouth_are_taken_from_the_detectors_points(scripted):
    points = five(face_at(30, 10, 60)) @ np.array([[0.96, 0.28], [-0.28, 0.96]])
    steps = FaceSteps("y.onnx", "eyes-mouth", size=64)
    template = align.ALIGNMENTS["eyes-mouth"].template_N2 / 4
    scripted([face(0, 30, 10, 60, 60, points=points)], [], [face(0, 30, 10, 60, 60)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "detector", lambda name: name)
        patch.setattr(FaceSteps, "require", lambda self: None)
        got = list(prepared(frames(3), steps))
    landed = align.moved(got[0].matrix_2x3, points)
    middle = np.stack([landed[0], landed[1], landed[3:].mean(0)])
    np.testing.assert_allclose(middle, template, atol=0.4)  # an average face is 1 % longer
    assert [c.found for c in got] == [True, False, False]
    for later in got[1:]:
        np.testing.assert_array_equal(later.matrix_2x3, got[0].matrix_2x3)


# Given


@pytest.mark.parametrize("word", ["boxes", "landmarks"])
def test_what_should_be_given_must_be(word):
    with pytest.raises(UserError, match=f"'{word}' needs {word} that come with the pictures"):
        prepared(frames(1), FaceSteps.parse((word,)))


BAD_BOXES = [
    None,
    np.full(4, np.nan),
    np.array([10, 10, np.nan, 30]),
    np.array([10, 10, 0, 30]),
    np.array([10, 10, -30, -30]),
    np.array([500, 10, 30, 30]),  # beside the frame
    np.array([10, -90, 30, 30]),
    np.array([-1e8, -1e8, 2e8, 2e8]),  # would fill the memory
    np.array([0, 0, np.inf, 10]),
]


@pytest.mark.parametrize("bad", BAD_BOXES, ids=str)
def test_a_box_that_is_none_is_not_found(bad):
    steps = FaceSteps.parse(("boxes", "box:0.5"), size=16)
    known = [Known(bad), given(10, 20, 30), Known(bad)]
    first, found, last = prepared(frames(3), steps, known)
    assert [first.found, found.found, last.found] == [False, True, False]
    assert first.box_4.tolist() == [20, 0, 80, 80]
    assert last.box_4.tolist() == found.box_4.tolist() == [10, 20, 30, 30]
    np.testing.assert_array_equal(last.matrix_2x3, found.matrix_2x3)


@pytest.mark.parametrize("name", ["eyes-mouth", "scc", "openface"])
@pytest.mark.parametrize("kind", [68, 66])
def test_given_landmarks_are_laid_on_the_template(name, kind):
    points = face_at(30, 10, 50)
    kept = points if kind == 68 else np.delete(points, (60, 64), 0)
    steps = FaceSteps.parse(("landmarks", name), size=64)
    (got,) = prepared(frames(1), steps, [Known(landmarks_K2=kept)])
    chosen = align.ALIGNMENTS[name]
    landed = chosen.points(align.moved(got.matrix_2x3, points))
    np.testing.assert_allclose(landed, chosen.template_N2 * 64 / chosen.side, atol=0.4)
    assert got.found
    np.testing.assert_allclose(got.box_4, [30, 10, 50, 50], atol=0.1)


@pytest.mark.parametrize("name", ["box:0.1", "eyes-mouth", "scc", "openface"])
def test_landmarks_that_are_none_are_not_found(name):
    steps = FaceSteps.parse(("landmarks", name), size=32)
    bad = [None, np.full((68, 2), np.nan), np.zeros((68, 2)), np.full((68, 2), 7.0)]
    bad += [face_at(5000, 10, 50), face_at(-1e6, -1e6, 2e6), face_at(40, 40, 0.01)]
    if name != "box:0.1":
        inner = [*range(1, 5), *range(12, 16), *range(27, 48), 48, 54]
        spot = face_at(30, 10, 50)  # its outline is a face's, what is aligned is half a pixel
        spot[[8, *inner]] = (55, 35) + 0.01 * (spot[[8, *inner]] - (55, 35))
        bad.append(spot)
    known = [Known(landmarks_K2=p) for p in (*bad, face_at(30, 10, 50), *bad)]
    got = list(prepared(frames(len(known)), steps, known))
    assert [c.found for c in got] == [k == len(bad) for k in range(len(known))]
    for cut in got[: len(bad)]:
        assert cut.box_4.tolist() == [20, 0, 80, 80]
    for cut in got[len(bad) :]:
        np.testing.assert_array_equal(cut.matrix_2x3, got[len(bad)].matrix_2x3)


def test_without_landmarks_an_aligned_face_starts_at_its_box():
    steps = FaceSteps.parse(("me-graphau",), size=64)
    points = face_at(30, 10, 50)
    known = [given(30, 10, 50), Known(np.array([30, 10, 50, 50]), points)]
    guessed, measured = prepared(frames(2), steps, known)
    assert not guessed.found and measured.found
    np.testing.assert_allclose(guessed.matrix_2x3, measured.matrix_2x3, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("scc", 49), ("scc", 51), ("openface", 49), ("scc", 5)])
def test_landmarks_without_a_jaw_are_refused_where_it_is_needed(name, kind):
    points = {5: five, 51: lambda p: p[17:], 49: lambda p: np.delete(p[17:], (43, 47), 0)}
    steps = FaceSteps.parse(("landmarks", name))
    with pytest.raises(UserError, match=f"'{name}' needs 68 landmarks.*{kind} landmarks are given"):
        list(prepared(frames(1), steps, [Known(landmarks_K2=points[kind](face_at(30, 10, 50)))]))


def test_openface_is_black_around_the_landmarks():
    frame = np.full((200, 200, 3), 255, np.uint8)
    points = face_at(40, 40, 120)
    (got,) = prepared([frame], FaceSteps.parse(("openface",)), [Known(landmarks_K2=points)])
    x, y = np.floor(align.moved(got.matrix_2x3, points)[27:]).astype(int).T
    assert (got.frame_HWC[y, x] == 255).all()
    assert not got.frame_HWC[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert set(np.unique(got.frame_HWC)) == {0, 255}
    (lost,) = prepared([frame], FaceSteps.parse(("openface",)), [Known()])
    assert not lost.found and 0.3 < (lost.frame_HWC == 255).mean() < 0.9


def test_the_mask_of_openface_grows_with_the_crop():
    frame = np.full((80, 80, 3), 255, np.uint8)
    for known in (Known(), Known(landmarks_K2=face_at(10, 10, 60))):
        small, large = (
            next(prepared([frame], FaceSteps.parse(("openface",), size=s), [known])).frame_HWC
            for s in (56, 112)
        )
        assert (large[::2, ::2] != small).mean() < 0.03


# All of them


def test_the_whole_picture_is_a_crop():
    (got,) = prepared([np.full((40, 40, 3), 9, np.uint8)], FaceSteps.parse(("none",), size=20))
    assert got.found and got.box_4.tolist() == [0, 0, 40, 40] and (got.frame_HWC == 9).all()
    (wide,) = prepared(frames(1), FaceSteps.parse(("whole",), size=60))
    np.testing.assert_allclose(wide.matrix_2x3, [[0.5, 0, 0], [0, 0.5, 10]])
    assert (wide.frame_HWC[0] == wide.frame_HWC[9]).all()  # its edge is repeated to a square


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (5, 3, 1), (30, 1, 3), (2, 400, 3), (64, 48)])
@pytest.mark.parametrize("name", PRESETS)
def test_tiny_and_grey_pictures_give_a_crop_each(name, shape):
    steps = FaceSteps.parse((name,), size=16)
    got = list(prepared(frames(2, *shape), steps, [Known(), Known()]))
    assert [c.frame_HWC.shape for c in got] == [(16, 16, 3)] * 2
    assert all(c.frame_HWC.dtype == np.uint8 and c.box_4.dtype == np.float32 for c in got)
    assert all(c.found == (name == "whole") for c in got)
    if len(shape) == 2:
        assert (got[0].frame_HWC[..., 0] == got[0].frame_HWC[..., 2]).all()


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 40, 3), np.uint8),
        np.zeros((40, 0), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros(12, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
    ],
    ids=lambda f: f"{f.dtype}{f.shape}",
)
def test_what_is_no_picture_is_named(frame):
    with pytest.raises(ValueError, match="frame 1 is"):
        list(prepared([*frames(1), frame], FaceSteps.parse(("none",))))


def test_known_faces_must_last():
    with pytest.raises(ValueError, match="end before frame 1"):
        list(prepared(frames(2), FaceSteps.parse(("boxes",)), [given(10, 10, 30)]))


def test_a_place_in_a_picture_of_another_size_is_not_carried_on():
    steps = FaceSteps.parse(("boxes",), size=16)
    pictures = [*frames(1), *frames(1, 40, 40, 3)]
    _, other = prepared(pictures, steps, [given(70, 40, 30), Known()])
    assert other.box_4.tolist() == [0, 0, 40, 40]


def test_frames_are_asked_for_one_by_one_and_let_go():
    alive: list[weakref.ref] = []

    def endless():
        while True:
            frame = np.full((60, 60, 3), len(alive) % 200, np.uint8)
            alive.append(weakref.ref(frame))
            yield frame

    cuts = prepared(endless(), FaceSteps.parse(("haar",), size=16))
    assert not alive
    for number in range(1, 9):
        next(cuts)
        assert len(alive) == number
    assert sum(frame() is not None for frame in alive) <= 2


def test_twice_the_same_is_the_same():
    points = face_at(30, 10, 50)
    for name in ("openface", "bocklisch"):
        steps = FaceSteps.parse((name,), size=48)
        once, again = (
            [c.frame_HWC for c in prepared(frames(3), steps, [Known(landmarks_K2=points)] * 3)]
            for _ in range(2)
        )
        np.testing.assert_array_equal(once, again)


def test_real_faces_by_yunet_and_by_haar_are_laid_alike(shared_data):
    import cv2

    frame = cv2.imread(str(shared_data / "faces" / "obama.jpg"), cv2.IMREAD_COLOR_RGB)
    yunet = str(shared_data / "yunet" / "face_detection_yunet_2023mar.onnx")
    (aligned,) = prepared([frame], FaceSteps.parse(("me-graphau", yunet)))
    (boxed,) = prepared([frame], FaceSteps.parse(("haar",)))
    assert aligned.found and boxed.found
    steps = FaceSteps.parse(("me-graphau",))
    typical = steps.typical(boxed.box_4)
    middle = boxed.box_4[:2] + boxed.box_4[2:] / 2
    shift = align.moved(aligned.matrix_2x3, middle[None]) - align.moved(typical, middle[None])
    assert np.abs(shift).max() < 25  # a tenth of the crop
    np.testing.assert_allclose(haar_square(AVERAGE_68x2), [0, 0, 1, 1], atol=1e-3)
