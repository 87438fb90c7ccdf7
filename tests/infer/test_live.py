"""Live answers: which crops a clip has, and that they are of the past alone."""

from types import SimpleNamespace

import numpy as np
import pytest

import jaxfacs
from jaxfacs.faces.detect import Face
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.live import Live

SIZE = 2


class Faces:
    """Faces that a test says are there; a crop has the number of its frame as its value."""

    def __init__(self):
        self.ids = [0]

    def __call__(self, frame_HWC):
        return [(i, Face(np.array([0, 0, 2, 2], np.float32), 1.0)) for i in self.ids]


def crop(frame_HWC, box_4, landmarks_5x2):
    return np.full((SIZE, SIZE, 3), frame_HWC[0, 0, 0], np.uint8)


def made(spec, *, faces=None, fps=None):
    count = len(spec.answers)
    reading = SimpleNamespace(pack=lambda outputs, row: row + np.arange(count)[:, None] / 100)
    answers = SimpleNamespace(push=lambda frames: frames)
    return Live(
        follow=faces or Faces(), crop=crop, reading=reading, answers=answers, spec=spec, fps=fps
    )


def frame(n):
    return np.full((4, 4, 3), n, np.uint8)


def shown(clips_BTHWC):
    return clips_BTHWC[:, :, 0, 0, 0].tolist()


def test_a_clip_ends_with_the_frame_and_begins_with_repeats():
    live = made(InputSpec(frames=4, size=SIZE))
    seen = [shown(live.look(frame(n), n / 25, n))[0] for n in range(6)]
    assert seen == [
        [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5],
    ]  # fmt: skip


@pytest.mark.parametrize(("stride", "fps"), [(2, None), (1, 50.0), (2, 25.0)])
def test_a_known_rate_gives_the_networks_step(stride, fps):
    live = made(InputSpec(frames=3, size=SIZE, stride=stride, fps=25.0 if fps else None), fps=fps)
    for n in range(8):
        clips = live.look(frame(n), n / 25, n)
    assert shown(clips) == [[3, 5, 7]]


def test_without_a_rate_frames_are_taken_by_their_times():
    live = made(InputSpec(frames=3, size=SIZE, stride=5, fps=25.0))  # 0.2 s between two frames
    for n, time_s in enumerate([0.0, 0.1, 0.19, 0.3, 0.35, 0.42]):
        clips = live.look(frame(n), time_s, n)
    assert shown(clips) == [[0, 2, 5]]  # of 0.02, 0.22 and 0.42 s the nearest


def test_memory_does_not_grow():
    live = made(InputSpec(frames=4, size=SIZE, fps=25.0))
    for n in range(2000):  # a camera of 1000 frames a second
        live.look(frame(n % 250), n / 1000, n)
    assert len(live._faces[0].crops) <= 40


def test_each_face_has_clips_of_its_own_and_a_lost_one_begins_anew():
    faces = Faces()
    live = made(InputSpec(frames=3, size=SIZE), faces=faces)
    faces.ids = [3, 7]
    live.look(frame(1), 0.0, 1)
    assert shown(live.look(frame(2), 0.1, 2)) == [[1, 1, 2], [1, 1, 2]]
    faces.ids = [7]
    assert shown(live.look(frame(3), 0.2, 3)) == [[1, 2, 3]]
    faces.ids = [7, 3]
    assert shown(live.look(frame(4), 0.3, 4)) == [[2, 3, 4], [4, 4, 4]]


def test_the_last_answer_of_each_clip_is_the_frames():
    faces = Faces()
    faces.ids = [5, 2]
    live = made(InputSpec(frames=3, size=SIZE, answers=(0, 1, 2)), faces=faces)
    assert live.look(frame(1), 0.5, 9).shape == (2, 3, SIZE, SIZE, 3)
    result = live.answer({})
    assert (result.frame, result.timestamp, result.readable) == (9, 0.5, True)
    assert [(f.face_id, f.values_V.tolist()) for f in result.faces] == [(5, [0.02]), (2, [1.02])]
    with pytest.raises(ValueError):
        live.answer({})


def test_frames_that_waited_together_share_a_clip():
    faces = Faces()
    live = made(InputSpec(frames=8, size=SIZE, answers=tuple(range(8))), faces=faces)
    for n in range(8):
        live.look(frame(n), n / 25, n)
        live.answer({})
    assert live.at_once == 4
    clips = live.look_all([(frame(n), n / 25, n) for n in (8, 9, 10)])
    assert shown(clips) == [[3, 4, 5, 6, 7, 8, 9, 10]]
    results = live.answer_all({})
    assert [r.frame for r in results] == [8, 9, 10]
    assert [r.faces[0].values_V[0] for r in results] == [0.05, 0.06, 0.07]


def test_frames_too_far_apart_for_one_clip_get_their_own():
    live = made(InputSpec(frames=4, size=SIZE, answers=(0, 1, 2, 3), fps=25.0))
    clips = live.look_all([(frame(n), float(n), n) for n in (1, 2)])  # a second between them
    assert shown(clips) == [[2, 2, 2, 2], [1, 1, 1, 1]]
    first, second = live.answer_all({})
    assert (first.faces[0].values_V[0], second.faces[0].values_V[0]) == (1.03, 0.03)


def test_a_network_of_one_answer_is_asked_for_every_frame():
    live = made(InputSpec(frames=3, size=SIZE, answers=(1,)))
    assert live.at_once == 1
    for n in (1, 2):
        clips = live.look(frame(n), n / 25, n)
    assert shown(clips) == [[1, 1, 2]]
    assert live.answer({}).faces[0].values_V[0] == 0.0


def test_a_face_that_leaves_among_waiting_frames_keeps_its_answer():
    faces = Faces()
    live = made(InputSpec(frames=4, size=SIZE, answers=(0, 1, 2, 3)), faces=faces)
    shows = {2: [0, 1], 3: [0]}

    def following(frame_HWC):
        faces.ids = shows[int(frame_HWC[0, 0, 0])]
        return faces(frame_HWC)

    live._follow = following
    clips = live.look_all([(frame(n), n / 25, n) for n in (2, 3)])
    results = live.answer_all({})
    assert [[f.face_id for f in r.faces] for r in results] == [[0, 1], [0]]
    assert shown(clips) == [[2, 2, 2, 3], [2, 2, 2, 2]]  # of face 0, to frame 3; of face 1
    assert [[f.values_V[0] for f in r.faces] for r in results] == [[0.02, 1.03], [0.03]]
    with pytest.raises(ValueError):
        live.look_all([(frame(n), n / 25, n) for n in (3, 3, 3)])


def test_a_frame_without_faces_or_picture_has_no_clip():
    faces = Faces()
    live = made(InputSpec(frames=3, size=SIZE), faces=faces)
    assert live.look(None, 0.0, 1).shape == (0, 3, SIZE, SIZE, 3)
    assert live.answer({}).readable is False
    faces.ids = []
    assert len(live.look(frame(1), 0.1, 2)) == 0
    result = live.answer({})
    assert result.readable is True and result.faces == ()


@pytest.mark.parametrize("kind", ["clip", "full"])
def test_a_predictor_goes_live(bundles, frames, kind):
    """Every frame is answered at once, and one that stood still as the film's reading does."""
    predictor = jaxfacs.load(bundles[kind])
    live = predictor.live()
    results = []
    for n, picture in enumerate([frames[0]] * 10):
        results.append(live.answer(predictor.run(live.look(picture, n / 25, n + 1))))
    assert [r.frame for r in results] == list(range(1, 11))
    film = predictor.predict([frames[0]] * 10, fps=25.0)
    np.testing.assert_allclose(
        results[-1].faces[0].probability_A, film[-1].faces[0].probability_A, atol=1e-3
    )
