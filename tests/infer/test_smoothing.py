"""Smoothing: no frame is shifted offline, none is looked ahead to live, and times are real."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_frames import film, films, frame

from jaxfacs.infer import smoothing
from jaxfacs.infer.smoothing import smoother


def smoothed(frames, smooth_s, *, causal=False, pieces=1):
    made = smoother(smooth_s, causal=causal)
    found = []
    for part in np.array_split(np.arange(len(frames)), pieces):
        found += made.push([frames[i] for i in part])
    return found + made.finish()


def values(frames, face_id=0):
    """Times and values of one face."""
    seen = [
        (f.timestamp, raw.values_V) for f in frames for raw in f.faces if raw.face_id == face_id
    ]
    return np.array([t for t, _ in seen]), np.array([v for _, v in seen])


def by_definition(times_T, values_TV, smooth_s):
    """The Gaussian written down, of one unbroken run."""
    away_TT = times_T[:, None] - times_T
    weight_TT = np.exp(-0.5 * (away_TT / (smooth_s / 2)) ** 2) * (np.abs(away_TT) <= 1.5 * smooth_s)
    return (weight_TT / weight_TT.sum(axis=1, keepdims=True)) @ values_TV


def test_an_apex_stays_in_its_frame_and_comes_later_live():
    bump = np.exp(-(((np.arange(60) - 30) / 4) ** 2))[:, None]
    _, still = values(smoothed(film(bump), 0.3))
    assert still[:, 0].argmax() == 30 and still.max() < 0.9
    np.testing.assert_allclose(still[20:41], still[20:41][::-1])
    _, late = values(smoothed(film(bump), 0.3, causal=True))
    assert 30 < late[:, 0].argmax() <= 34


@pytest.mark.parametrize("causal", [False, True])
def test_what_is_constant_stays(causal):
    times = np.cumsum([0.04, 0.2, 0.01, 0.01, 1.5] * 6)
    frames = film(np.full((30, 3), 0.3), times=times, absent={11, 12})
    _, found = values(smoothed(frames, 0.5, causal=causal))
    np.testing.assert_allclose(found, np.float32(0.3), rtol=1e-12)


@given(films(), st.floats(0.01, 2))
@settings(deadline=None, max_examples=25)
def test_a_stream_gives_what_the_definition_says_of_the_whole(frames, smooth_s):
    found = smoothed(frames, smooth_s, pieces=min(5, len(frames)))
    assert [f.frame for f in found] == [f.frame for f in frames]
    for face_id in range(3):
        present = [any(raw.face_id == face_id for raw in f.faces) for f in frames]
        cuts = np.flatnonzero(np.diff(present)) + 1
        for run in np.split(np.arange(len(frames)), cuts):
            if present[run[0]]:
                times, raw = values([frames[i] for i in run], face_id)
                _, smooth = values([found[i] for i in run], face_id)
                np.testing.assert_allclose(smooth, by_definition(times, raw, smooth_s), atol=1e-12)


@given(films(), st.integers(0, 29))
@settings(deadline=None, max_examples=25)
def test_live_never_looks_ahead(frames, cut):
    whole = smoothed(frames, 0.5, causal=True)
    known = smoothed(frames[: cut + 1], 0.5, causal=True)
    for one, other in zip(whole, known, strict=False):
        np.testing.assert_array_equal(values([one])[1], values([other])[1])


def test_live_goes_by_time_not_by_frames():
    """A step is followed as far after 0.2 s of 5 frames as of 50."""
    reached = []
    for count in (5, 50):
        times = np.concatenate([[0.0], np.linspace(0.2 / count, 0.2, count)])
        step = np.concatenate([[0.0], np.ones(count)])[:, None]
        reached.append(values(smoothed(film(step, times=times), 0.4, causal=True))[1][-1, 0])
    np.testing.assert_allclose(reached, 1 - np.exp(-1))


def test_dropped_frames_do_not_shift_an_apex():
    """Every second frame after the apex is missing; it is still found in its frame."""
    kept = np.concatenate([np.arange(31), np.arange(32, 61, 2)])
    bump = np.exp(-(((kept - 30) / 6) ** 2))[:, None]
    _, found = values(smoothed(film(bump, times=kept / 25), 0.2))
    assert kept[found[:, 0].argmax()] == 30


def test_a_result_waits_for_the_kernel_and_no_longer():
    made = smoother(0.2, causal=False)  # reaches 0.3 s: 7.5 frames
    ready = [len(made.push([f])) for f in film(np.zeros((40, 1)))]
    assert ready == [0] * 8 + [1] * 32
    assert len(made.finish()) == 8
    assert max(len(made._past), len(made._waiting)) <= 9


def test_times_that_stand_still_neither_smooth_nor_wait_for_ever(monkeypatch):
    monkeypatch.setattr(smoothing, "MOST", 10)
    raw = np.arange(30.0)[:, None] / 30
    made = smoother(1.0, causal=False)
    ready = [made.push([f]) for f in film(raw, times=np.zeros(30))]
    assert [len(r) for r in ready] == [0] * 10 + [1] * 20
    _, found = values([f for r in ready for f in r] + made.finish())
    np.testing.assert_array_equal(found, raw.astype(np.float32))


def test_a_face_that_comes_back_begins_anew():
    steps = [frame(1, 0.0, {0: [0.0]}), frame(2, 0.1, {}), frame(3, 0.2, {0: [1.0]})]
    for causal in (False, True):
        assert values(smoothed(steps, 1.0, causal=causal))[1].ravel().tolist() == [0, 1]
