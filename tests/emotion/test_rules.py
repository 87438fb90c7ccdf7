"""Rules hold as the manual writes them, soften with doubt, and say what nobody could judge."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfacs import facs
from jaxfacs.emotion import RuleMapper, explain, explain_codes, from_json
from jaxfacs.errors import UserError
from jaxfacs.facs import PROTOTYPES

MANUAL = RuleMapper("facs_manual")
EMFACS = RuleMapper("emfacs")


def likeliest(mapper, formula):
    return explain_codes(mapper, formula).emotion


@pytest.mark.parametrize(
    ("formula", "emotion"),
    [
        ("0", "neutral"),
        ("12", "happiness"),
        ("6+12", "happiness"),
        ("23", "neutral"),  # anger needs 24 as well
        ("23+24", "anger"),
        ("9", "disgust"),
        ("10", "disgust"),
        ("1+2", "surprise"),
        ("5B", "surprise"),
        ("5C", "neutral"),  # stronger than B is no surprise
        ("1+2+5C", "neutral"),
        ("1+2+4", "fear"),
        ("1+2+5E", "fear"),  # 4 may be absent if 5 is E
        ("1+2+5D", "neutral"),
        ("1+4+15", "sadness"),
        ("11", "sadness"),
        ("6+15", "sadness"),  # the manual's exception
        ("15", "neutral"),
        ("14", "contempt"),
        ("R14", "contempt"),  # on one side or both
    ],
)
def test_manual_criteria(formula, emotion):
    reading = explain_codes(MANUAL, formula)
    assert (reading.emotion, reading.probability) == (emotion, 1.0)


@pytest.mark.parametrize("table", sorted(PROTOTYPES))
def test_every_row_reads_as_its_own_emotion(table):
    mapper = RuleMapper(table)
    for row in PROTOTYPES[table].rows:
        # As published, with every limit kept, and with what most people add.
        levels = {c.label: c for c in (*row.codes, *row.at_most, *row.at_least)}
        added = [facs.Code(int(label)) for label, share in row.shares.items() if share > 0.5]
        reading = explain_codes(mapper, [*levels.values(), *added])
        own = explain_codes(mapper, [*levels.values(), *added], emotion=row.emotion)
        if table == "du2014":  # its emotions overlap: each must be likely, not the likeliest
            assert own.probability > 0.5 * reading.probability, row
        else:
            assert own.probability == reading.probability > 0.3, row


def test_du_rows_with_the_same_aus_are_parted_by_shares():
    mapper = RuleMapper("du2014")
    assert likeliest(mapper, "1+4+15+17") == "sadness"
    assert likeliest(mapper, "4+15+7") == "sadly angry"
    assert likeliest(mapper, "4+9+10+17") == "appalled"
    assert likeliest(mapper, "4+7+10+17") == "hatred"
    assert likeliest(mapper, "1+2+12+25") == "happily surprised"  # not happiness, not surprise


def test_contempt_is_one_sided():
    for formula in ("R12A+R14A", "L12A+L14A", "L12C+R12A+L14B"):
        reading = explain_codes(EMFACS, formula)
        assert (reading.emotion, reading.probability) == ("contempt", 1.0)
    for formula in ("12+14", "L12C+R12C+L14C+R14C"):
        assert explain_codes(EMFACS, formula, emotion="contempt").probability == 0
    assert [str(r) for r in explain_codes(EMFACS, "L12A+L14A").speaks_for] == ["L12", "L14"]


def test_without_sides_contempt_is_only_half_judged():
    both = {"12": 1.0, "14": 1.0, "6": 0.0}
    reading = explain(EMFACS, both, emotion="contempt")
    assert reading.unjudged == ("L12", "R12", "L14", "R14")
    assert 0 < reading.probability < 0.6


def test_surprise_and_fear_are_parted_by_the_strength_of_5():
    assert likeliest(EMFACS, "1+2+5B+26") == "surprise"
    assert explain_codes(EMFACS, "1+2+5D+26", emotion="surprise").probability == 0


def test_what_the_network_lacks_is_unknown_not_absent():
    known = {"1": 0.9, "2": 0.9}
    fear = explain(MANUAL, known, emotion="fear")
    assert fear.unjudged == ("4", "5")
    absent = explain(MANUAL, known | {"4": 0.0, "5": 0.0}, emotion="fear")
    assert 0 < absent.probability + 0.05 < fear.probability
    anger = explain(MANUAL, known, emotion="anger")
    assert (anger.probability, anger.unjudged) == (0, ("23", "24"))
    assert explain(MANUAL, known | {"4": float("nan")}, emotion="fear").unjudged == ("4", "5")


def test_limits_without_intensities_are_named():
    reading = explain(MANUAL, {"1": 1.0, "2": 1.0, "5": 1.0, "4": 0.0}, emotion="surprise")
    assert reading.unjudged == ("5 (intensity)",)


def test_reasons_name_the_deciding_aus():
    surprise = explain_codes(MANUAL, "1+2+4", emotion="surprise")
    assert [str(r) for r in surprise.speaks_against] == ["4"]
    fear = explain_codes(MANUAL, "1+2", emotion="fear")
    assert [str(r) for r in fear.speaks_against] == ["no 4"]
    strong = explain_codes(MANUAL, "5D", emotion="surprise")
    assert [str(r) for r in strong.speaks_against] == ["5"]
    neutral = explain_codes(MANUAL, "12", emotion="neutral")
    assert [str(r) for r in neutral.speaks_against] == ["12"]
    assert str(explain_codes(MANUAL, "6+15")) == "sadness 1.00; for 6, 15"


@given(st.lists(st.floats(0, 1), min_size=27, max_size=27), st.sampled_from(sorted(PROTOTYPES)))
def test_every_reading_is_a_distribution(values, table):
    aus = facs.DATASET_AUS["eb_plus"]
    reading = RuleMapper(table).apply(aus, [values], intensity_TA=[[5 * v for v in values]])
    assert reading.probability_TE.sum() == pytest.approx(1, abs=1e-5)
    assert (reading.probability_TE >= 0).all() and np.isfinite(reading.weight_TEA).all()
    assert np.abs(reading.weight_TEA).max() <= 1


def test_frames_are_read_one_by_one():
    rng = np.random.default_rng(0)
    aus = ("1", "2", "4", "5", "L12", "R12", "L14", "R14", "23", "24")
    probability, intensity = rng.random((20, 10)), rng.uniform(0, 5, (20, 10))
    whole = EMFACS.apply(aus, probability, intensity_TA=intensity)
    for t in range(20):
        one = EMFACS.apply(aus, probability[t : t + 1], intensity_TA=intensity[t : t + 1])
        np.testing.assert_allclose(one.probability_TE[0], whole.probability_TE[t])
        np.testing.assert_allclose(one.weight_TEA[0], whole.weight_TEA[t])


def test_a_frame_without_evidence_has_no_emotion():
    reading = MANUAL.apply(("12", "4"), [[1.0, 0.0], [np.nan, np.nan], [-1, -1]])
    assert np.isnan(reading.probability_TE).all(axis=1).tolist() == [False, True, True]
    assert np.isnan(reading.explain(1).probability)


def test_a_label_without_side_is_the_stronger_side():
    both = MANUAL.apply(("L12", "R12"), [[0.1, 0.9]])
    assert both.explain(0, "happiness").probability == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize("table", sorted(PROTOTYPES))
def test_json_round_trip(table):
    mapper = RuleMapper(table)
    again = from_json(json.loads(json.dumps(mapper.to_json())))
    assert isinstance(again, RuleMapper)
    assert (again.rules, again.emotions, again.source) == (
        mapper.rules,
        mapper.emotions,
        mapper.source,
    )


def test_without_neutral_a_still_face_is_shared_out():
    mapper = RuleMapper("facs_manual", neutral=False)
    assert "neutral" not in mapper.emotions
    reading = explain_codes(mapper, "0")
    assert reading.probability == pytest.approx(1 / len(mapper.emotions))


@pytest.mark.parametrize(
    ("aus", "values", "error"),
    [
        (("12",), [[0.5, 0.5]], ValueError),
        (("12",), [0.5], ValueError),
        (("12",), [[1.5]], ValueError),
        (("AU12",), [[0.5]], facs.CodeError),
    ],
)
def test_wrong_evidence_is_refused(aus, values, error):
    with pytest.raises(error):
        MANUAL.apply(aus, values)


def test_wrong_tables_are_refused():
    with pytest.raises(UserError, match="facs_manual"):
        RuleMapper("emfax")
    with pytest.raises(UserError, match="row"):
        RuleMapper([])
    limit = facs.Prototype("awe", facs.parse("5"), at_most=facs.parse("5"))
    with pytest.raises(UserError, match="letter"):
        RuleMapper([limit])
    shown_by_all = facs.Prototype("awe", facs.parse("5"), shares={"1": 1.0})
    with pytest.raises(UserError, match=r"0\.99"):
        RuleMapper([shown_by_all])
