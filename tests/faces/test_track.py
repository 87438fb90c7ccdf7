"""Ids and boxes over time, with a detector that knows the truth and fails on command."""

import numpy as np

from jaxfacs.faces.detect import Face, create, overlap
from jaxfacs.faces.track import Tracker, follow

SIZE = 160


def portrait(seed: int) -> np.ndarray:
    """A coarse random pattern: the "look" of one person, 40×40."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (5, 5, 3), np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def scene(people: dict[int, tuple[int, int]]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    frame = np.full((SIZE, SIZE, 3), 120, np.uint8)
    boxes = {}
    for seed, (x, y) in people.items():
        frame[y : y + 40, x : x + 40] = portrait(seed)
        boxes[seed] = np.float32([x, y, 40, 40])
    return frame, boxes


def faces(boxes, *, noise=0.0, rng=None):
    out = []
    for box in boxes.values():
        jitter = np.float32(rng.normal(0, noise, 4)) if rng is not None else 0
        out.append(Face(box + jitter, 0.9))
    return out


def test_two_crossing_people_keep_their_ids():
    tracker, ids = Tracker(), {}
    for t in range(40):
        frame, boxes = scene({1: (3 * t, 20), 2: (117 - 3 * t, 90)})
        shown = tracker.update(faces(boxes), frame)
        assert len(shown) == 2
        for face_id, face in shown:
            person = max(boxes, key=lambda p: overlap(boxes[p], face.box_4))
            assert ids.setdefault(person, face_id) == face_id
    assert len(set(ids.values())) == 2


def test_a_gap_is_bridged_with_lower_confidence_and_then_ends():
    tracker = Tracker(max_gap=3)
    frame, boxes = scene({1: (60, 60)})
    tracker.update(faces(boxes), frame)
    seen = [tracker.update([], frame) for _ in range(5)]
    assert [len(s) for s in seen] == [1, 1, 1, 0, 0]
    confidences = [s[0][1].confidence for s in seen[:3]]
    assert confidences == sorted(confidences, reverse=True) and confidences[0] < 0.5


def test_a_cut_ends_a_face_at_once():
    tracker = Tracker()
    frame, boxes = scene({1: (60, 60)})
    tracker.update(faces(boxes), frame)
    assert tracker.update([], np.full_like(frame, 90)) == []


def test_someone_who_returns_elsewhere_gets_the_old_id_and_a_stranger_does_not():
    tracker = Tracker(max_gap=0)
    frame, boxes = scene({1: (10, 10)})
    ((first, _),) = tracker.update(faces(boxes), frame)
    for _ in range(5):
        tracker.update([], np.full_like(frame, 90))
    frame, boxes = scene({2: (60, 60)})
    ((stranger, _),) = tracker.update(faces(boxes), frame)
    assert stranger != first
    frame, boxes = scene({1: (100, 90), 2: (60, 40)})
    shown = {i: f.box_4[0] for i, f in tracker.update(faces(boxes), frame)}
    assert shown[first] == 100


def test_memory_of_the_lost_is_bounded():
    tracker = Tracker(max_gap=0, memory=10)
    for seed in range(60):
        frame, boxes = scene({seed: (60 * (seed % 2), 60)})
        tracker.update(faces(boxes), frame)
    assert len(tracker._lost) <= 11


def test_jitter_is_damped_and_motion_is_followed():
    rng, tracker, centres = np.random.default_rng(0), Tracker(), []
    frame, boxes = scene({1: (60, 60)})
    for _ in range(60):
        ((_, face),) = tracker.update(faces(boxes, noise=1.0, rng=rng), frame)
        centres.append(face.box_4[0])
    assert np.std(centres[5:]) < 0.6  # 1.0 px went in
    frame, boxes = scene({1: (72, 60)})
    ((_, face),) = tracker.update(faces(boxes), frame)
    assert abs(face.box_4[0] - 72) < 1


def test_real_films(shared_data):
    import cv2

    def frames(name):
        film = cv2.VideoCapture(str(shared_data / "faces" / name))
        while True:
            ok, frame = film.read()
            if not ok:
                return
            yield frame[..., ::-1]

    rows = {n: list(follow(frames(n), create("haar"))) for n in ("no_face.mp4", "face_noface.mov")}
    assert len(rows["no_face.mp4"]) == 95 and not any(rows["no_face.mp4"])
    found = [bool(r) for r in rows["face_noface.mov"]]
    assert len(found) == 169 and found == [True] * 72 + [False] * 97
    single = list(follow(frames("single_face.mp4"), create("haar")))
    assert [[i for i, _ in r] for r in single] == [[0]] * 72


def test_a_face_that_is_missed_keeps_its_landmarks():
    frame, boxes = scene({1: (20, 30)})
    points = np.float32([[30, 40], [50, 40], [40, 50], [32, 60], [48, 60]])
    tracker = Tracker()
    tracker.update([Face(boxes[1], 0.9, points)], frame)
    ((_, bridged),) = tracker.update([], frame)
    np.testing.assert_array_equal(bridged.box_4, boxes[1])
    np.testing.assert_array_equal(bridged.landmarks_5x2, points)
