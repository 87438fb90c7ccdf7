"""A rest that the user chooses: one in all films, of the first seconds, running, or by a button."""

import tracemalloc

import numpy as np
import pytest
from raw_frames import AUS, film, frame, reading

import jaxfacs
from jaxfacs.emotion.frames import Frames
from jaxfacs.emotion.person import Person, minus_rest, without_rest
from jaxfacs.errors import UserError
from jaxfacs.infer import baseline
from jaxfacs.infer.answers import Answers, AnswerSettings
from jaxfacs.infer.baseline import Baseline


def values(frames, face_id=0):
    return np.array([raw.values_V for f in frames for raw in f.faces if raw.face_id == face_id])


def corrected(text, frames, **options):
    made = Baseline(text, aus=AUS, intensity=False, **options)
    return values([*made.push(frames), *made.finish()])


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, 2)).astype(np.float32)


def test_the_formula_by_hand_and_shared_with_profiles():
    found = minus_rest(np.array([0.1, 0.4, 0.7, 1.0]), 0.4, 1.0)
    np.testing.assert_allclose(found, [0, 0, 0.5, 1])
    np.testing.assert_allclose(minus_rest(np.array([1.0, 3.0, 5.0]), 1.0, 5.0), [0, 2.5, 5])
    assert minus_rest(np.array([0.9, 0.95, 1.0]), 0.99, 1.0).tolist() == pytest.approx([0, 0.5, 1])
    rest = Person("a", {"6": 0.2, "12": 0.4}, {"6": 1.0}, 3, "x")
    raw = noise(20).astype(np.float64)
    table = Frames(
        AUS, raw, 5 * raw, np.arange(20), np.arange(20.0), np.array(["0"] * 20),
        np.zeros(20, int), ("",) * 20, ("",) * 20,
    )  # fmt: skip
    of_table = without_rest(table, rest)
    both = np.hstack([raw, 5 * raw])
    made = Baseline("profile:x", aus=AUS, intensity=True, rest=rest)
    of_film = values(made.push(film(both)))
    expected = np.hstack([of_table.probability_NA, of_table.intensity_NA])
    np.testing.assert_allclose(of_film, expected, atol=1e-6)


def test_the_first_seconds_are_the_rest_of_all_frames():
    raw = noise(60)
    made = Baseline("first:1", aus=AUS, intensity=False)
    ready = [made.push([f]) for f in film(raw)]
    assert [len(r) for r in ready] == [0] * 25 + [26] + [1] * 34  # 25 frames a second
    rest = np.median(raw[:25], axis=0)
    step = 1 / baseline.LEVELS
    found = values([f for r in ready for f in r])
    np.testing.assert_allclose(found, minus_rest(raw, rest, 1.0), atol=20 * step)
    clear = np.abs(raw - rest).min(axis=1) > step
    np.testing.assert_array_equal((found > 0)[clear], (raw > rest)[clear])


def test_each_face_has_first_seconds_of_its_own_and_a_short_film_those_that_there_are():
    frames = [
        frame(t + 1, t / 10, {0: [0.2, 0.0]} | ({1: [0.6, 0.0]} if 5 <= t < 8 else {}))
        for t in range(30)
    ]
    made = Baseline("first:1", aus=AUS, intensity=False)
    ready = [len(made.push([f])) for f in frames]
    # Frames from the sixth on wait for the second face, and go on though it left.
    assert ready[:16] == [0] * 10 + [5, 0, 0, 0, 0, 11] and ready[16:] == [1] * 14
    assert corrected("first:1", frames[:4]).max() < 1e-6  # all at rest, told at the end
    live = Baseline("first:1", aus=AUS, intensity=False, causal=True)
    assert [len(live.push([f])) for f in frames] == [1] * 30


def test_live_the_running_median_stands_in_until_the_rest_is_known():
    raw = noise(60)
    running = corrected("median", film(raw))
    found = corrected("first:1", film(raw), causal=True)
    np.testing.assert_array_equal(found[:25], running[:25])
    offline = corrected("first:1", film(raw))
    np.testing.assert_array_equal(found[25:], offline[25:])


def test_the_running_median_is_that_of_the_frames_so_far():
    raw = noise(80)
    found = corrected("median", film(raw))
    for t in (0, 1, 10, 79):
        rest = np.quantile(raw[: t + 1], 0.5, axis=0, method="inverted_cdf")
        rest = np.round(rest * baseline.LEVELS) / baseline.LEVELS
        np.testing.assert_allclose(found[t], minus_rest(raw[t], rest, 1.0), atol=1e-6)


def test_memory_of_medians_does_not_grow_with_frames_or_faces():
    made = Baseline("median", aus=AUS, intensity=False)
    for face_id in range(100):
        made.push([frame(face_id, face_id / 25, {face_id: [0.1, 0.2]})])
    assert len(made._faces) <= baseline.MOST_FACES + 1
    frames = [frame(t, 100 + t / 25, {0: [0.1, 0.2]}) for t in range(200)]
    made.push(frames)
    tracemalloc.start()
    for _ in range(10):
        made.push(frames)
    assert tracemalloc.get_traced_memory()[0] < 50_000
    tracemalloc.stop()


def test_times_that_stand_still_do_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(baseline, "FASTEST_FPS", 10.0)
    made = Baseline("first:1", aus=AUS, intensity=False)
    ready = [len(made.push([f])) for f in film(noise(30), times=np.zeros(30))]
    assert sum(ready) >= 28 and ready[:10] == [0] * 10


def test_the_button_takes_each_face_as_it_was_in_the_last_seconds():
    made = Answers(reading(curves=(), mapper=False), AnswerSettings(causal=True))
    assert not made.rest_from_last(2)

    def push(number, time_s, faces):
        (result,) = made.push([frame(number, time_s, faces)])
        return [face.probability_A.tolist() for face in result.faces]

    for t in range(50):
        push(t, t / 10, {0: [0.9, 0.0] if t < 25 else [0.5, 0.2], 1: [0.2, 0.2]})
    assert made.rest_from_last(2)
    assert push(50, 5.0, {0: [0.75, 0.2], 1: [0.6, 0.2], 2: [0.4, 0.4]}) == [
        [0.5, 0.0],
        [0.5, 0.0],
        [0.4, 0.4],
    ]
    goes_on = Answers(reading(curves=(), mapper=False), AnswerSettings(causal=True))
    goes_on.restore(made.state())
    (result,) = goes_on.push([frame(51, 5.1, {0: [0.75, 0.2]})])
    assert result.faces[0].probability_A.tolist() == [0.5, 0.0]
    made.set_rest(Person("a", {"6": 0.5}, {}, 1, "x"))
    assert push(51, 5.1, {7: [0.75, 0.3]}) == [[0.5, 0.3]]
    made.set_rest(None)
    assert push(52, 5.2, {0: [0.75, 0.3]}) == [[0.75, 0.3]]


def test_a_picture_gives_a_rest_and_one_without_a_face_is_named(bundles, frames, tmp_path):
    import cv2

    predictor = jaxfacs.load(bundles["clip"], batch=1)
    cv2.imwrite(str(tmp_path / "rest.png"), frames[0][..., ::-1])
    rest = baseline.given_rest(f"image:{tmp_path / 'rest.png'}", predictor)
    (result,) = predictor.video(tmp_path / "rest.png")
    expected = dict(zip(predictor.aus, result.faces[0].probability_A.tolist(), strict=True))
    assert rest.probability == pytest.approx(expected, abs=1e-4) and rest.frames == 1
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 150, np.uint8))
    with pytest.raises(UserError, match="no face"):
        baseline.given_rest(f"image:{tmp_path / 'wall.png'}", predictor)
    assert baseline.given_rest("median", predictor) is None
    with pytest.raises(ValueError, match="without its rest"):
        Answers(reading(), AnswerSettings("image:x.png"))
