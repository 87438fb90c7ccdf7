"""One rule for all answers, calibrated, corrected and smoothed; stopped anywhere, they go on."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_frames import AUS, FACE, THRESHOLD_A, film, films, reading, same

from jaxfacs.emotion import RuleMapper, named
from jaxfacs.emotion import person as profiles
from jaxfacs.emotion.person import Person
from jaxfacs.errors import UserError
from jaxfacs.infer import tables
from jaxfacs.infer.answers import Answers, AnswerSettings, Reading
from jaxfacs.infer.results import RawFace

REST = Person("anna", {"6": 0.25, "12": 0.95}, {"6": 1.0}, 10, "test")
CHOICES = [
    AnswerSettings(),
    AnswerSettings("median"),
    AnswerSettings("first:0.5"),
    AnswerSettings("first:0.5", causal=True),
    AnswerSettings("image:neutral.png", smooth_s=0.3),
    AnswerSettings("median", smooth_s=0.1),
    AnswerSettings("first:0.2", smooth_s=0.3),
    AnswerSettings("none", smooth_s=0.3, causal=True),
    AnswerSettings("median", smooth_s=0.3, causal=True),
]


def answers(choice, **options):
    rest = REST if choice.baseline.startswith("image") else None
    return Answers(reading(**options), choice, rest=rest)


def run(frames, choice, **options):
    made = answers(choice, **options)
    return [*made.push(frames), *made.finish()]


@given(films(values=4), st.sampled_from(CHOICES), st.booleans())
@settings(deadline=None, max_examples=30)
def test_the_three_columns_agree_as_printed(frames, choice, intensity):
    """Whatever was done before: `_c` is `_p` ≥ threshold, and `_r` is at least 1 just there."""
    results = run(frames, choice, intensity=intensity, mapper=False)
    assert [r.frame for r in results] == [f.frame for f in frames]
    table = tables.create("openface", aus=AUS, emotions=())
    for result in results:
        for line in table.lines(result):
            row = dict(zip(table.header, line.split(","), strict=True))
            if row["success"] == "0":
                continue
            for label, threshold in zip(("AU06", "AU12"), THRESHOLD_A, strict=True):
                p, r, c = (float(row[f"{label}_{kind}"]) for kind in "prc")
                assert (p >= threshold) == (c == 1) == (r >= 1)
                assert 0 <= p <= 1 and 0 <= r <= 5


@given(
    films(),
    st.sampled_from([CHOICES[0], CHOICES[4], CHOICES[7]]),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=20)
def test_answers_rise_with_the_raw_score(frames, choice, share):
    """With a rest that does not depend on the film: raised scores lower no column."""

    def raised(raw):
        values = raw.values_V.astype(np.float64)
        return RawFace(raw.face_id, FACE, values + share * (1 - values))

    higher = [dataclasses.replace(f, faces=tuple(map(raised, f.faces))) for f in frames]
    low, high = run(frames, choice, mapper=False), run(higher, choice, mapper=False)
    for one, other in zip(low, high, strict=True):
        for a, b in zip(one.faces, other.faces, strict=True):
            assert (b.probability_A >= a.probability_A).all()
            assert (b.intensity_A >= a.intensity_A).all()
            assert (b.present_A >= a.present_A).all()


@given(films(), st.sampled_from(CHOICES), st.data())
@settings(deadline=None, max_examples=30)
def test_stopped_at_any_frame_it_goes_on_exactly(frames, choice, data):
    cut = data.draw(st.integers(0, len(frames)))
    whole = run(frames, choice)
    first = answers(choice)
    results = list(first.push(frames[:cut]))
    state = first.state()
    for value in state.values():
        assert isinstance(value, np.ndarray) or json.dumps(value)
    second = answers(choice)
    second.restore(state)
    results += [*second.push(frames[cut:]), *second.finish()]
    same(results, whole)
    one_by_one = answers(choice)
    each = [result for f in frames for result in one_by_one.push([f])] + one_by_one.finish()
    same(each, whole)
    if choice.causal:
        live = answers(choice)
        assert all(len(live.push([f])) == 1 for f in frames)


def test_a_probability_is_calibrated_before_anything_else():
    results = run(film([[0.4, 0.4]]), AnswerSettings())
    np.testing.assert_allclose(results[0].faces[0].probability_A, [0.2, 0.4])
    assert results[0].faces[0].present_A.tolist() == [False, False]


def test_a_picture_of_rest_is_taken_out_by_the_formula_of_profiles():
    results = run(film([[0.4, 0.96], [1.0, 1.0]]), AnswerSettings("image:neutral.png"))
    # 6: calibrated 0.2, below its rest. 12: a rest of 0.95 counts as 0.9.
    np.testing.assert_allclose(results[0].faces[0].probability_A, [0, 0.6], atol=1e-4)
    np.testing.assert_allclose(results[1].faces[0].probability_A, [0.7 / 0.75, 1], atol=1e-4)


def test_a_profile_brings_thresholds_edits_and_rest(tmp_path):
    path = tmp_path / "anna.json"
    made = Person("anna", {"12": 0.5}, {}, 9, "x", {"12": 0.81}, {"happiness": {"12": None}})
    profiles.save(made, path)
    assert profiles.load(path) == made
    table = dataclasses.replace(reading(), mapper=named("published"))
    frames = film([[0.9, 0.8]])
    (before,), (after,) = (
        Answers(table, AnswerSettings(person=person)).push(frames) for person in ("", str(path))
    )
    assert before.faces[0].present_A.tolist() == [True, True]
    assert after.faces[0].present_A.tolist() == [True, False]
    assert after.faces[0].probability_A.tolist() == before.faces[0].probability_A.tolist()
    happiness = named("published").emotions.index("happiness")
    assert after.faces[0].emotion_E[happiness] < before.faces[0].emotion_E[happiness]
    choice = AnswerSettings(f"profile:{path}")  # the rest alone
    (rested,) = Answers(table, choice).push(frames)
    np.testing.assert_allclose(rested.faces[0].probability_A[1], 0.6, atol=1e-4)
    with pytest.raises(UserError, match="co-occurrence"):
        Answers(reading(), AnswerSettings(person=str(path)))
    own = dataclasses.replace(reading(), own_emotions=("joy",), mapper=None)
    with pytest.raises(UserError, match="edits a table"):
        Answers(own, AnswerSettings(person=str(path)))


def test_profiles_of_before_are_read_and_wrong_ones_named(tmp_path):
    path = tmp_path / "old.json"
    old = {
        "kind": "person",
        "name": "b",
        "source": "x",
        "frames": 3,
        "neutral_probability": {"4": 0.2},
        "neutral_intensity": {},
    }
    path.write_text(json.dumps(old))
    read = profiles.load(path)
    assert read.thresholds == {} and read.emotions == {} and read.probability == {"4": 0.2}
    for part in ({"thresholds": {"4": 1.5}}, {"emotions": {"sadness": {"4": 2}}}):
        path.write_text(json.dumps(old | part))
        with pytest.raises(UserError, match="lies in 0 to 1"):
            profiles.load(path)


def test_explanations_name_the_aus_that_decided():
    made = reading()
    (result,) = Answers(made).push(film([[1.0, 0.9]]))
    why = made.explain(result.faces[0])
    assert why.emotion == "happiness"
    assert {r.au for r in why.speaks_for} == {"6", "12"}
    place = RuleMapper("emfacs").emotions.index("happiness")
    assert why.probability == pytest.approx(result.faces[0].emotion_E[place], abs=1e-3)
    assert reading(mapper=False).explain(result.faces[0]) is None


def test_choices_that_there_are_not_are_named():
    for text in ("neutral", "first", "first:0", "first:x", "image", "profile:", "median:3"):
        with pytest.raises(UserError, match="baseline"):
            AnswerSettings(text)
    for seconds in (-1, 61, float("nan")):
        with pytest.raises(UserError, match="smoothing"):
            AnswerSettings(smooth_s=seconds)
    with pytest.raises(UserError, match=r"nobody\.json"):
        Answers(reading(), AnswerSettings("profile:nobody.json"))
    assert dataclasses.asdict(AnswerSettings()) == {
        "baseline": "none",
        "smooth_s": 0.0,
        "person": "",
        "causal": False,
    }
    assert AnswerSettings("first:2", 0.5, "p").of_stills() == AnswerSettings("none", 0.0, "p")
    assert AnswerSettings("image:a.png", 0.5).of_stills().baseline == "image:a.png"


def test_the_networks_own_emotions_stay_its_own():
    own = Reading(threshold_A=THRESHOLD_A, aus=AUS, own_emotions=("joy", "calm"), has_affect=True)
    outputs = {
        "probability": np.array([[0.9, 0.1]]),
        "valence_arousal": np.array([[0.5, -0.25]]),
        "emotion": np.array([[0.75, 0.25]]),
    }
    values = own.pack(outputs, 0)
    assert values.tolist() == [[np.float32(0.9), np.float32(0.1), 0.5, -0.25, 0.75, 0.25]]
    (result,) = Answers(own, AnswerSettings("median")).push(film(values))
    assert result.faces[0].emotion_E.tolist() == [0.75, 0.25]
    assert result.faces[0].valence_arousal_2.tolist() == [0.5, -0.25]
    assert own.explain(result.faces[0]) is None and own.emotion_names == ("joy", "calm")
