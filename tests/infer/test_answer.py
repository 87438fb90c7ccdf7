"""Probability, presence and intensity never contradict, in memory or in print."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxfacs.infer.answer import answer, centred

probability = st.floats(0, 1)
threshold = st.floats(0.0001, 0.9999).map(lambda t: min(max(round(t, 4), 0.0001), 0.9999))


@given(probability, threshold, st.none() | st.floats(0, 5))
def test_the_three_columns_agree_as_printed(p, t, own):
    intensity = None if own is None else np.array([own])
    shown_p, present, graded = answer(np.array([p]), np.array([t]), intensity)
    printed_p, printed_r = float(f"{shown_p[0]:.4f}"), float(f"{graded[0]:.2f}")
    assert (printed_p >= t) == bool(present[0]) == (printed_r >= 1)
    assert 0 <= printed_r <= 5


@given(st.lists(probability, min_size=2, max_size=30), threshold)
def test_intensity_and_centred_probability_rise_with_probability(ps, t):
    p = np.sort(np.array(ps))[:, None]
    shown, _, graded = answer(p, np.array([t]))
    assert (np.diff(graded[:, 0]) >= 0).all()
    moved = centred(shown, np.array([t]))
    assert (np.diff(moved[:, 0]) >= 0).all()
    assert ((moved >= 0.5) == (shown >= t)).all() and moved.min() >= 0 and moved.max() <= 1


def test_ends_of_the_scale():
    _, present, graded = answer(np.array([0.0, 0.3, 1.0]), np.array([0.3, 0.3, 0.3]))
    assert present.tolist() == [False, True, True] and graded.tolist() == [0.0, 1.0, 5.0]
