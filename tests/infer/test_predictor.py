"""Prediction: every frame a result, in order, whatever the batches."""

import gc
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from tiny_bundle import AUS, FRAMES, SIZE, THRESHOLDS, write_tiny

import jaxfacs
from jaxfacs.emotion import RuleMapper
from jaxfacs.errors import UserError
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.sources import source as sources


@pytest.fixture(scope="module")
def predictors(bundles) -> dict[str, Predictor]:
    return {kind: jaxfacs.load(path) for kind, path in bundles.items()}


def clips(count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    level = rng.integers(0, 256, (count, FRAMES, 1, 1, 3), np.uint8)
    return np.broadcast_to(level, (count, FRAMES, SIZE, SIZE, 3)).copy()


@pytest.mark.parametrize("kind", ["clip", "full"])
def test_numbers_do_not_depend_on_the_batch(predictors, kind):
    predictor, some = predictors[kind], clips(64)
    alone = [predictor.run(some[i : i + 1]) for i in range(7)]
    for count in (1, 7, 64):
        together = predictor.run(some[:count])
        for name, values in together.items():
            assert values.shape[0] == count and values.dtype == np.float32
            expected = np.concatenate([a[name] for a in alone[: min(count, 7)]])
            np.testing.assert_allclose(values[:7], expected, rtol=0, atol=1e-6)
    assert predictor.run(some[:0])["probability"].shape[0] == 0


def test_wrong_clips_are_refused(predictors):
    with pytest.raises(ValueError, match="uint8 B×8×16×16×3"):
        predictors["clip"].run(np.zeros((1, FRAMES, SIZE, SIZE + 1, 3), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        predictors["clip"].run(np.zeros((1, FRAMES, SIZE, SIZE, 3), np.float32))


@pytest.mark.parametrize("kind", ["clip", "frame", "full"])
def test_a_row_for_every_frame_in_order(predictors, frames, kind):
    results = predictors[kind].predict(np.stack(frames))
    assert [r.frame for r in results] == list(range(1, 41))
    assert [bool(r.faces) for r in results] == [True] * 20 + [False] * 10 + [True] * 10
    assert {f.face_id for r in results for f in r.faces} == {0}  # it came back as itself
    for result in results:
        for face in result.faces:
            assert face.probability_A.shape == (len(AUS),)
            present = face.probability_A >= list(THRESHOLDS.values())
            assert (face.present_A == present).all()
            assert ((face.intensity_A >= 1) == present).all()
            assert face.emotion_E.shape == (len(predictors[kind].emotions),)


def test_per_clip_answers_are_of_the_clip_around_the_frame(predictors, frames):
    """Built again by hand from the boxes: centred clips of crops, the run's edges repeated."""
    predictor = predictors["clip"]
    results = list(
        predictor.results(
            ((i + 1, i / 20, f) for i, f in enumerate(frames[:20])), fps=20, still=False, hop=1
        )
    )
    faces = [r.faces[0] for r in results]
    crops = [predictor.crop(f, r.box_4) for f, r in zip(frames[:20], faces, strict=True)]
    places = np.arange(20)[:, None] + np.arange(FRAMES) - FRAMES // 2
    by_hand = predictor.run(np.stack(crops)[np.clip(places, 0, 19)])["probability"]
    shown = np.stack([face.probability_A for face in faces])
    np.testing.assert_allclose(shown, by_hand, atol=1e-4)
    assert np.abs(np.diff(by_hand, axis=0)).max() > 1e-3  # a shift by a frame would show
    coarse = np.stack([r.faces[0].probability_A for r in predictor.predict(frames[:20])])
    np.testing.assert_allclose(coarse[::2], by_hand[::2], atol=1e-4)  # a quarter of 8 frames
    np.testing.assert_allclose(coarse, by_hand, atol=0.05)


def test_streaming_equals_reading_at_once(bundles, frames):
    small, large = jaxfacs.load(bundles["full"], batch=2), jaxfacs.load(bundles["full"], batch=32)
    at_once = large.predict(frames)
    stream, pushed = small.stream(), []
    for i, frame in enumerate(frames):
        pushed += stream.push(frame, i / 25)
    latency = len(frames) - len(pushed)
    pushed += stream.finish()
    assert latency <= 2 * 2 * 4 + FRAMES + 1
    for a, b in zip(at_once, pushed, strict=True):
        assert (a.frame, a.timestamp, len(a.faces)) == (b.frame, b.timestamp, len(b.faces))
        for face_a, face_b in zip(a.faces, b.faces, strict=True):
            np.testing.assert_allclose(face_a.probability_A, face_b.probability_A, atol=2e-4)


def test_memory_does_not_grow_with_the_film(predictors):
    """Forty seconds of film; only the frames under way may be held."""
    from jaxfacs.faces.detect import Face

    predictor = predictors["clip"]
    face = np.float32([20, 20, 40, 40])

    def follow(frame):
        return [(0, Face(face, 0.9))]

    stream = predictor.stream(follow=follow)
    peaks = []
    tracemalloc.start()
    for i in range(1000):
        for _ in stream.push(np.full((90, 90, 3), i % 256, np.uint8), i / 25):
            pass
        if i in (300, 988):  # both as far from a full batch
            gc.collect()  # JAX leaves rings of small objects: not a leak, and as large as the slack
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000  # 688 frames more would be 17 MB, their crops 500 kB


def test_nobody_waits_for_ever_when_the_face_is_gone(bundles, frames):
    """Few clips and then a long empty film: the last faces' rows must still come."""
    predictor = jaxfacs.load(bundles["clip"], batch=64)
    stream, rows = predictor.stream(), []
    for i, frame in enumerate([*frames[:12], *[np.full_like(frames[0], 150)] * 600]):
        rows += stream.push(frame, i / 25)
    assert len(rows) > 400


def test_stills_have_nothing_to_do_with_each_other(predictors, frames):
    results = predictors["clip"].predict([frames[0], frames[39], frames[25]], still=True)
    assert [len(r.faces) for r in results] == [1, 1, 0]
    alone = predictors["clip"].predict([frames[39]], still=True)
    np.testing.assert_allclose(
        alone[0].faces[0].probability_A, results[1].faces[0].probability_A, atol=2e-4
    )


def test_unreadable_frames_are_rows_without_faces(predictors, frames):
    results = predictors["clip"].predict([frames[0], None, frames[1]])
    assert [(r.readable, len(r.faces)) for r in results] == [(True, 1), (False, 0), (True, 1)]


def test_two_faces_keep_their_ids(predictors, frames):
    fair, dark = frames[0], np.uint8(frames[0] * 0.6)
    both = [
        np.concatenate([np.roll(fair, t // 2, 1), np.roll(dark, -t // 2, 1)], 1) for t in range(20)
    ]
    results = predictors["frame"].predict(both)
    sides = {(f.face_id, bool(f.box_4[0] < 220)) for r in results for f in r.faces}
    assert len(sides) == 2 and {i for i, _ in sides} == {0, 1}
    assert all(len(r.faces) == 2 for r in results[8:])


def test_emotions_come_from_the_rules_in_the_bundle(tmp_path, frames):
    mapper = RuleMapper("facs_manual")
    path = write_tiny(tmp_path / "mapped.jaxfacs", mapper=mapper.to_json())
    predictor = jaxfacs.load(path)
    assert predictor.emotions == mapper.emotions
    face = predictor.predict(frames[:1])[0].faces[0]
    assert face.emotion_E.shape == (len(mapper.emotions),)
    assert abs(face.emotion_E.sum() - 1) < 0.01
    assert predictor.settings["emotions_from"] == "action units"


def test_film_rate_is_matched_to_the_records(tmp_path):
    predictor = jaxfacs.load(write_tiny(tmp_path / "r.jaxfacs", fps=25.0, stride=2))
    steps = {fps: predictor.stream(fps=fps)._step for fps in (None, 12.5, 25, 30, 50, 100)}
    assert steps == {None: 2, 12.5: 1, 25: 2, 30: 2, 50: 4, 100: 8}


def test_bad_options_are_refused(bundles):
    with pytest.raises(UserError, match="batch is 0"):
        jaxfacs.load(bundles["clip"], batch=0)
    with pytest.raises(UserError, match="no face detector 'x'"):
        jaxfacs.load(bundles["clip"], detector="x")
    with pytest.raises(UserError, match="hop is 99"):
        jaxfacs.load(bundles["clip"]).stream(hop=99)


def test_film_of_a_known_length(predictors, film):
    results = list(predictors["frame"].video(film))
    assert len(results) == 40
    np.testing.assert_allclose([r.timestamp for r in results], np.arange(40) / 20, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "rows", "found"),
    [("single_face.mp4", 72, 72), ("no_face.mp4", 95, 0), ("face_noface.mov", 169, 72)],
)
def test_real_films(predictors, shared_data, name, rows, found):
    (source,) = sources.find([str(shared_data / "faces" / name)])
    results = list(predictors["full"].read(source))
    assert len(results) == rows and sum(bool(r.faces) for r in results) == found
    times = [r.timestamp for r in results]
    assert times[0] == 0 and (np.diff(times) > 0).all()
    assert not sources.ends_early(source, len(results))
    assert bool(source.warnings) == (name == "no_face.mp4")  # its header promises 98


@pytest.mark.parametrize(
    ("name", "faces"),
    [("expressions_sheet.jpg", 25), ("two_people.jpg", 2), ("2007_007763.jpg", 7)],
)
def test_small_faces_of_stills_are_found(bundles, shared_data, name, faces):
    yunet = str(shared_data / "yunet" / "face_detection_yunet_2023mar.onnx")
    predictor = jaxfacs.load(bundles["clip"], detector=yunet)
    (result,) = predictor.video(shared_data / "faces" / name)
    assert len(result.faces) == faces


def test_prediction_loads_no_training_code(bundles, film):
    code = (
        "import sys, jaxfacs; p = jaxfacs.load(sys.argv[1]); r = list(p.video(sys.argv[2])); "
        "assert len(r) == 40; import jaxfacs.infer.command; "
        "bad = {'flax', 'orbax', 'grain', 'tensorflow_datasets', 'optax', 'matplotlib', 'sklearn',"
        " 'jaxfacs.train', 'jaxfacs.data', 'jaxfacs.models'}; "
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundles["clip"]), str(film)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
