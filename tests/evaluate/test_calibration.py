"""Calibration finds what was bent, on people it did not see, and never turns an order round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfacs.errors import UserError
from jaxfacs.evaluate import calibration, report, thresholds
from jaxfacs.evaluate.calibration import Curve


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def bent(count, *, slope=2.5, bias=1.2, seed=0, people=20):
    """Labels, what a too sure network says of them, the true chance, and whose they are: N×1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1.5, (count, 1))
    truth = (rng.random((count, 1)) < sigmoid(z)).astype(int)
    said = sigmoid(slope * z + bias).astype(np.float32)
    return truth, said, sigmoid(z), rng.integers(0, people, count)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_the_error_falls_on_people_that_the_curve_did_not_see(method):
    truth, said, chance, person = bent(4000)
    after = calibration.cross_fitted(truth, said, person, method=method)
    curves = calibration.fit(truth, said, method=method)
    found = calibration.reliability(truth, said, after, curves=curves, measured="halves")
    assert found.columns["ece_before"][0] > 0.1
    assert found.columns["ece_after"][0] < 0.03
    assert found.columns["ece_mass_after"][0] < 0.03 < found.columns["ece_mass_before"][0]
    assert found.columns["brier_after"][0] < found.columns["brier_before"][0]
    assert found.methods == (method,) and found.columns["known"][0] == 4000
    # Near to the chance that the labels were drawn with.
    assert np.abs(calibration.apply(said, curves) - chance).mean() < 0.03


def test_temperature_and_bias_come_back():
    truth, said, _, _ = bent(40_000)
    (curve,) = calibration.fit(truth, said)
    x = np.linspace(0.001, 0.999, 999)
    z = np.log(x / (1 - x))
    np.testing.assert_allclose(curve(x), sigmoid((z - 1.2) / 2.5), atol=0.015)


def test_scores_that_hardly_differ_say_little_of_higher_ones():
    """The network is right; its scores are all near to 0.12, and 0.3 has to be guessed."""
    guesses = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        said = sigmoid(rng.normal(-2, 0.2, (200, 1)))
        (curve,) = calibration.fit((rng.random((200, 1)) < said).astype(int), said)
        guesses.append(float(curve(np.array(0.3))))
    assert np.abs(np.array(guesses) - 0.3).mean() < 0.1 and max(guesses) < 0.7


def test_cross_fitting_uses_only_the_other_half():
    """Labels that are turned round in half of the people make the curve of the other half fall."""
    truth, said, _, person = bent(2000, people=2)
    after = calibration.cross_fitted(truth, said, person)
    for half in (0, 1):
        rows = person == half
        (other,) = calibration.fit(truth[~rows], said[~rows])
        np.testing.assert_array_equal(after[rows, 0], other(said[rows, 0]))
    groups = np.repeat(np.arange(10), np.arange(1, 11))
    second = calibration._second_half(groups)
    assert all(len(set(second[groups == g])) == 1 for g in range(10))
    assert abs(second.sum() - (~second).sum()) <= 10


def test_few_labels_make_no_curve_and_some_no_steps():
    truth, said, _, _ = bent(600)
    few = truth.copy()
    few[np.flatnonzero(few[:, 0])[9:], 0] = -1
    assert calibration.fit(few, said) == (None,)
    some = truth.copy()
    some[np.flatnonzero(some[:, 0])[50:], 0] = -1
    assert calibration.fit(some, said, method="isotonic")[0].method == "temperature"
    assert calibration.fit(truth, said, method="none") == (None,)
    unchanged = calibration.apply(said, (None,))
    assert unchanged.dtype == np.float64 and (unchanged == said).all()


def test_labels_that_a_score_parts_or_does_not_follow_stay_a_rising_curve():
    rng = np.random.default_rng(3)
    truth = (np.arange(100) >= 50).astype(int)[:, None]
    said = np.linspace(0, 1, 100)[:, None]
    (parted,) = calibration.fit(truth, said)
    assert 0 < parted(np.array(0.2)) < 0.1 and 0.9 < parted(np.array(0.8)) < 1
    (contrary,) = calibration.fit(1 - truth, said)  # the higher the score, the less likely
    assert (np.diff(contrary.calibrated_K) >= 0).all()
    (noise,) = calibration.fit(rng.integers(0, 2, (500, 1)), rng.random((500, 1)))
    assert np.abs(noise(np.linspace(0.05, 0.95, 9)) - 0.5).max() < 0.15
    every = calibration.fit(np.repeat(truth, 8, 0), np.repeat(said, 8, 0), method="isotonic")[0]
    assert every.method == "isotonic" and 0 < every(np.array(0.0)) < every(np.array(1.0)) < 1


knots = st.lists(st.floats(0, 1), min_size=1, max_size=8, unique=True).flatmap(
    lambda x: st.lists(st.floats(0, 1), min_size=len(x), max_size=len(x)).map(
        lambda y: Curve(sorted(x), sorted(y))
    )
)


@given(knots, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_no_curve_turns_an_order_round(curve, values):
    found = curve(np.sort(values))
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(
        found, np.interp(np.sort(values), curve.probability_K, curve.calibrated_K), atol=1e-9
    )
    again = Curve.from_json(curve.to_json())
    assert (again(np.sort(values)) == found).all()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0, 1], [1, 0]),
        ([0, 0], [0, 1]),
        ([0, 2], [0, 1]),
        ([0], [0, 1]),
        ([], []),
        ([np.nan], [0]),
    ],
)
def test_knots_that_are_no_curve_are_refused(x, y):
    with pytest.raises(ValueError):
        Curve(x, y)


def test_bins_and_their_error_by_hand():
    present = np.array([0, 0, 1, 1, 1], bool)
    p = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    width = calibration.bins(present, p)
    assert width.count_K.tolist() == [1, 2, 2]
    np.testing.assert_allclose(width.present_K, [0, 0.5, 1])
    assert width.error == pytest.approx((1 * 0.05 + 2 * 0.35 + 2 * 0.025) / 5)
    mass = calibration.bins(np.arange(100) >= 50, np.repeat(np.arange(20) / 20, 5), equal="mass")
    assert mass.count_K.sum() == 100 and mass.count_K.max() <= 15
    tied = calibration.bins(np.arange(100) >= 50, np.full(100, 0.4), equal="mass")
    assert tied.count_K.tolist() == [100] and tied.error == pytest.approx(0.1)
    assert np.isnan(calibration.bins(np.zeros(0, bool), np.zeros(0)).error)


def test_the_report_has_a_table_and_a_picture(tmp_path):
    truth, said, _, person = bent(500)
    truth, said = np.hstack([truth, np.full_like(truth, -1)]), np.hstack([said, said])
    curves = calibration.fit(truth, said)
    after = calibration.cross_fitted(truth, said, person)
    found = calibration.reliability(truth, said, after, curves=curves, measured="by halves")
    content = report.write(
        tmp_path,
        aus=("1", "12"),
        occurrence_NA=truth,
        probability_NA=calibration.apply(said, curves),
        reliability=found,
    )
    first, unlabelled = content["calibration"]["per_au"]
    assert first["ece_after"] < first["ece_before"] and first["method"] == "temperature"
    assert unlabelled["ece_after"] is None and unlabelled["method"] == "none"
    assert content["calibration"]["mean"]["ece_after"]["aus"] == 1
    page = (tmp_path / "report.md").read_text()
    assert "## Calibration" in page and "by halves" in page
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("recall", [0.5, 0.9, 1.0])
def test_a_threshold_for_a_recall_is_the_highest_that_reaches_it(recall):
    truth, said, _, _ = bent(300)
    (threshold,) = thresholds.tune(truth, said, recall=recall)
    scores = said[truth[:, 0] == 1, 0]
    assert (scores >= threshold).mean() >= recall
    higher = np.unique(said[said > threshold])
    above = higher[1] if higher.size > 1 else 1.0
    assert (scores >= above).mean() < recall


def test_goals_of_thresholds():
    assert thresholds.parse_goal("f1") is None and thresholds.parse_goal("recall:0.9") == 0.9
    for text in ("recall", "recall:0", "recall:1.5", "recall:nan", "precision:0.5", ""):
        with pytest.raises(UserError, match=r"recall:0\.9"):
            thresholds.parse_goal(text)
