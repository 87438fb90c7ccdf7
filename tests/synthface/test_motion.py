"""Timing, prototypes and what goes with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.synthface import expressions, motion
from jaxfacs.synthface.heads import EXTRAS, OPTIONAL, PAIRED, SHAPES
from jaxfacs.synthface.variation import Variation


def _draw(seed, **options):
    options = {"frames": 16} | options
    return motion.sample_motion(np.random.default_rng(seed), **options)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 60))
def test_every_draw_keeps_the_rules(seed, frames):
    drawn = _draw(seed, frames=frames)
    assert set(drawn.intensity) <= {*SHAPES, *OPTIONAL}
    assert set(drawn.speech) <= {*SHAPES, *EXTRAS}
    for value in (*drawn.intensity.values(), *drawn.speech.values(), drawn.blink_T):
        assert value.shape == (frames,) and value.min() >= 0 and value.max() <= 5
    for event in drawn.events:
        assert event.onset_s < event.apex_s < event.offset_s < event.end_s
        assert 0 < event.peak <= 5
    assert np.abs(drawn.pose_T6[:, 0]).max() <= 45 and drawn.pose_T6.shape == (frames, 6)
    assert np.abs(drawn.gaze_T2[:, 0]).max() <= 30


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nobody_shows_contradictory_actions(seed):
    drawn = motion.sample_expression(np.random.default_rng(seed))
    aus = {label.lstrip("LR") for label in drawn.peaks}
    assert not any(pair <= aus for pair in motion.CONTRADICTORY)


def test_one_seed_is_one_motion():
    first, second = _draw(5), _draw(5)
    assert first.events == second.events and first.emotion == second.emotion
    for label, value in first.intensity.items():
        np.testing.assert_array_equal(value, second.intensity[label])
    np.testing.assert_array_equal(first.gaze_T2, second.gaze_T2)
    assert _draw(6).events != first.events


@pytest.mark.parametrize("emotion", motion.FELT)
def test_a_prototype_is_driven_whole(emotion):
    for seed in range(15):
        drawn = motion.sample_expression(np.random.default_rng(seed), emotion)
        assert drawn.emotion == emotion and drawn.present
        for label in drawn.present:
            sides = [label] if label in SHAPES else ["L" + label, "R" + label]
            assert max(drawn.peaks[side] for side in sides) >= 1.3
        assert not set(drawn.absent) & set(drawn.peaks)


def test_contempt_is_on_either_side_and_only_there():
    sides = set()
    for seed in range(40):
        drawn = motion.sample_expression(np.random.default_rng(seed), "contempt")
        side = drawn.present[0][0]
        sides.add(side)
        assert all(label[0] == side for label in drawn.peaks)
    assert sides == {"L", "R"}


def test_surprise_keeps_the_upper_lid_slight_where_the_table_says_so():
    slight = [row for row in expressions._prototypes("surprise") if row.at_most]
    for seed in range(20):
        drawn = expressions._show_prototype(np.random.default_rng(seed), slight[0], 5.0)
        assert max(drawn.peaks["L5"], drawn.peaks["R5"]) <= 2


def test_a_neutral_face_stays_below_a_trace():
    for seed in range(30):
        drawn = _draw(seed, emotion="neutral")
        assert all(value.max() < 1 for value in drawn.intensity.values())


def test_a_still_is_at_its_apex():
    for seed in range(30):
        drawn = _draw(seed, frames=1, emotion="happiness")
        assert all(e.apex_s <= 0 <= e.offset_s for e in drawn.events if e.label != "45")


def test_expressions_fall_more_slowly_than_they_rise_and_blinks_are_short():
    rises, falls = [], []
    for seed in range(200):
        for event in _draw(seed, frames=50).events:
            whole = event.end_s - event.onset_s
            if event.label == "45":
                assert 0.15 < whole < 0.45
            elif event.label.lstrip("LR") == "43":
                assert event.offset_s - event.apex_s >= 0.5  # shorter would be a blink
            rises.append(event.apex_s - event.onset_s)
            falls.append(event.end_s - event.offset_s)
    assert np.mean(falls) > 1.3 * np.mean(rises)


def test_curves_are_smooth_and_reach_their_peak():
    event = motion.Event("L12", 4.0, 0.2, 0.7, 1.5, 2.5)
    t = np.linspace(0, 3, 3001)
    value = motion.curve(event, t)
    assert value[0] == 0 and abs(value.max() - 4) < 1e-6 and abs(value[-1]) < 1e-6
    assert np.abs(np.diff(value, 2)).max() < 1e-4  # no kink


def test_blinks_come_about_fifteen_times_a_minute():
    minutes = 4
    rest = {"emotion": "neutral", "frames": 25 * 60}
    count = sum(len(_draw(seed, **rest).events) for seed in range(minutes))
    assert 8 * minutes < count < 22 * minutes


def test_all_actions_are_drawn():
    seen = set()
    for seed in range(1500):
        drawn = motion.sample_expression(np.random.default_rng(seed))
        seen |= {label.lstrip("LR") for label, peak in drawn.peaks.items() if peak >= 1}
    assert seen == {label.lstrip("LR") for label in (*SHAPES, *OPTIONAL)}


def test_one_sided_actions_are_drawn():
    count = 0
    for seed in range(300):
        peaks = motion.sample_expression(np.random.default_rng(seed), "").peaks
        count += any(("L" + au in peaks) != ("R" + au in peaks) for au in PAIRED)
    assert 60 < count < 240


def test_near_frontal_stays_near():
    for seed in range(30):
        assert np.abs(_draw(seed, near_frontal=True).pose_T6[:, :3]).max() <= 8


def test_talking_is_left_out_where_it_is_not_wanted_and_changes_nothing_else():
    for seed in range(40):
        talks = _draw(seed)
        still = _draw(seed, variation=Variation.without("speech"))
        assert not still.speech and still.events == talks.events
        np.testing.assert_array_equal(still.gaze_T2, talks.gaze_T2)
    assert sum(bool(_draw(seed).speech) for seed in range(100)) > 5
    assert not any(_draw(seed, emotion="neutral").speech for seed in range(50))


def test_eyes_look_ahead_and_sides_are_alike_where_that_is_wanted():
    for seed in range(20):
        plain = _draw(seed, variation=Variation.naive())
        assert not plain.gaze_T2.any()
        assert _draw(seed).emotion == plain.emotion
        for event in plain.events:
            other = {"L": "R", "R": "L"}.get(event.label[0], "") + event.label[1:]
            assert event.peak in {e.peak for e in plain.events if e.label == other} or (
                other not in {e.label for e in plain.events}
            )


def test_smiles_bare_closed_teeth():
    """25 without 26: a grin with the jaw shut is the commonest smile of photographs."""
    smiles = [
        expressions.sample_expression(np.random.default_rng(s), "happiness") for s in range(300)
    ]
    grins = [s.peaks for s in smiles if "25" in s.peaks and "26" not in s.peaks]
    assert len(grins) > 75


def test_feelings_have_a_published_place_or_none():
    assert expressions.affect("happiness") == pytest.approx((0.81, 0.51))
    assert expressions.affect("sadness", 2.5) == pytest.approx((-0.315, -0.135))
    assert expressions.affect("neutral") == (0, 0)
    assert np.isnan(expressions.affect("contempt")).all() and np.isnan(expressions.affect("")).all()


def test_lids_fold_blinks_in():
    drawn = next(d for d in map(_draw, range(100)) if d.blink_T.max() > 4)
    labels, posed_TS = motion.intensity_table(drawn)
    at = {label: posed_TS[:, i] for i, label in enumerate(labels)}
    assert at["L43"].max() > 4 and at["R43"].max() > 4
    assert drawn.intensity.get("L43", np.zeros(1)).max() < 1  # the drawn motion is left alone


@pytest.mark.parametrize("options", [{"frames": 0}, {"fps": 0}, {"emotion": "hunger"}])
def test_nonsense_is_refused(options):
    with pytest.raises(ValueError):
        _draw(0, **options)
