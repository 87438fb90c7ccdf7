"""People who cross, leave, return and turn; what is remembered; going on from a kept state."""

import json

import numpy as np
import pytest
from moving_heads import Moment, background, scene

from jaxfacs.faces import detect, drift, looks
from jaxfacs.faces.detect import Face, overlap
from jaxfacs.faces.pairs import best_pairs
from jaxfacs.faces.track import Tracker, follower

ANN, BOB, CAT = 53, 55, 57


@pytest.fixture(scope="module")
def haar():
    return detect.create("haar")


def ids_of(haar, path, count, apart=45.0, back_of=lambda t: background(), **options):
    """The ids under which each person was reported, in order, where heads lie apart."""
    step, ids, rows = follower(haar, **options), {}, []
    for t in range(count):
        moments = path(t)
        shown = step(scene(moments, t, back_of(t)))
        rows.append(len(shown))
        for face_id, face in shown:
            middle = face.box_4[:2] + face.box_4[2:] / 2
            far = [float(np.hypot(m.x - middle[0], m.y - middle[1])) for m in moments]
            order = np.argsort(far)
            if len(far) > 1 and abs(moments[0].x - moments[1].x) < apart:
                continue
            who = moments[order[0]].subject
            if face_id not in ids.setdefault(who, []):
                ids[who].append(face_id)
    return ids, rows


@pytest.mark.parametrize(("behind", "front"), [(ANN, CAT), (CAT, ANN)])
def test_two_people_who_cross_keep_their_ids(haar, behind, front):
    def path(t):
        return [Moment(behind, 60 + 6 * t, 100), Moment(front, 300 - 6 * t, 104)]

    ids, rows = ids_of(haar, path, 40)
    assert {who: len(i) for who, i in ids.items()} == {behind: 1, front: 1}, ids
    assert ids[behind] != ids[front]
    assert rows[:12] == [2] * 12 and rows[-5:] == [2] * 5


@pytest.mark.parametrize(("memory", "known"), [(250, True), (10, False)])
def test_who_returns_is_known_while_remembered(haar, memory, known):
    def path(t):
        there = [Moment(ANN, 90, 100), Moment(BOB, 270, 100)]
        return there if t < 10 or t >= 34 else there[:1]

    ids, _ = ids_of(haar, path, 42, memory=memory, search_every=6)
    assert len(ids[ANN]) == 1 and len(ids[BOB]) == (1 if known else 2), ids


def test_a_cut_to_somebody_else_at_the_same_place_is_somebody_else(haar):
    def path(t):
        return [Moment(ANN if t < 9 else CAT, 180, 100)]

    ids, _ = ids_of(haar, path, 18, back_of=lambda t: background(t // 9))
    assert len(ids[ANN]) == 1 and len(ids[CAT]) == 1 and ids[ANN] != ids[CAT], ids


def test_a_face_that_comes_nearer_is_followed_between_detections(haar):
    step, back, sides = follower(haar, every=6), background(), []
    for t in range(18):
        size = 1.0 + 0.02 * t
        shown = step(scene([Moment(ANN, 120 + 3 * t, 100, size)], t, back))
        ((face_id, face),) = shown
        middle = face.box_4[:2] + face.box_4[2:] / 2
        assert face_id == 0 and np.abs(middle - [120 + 3 * t, 100]).max() < 6
        sides += [face.box_4[2] / size]
    assert max(sides) / min(sides) < 1.15


class Watched:
    """A detector that counts its calls."""

    name, gives_landmarks = "watched", True

    def __init__(self):
        self.near = self.whole = 0

    def __call__(self, frame, near=None):
        self.near += near is not None
        self.whole += near is None
        rows, columns = np.nonzero(frame[..., 0] > 200)
        if len(rows) == 0 or (near is None and (frame == 128).all(-1).sum() > 1500):
            return []
        low = np.float32([columns.min(), rows.min()])
        size = np.float32([np.ptp(columns) + 1, np.ptp(rows) + 1])
        points = (
            low + np.float32([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]]) * size
        )
        return [Face(np.concatenate([low, size]), 0.9, points)]


def card(x: float, y: float, side=60) -> np.ndarray:
    """A bright square with texture."""
    rng = np.random.default_rng(0)
    frame = np.full((180, 320, 3), 90, np.uint8)
    texture = rng.integers(0, 200, (12, 12, 1), np.uint8).repeat(5, 0).repeat(5, 1)
    texture = np.concatenate([np.full_like(texture, 230), texture, texture], -1)
    x, y = round(x), round(y)
    frame[y : y + side, x : x + side] = texture
    return frame


def test_detection_is_sparse_and_landmarks_move_along():
    detector = Watched()
    step = follower(detector, every=5, search_every=20)
    for t in range(40):
        ((_, face),) = step(card(30 + 3 * t, 50 + t))
        truth = np.float32([30 + 3 * t, 50 + t])
        assert np.abs(face.box_4[:2] - truth).max() < 1.0
        assert np.abs(face.landmarks_5x2[0] - truth - 18).max() < 1.0
    assert 7 <= detector.near <= 10 and detector.whole <= 3


def test_what_no_longer_looks_like_it_is_detected_at_once():
    detector = Watched()
    step = follower(detector, every=30, search_every=30)
    for t in range(6):
        step(card(30 + t, 50))
    before = detector.near
    changed = card(36, 50)
    changed[50:110, 36:96, 1:] = changed[50:110, 36:96, 1:][::-1, ::-1]
    step(changed)
    assert detector.near == before + 1
    jumped = card(150, 100)  # further than it can be followed
    ((_, face),) = step(jumped)
    assert np.abs(face.box_4[:2] - [150, 100]).max() < 1


def test_without_a_face_still_pictures_are_searched_rarely():
    detector = Watched()
    step = follower(detector)
    for _ in range(33):
        assert step(np.full((180, 320, 3), 90, np.uint8)) == []
    assert detector.whole <= 5
    assert any(step(card(100, 50)) for _ in range(2))  # a change is looked at


def test_going_on_from_a_state_is_exact(haar):
    back = background()
    frames = [
        scene([Moment(ANN, 60 + 6 * t, 100), Moment(CAT, 300 - 6 * t, 104)], t, back)
        for t in range(24)
    ]
    whole = follower(haar)
    expected = [whole(f) for f in frames]
    for split in (7, 17):  # before and in the crossing
        first, second = follower(haar), follower(haar)
        for f in frames[:split]:
            first(f)
        state = first.state()
        numbers = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
        arrays = {k: v.copy() for k, v in state.items() if isinstance(v, np.ndarray)}
        second.restore(json.loads(json.dumps(numbers)) | arrays)
        for f, wanted in zip(frames[split:], expected[split:], strict=True):
            got = second(f)
            assert [i for i, _ in got] == [i for i, _ in wanted]
            for (_, a), (_, b) in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a.box_4, b.box_4)
                assert a.confidence == b.confidence


def test_a_tracker_goes_on_from_its_state():
    frame = card(30, 50)
    face = Face(np.float32([30, 50, 60, 60]), 0.9, np.float32([[40, 60]] * 5))
    tracker, other = Tracker(), Tracker()
    tracker.update([face], frame)
    other.restore(tracker.state())
    ((a, one),), ((b, two),) = tracker.update([], frame), other.update([], frame)
    assert a == b and one.confidence == two.confidence < 0.5
    np.testing.assert_array_equal(one.landmarks_5x2, two.landmarks_5x2)
    assert Tracker().state().keys() == {"frame_index", "next_id", "active", "lost"}


def test_pairs_have_the_largest_sum():
    from itertools import permutations

    rng = np.random.default_rng(0)
    for m, n in [(1, 1), (2, 3), (3, 2), (4, 4), (0, 3), (3, 0), (5, 2)]:
        for _ in range(20):
            score = rng.uniform(-0.5, 1, (m, n))
            pairs = best_pairs(score, 0.1)
            assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
            ours = sum(score[a, b] - 0.1 for a, b in pairs)
            gain = np.maximum(score - 0.1, 0)
            wide = gain if m <= n else gain.T
            rows = range(min(m, n))
            best = max(
                (sum(wide[r, c] for r, c in zip(rows, p, strict=True))
                 for p in permutations(range(max(m, n)), min(m, n))),
                default=0,
            )  # fmt: skip
            assert ours == pytest.approx(best)
    assert best_pairs(np.array([[0.9, 0.8], [0.85, 0.1]]), 0.0) == [(0, 1), (1, 0)]


def test_drift_finds_shift_size_and_tilt():
    import cv2

    frame = cv2.GaussianBlur(card(120, 60), (0, 0), 1)
    face = Face(np.float32([120, 60, 60, 60]), 0.9, np.float32([[135, 75], [165, 75]]))
    anchor = drift.anchored(frame, face)
    move = cv2.getRotationMatrix2D((150.0, 90.0), -6.0, 1.06)
    move[:, 2] += (7, -4)
    now, likeness = drift.moved(anchor, cv2.warpAffine(frame, move, (320, 180)))
    assert likeness > 0.95
    points = face.landmarks_5x2 @ move[:, :2].T + move[:, 2]
    assert np.abs(drift.face_of(now).landmarks_5x2 - points).max() < 0.4
    assert overlap(drift.face_of(now).box_4, np.float32([125.2, 54.2, 63.6, 63.6])) > 0.95
    assert drift.moved(anchor, np.full_like(frame, 90))[1] == -1  # nothing there
    still, likeness = drift.moved(anchor, frame)
    assert likeness > 0.999 and np.abs(drift.face_of(still).box_4 - face.box_4).max() < 0.02


def test_looks_tell_people_apart():
    back = background()
    box = np.float32([141, 59, 78, 78])
    views = {
        who: [looks.look(scene([Moment(who, 180, 100)], t, back), box) for t in (0, 3, 6)]
        for who in (ANN, BOB, CAT)
    }
    for who, seen in views.items():
        assert looks.alikeness(np.stack(seen[:1]), seen[2]) > 1.08
        others = [v for other, vs in views.items() if other != who for v in vs]
        assert max(looks.alikeness(np.stack(seen), v) for v in others) < 1.08
