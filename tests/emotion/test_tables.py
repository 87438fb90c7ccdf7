"""Tables and classifiers find planted AUs, keep expert edits apart, and come back from JSON."""

import json

import cv2
import numpy as np
import pytest
from sklearn.naive_bayes import BernoulliNB

from jaxfacs import facs
from jaxfacs.emotion import (
    CooccurrenceMapper,
    LearnedMapper,
    RuleMapper,
    cooccurrence,
    explain,
    from_json,
    learned,
    load,
    pspi,
    save,
)
from jaxfacs.emotion.command import show as show_command
from jaxfacs.emotion.plots import heat_map
from jaxfacs.errors import UserError
from jaxfacs.train.emotions import fit as fit_command

AUS = ("1", "4", "6", "12", "15", "25")
EMOTIONS = ("happiness", "sadness", "surprise")
TRUE_RATE = np.array(
    [
        [0.1, 0.1, 0.8, 0.9, 0.1, 0.5],
        [0.6, 0.7, 0.1, 0.1, 0.8, 0.5],
        [0.9, 0.1, 0.1, 0.1, 0.1, 0.5],
    ]
)


def faces(count, seed, *, unknown=0.2):
    rng = np.random.default_rng(seed)
    emotion = rng.integers(0, 3, count)
    occurrence = (rng.random((count, len(AUS))) < TRUE_RATE[emotion]).astype(int)
    occurrence[rng.random(occurrence.shape) < unknown] = -1
    return occurrence, emotion


@pytest.fixture(scope="module")
def table():
    return cooccurrence.fit(*faces(2000, 0), aus=AUS, emotions=EMOTIONS, source="faces")


def lost_accuracy(mapper):
    """How much less often the mapper is right than one who knows the true shares."""
    occurrence, emotion = faces(3000, 1)
    present, absent = (occurrence == 1) * 1.0, (occurrence == 0) * 1.0
    best = present @ np.log(TRUE_RATE).T + absent @ np.log(1 - TRUE_RATE).T
    ours = mapper.apply(AUS, occurrence).probability_TE
    return (best.argmax(1) == emotion).mean() - (ours.argmax(1) == emotion).mean()


def test_fit_counts_shares_of_known_frames_only():
    occurrence = np.array([[1, -1], [0, -1], [1, 1], [-1, 0], [1, 1]])
    table = cooccurrence.fit(
        occurrence, [0, 0, 0, 1, -1], aus=("1", "2"), emotions=("a", "b"), strength=0, min_known=1
    )
    np.testing.assert_allclose(table.rate_EA, [[2 / 3, 1], [np.nan, 0]], atol=1e-4)
    np.testing.assert_array_equal(table.known_EA, [[3, 1], [0, 1]])


def test_fit_finds_the_planted_shares(table):
    np.testing.assert_allclose(table.rate_EA, TRUE_RATE, atol=0.06)
    assert np.isnan(table.used_EA[:, AUS.index("25")]).all()  # the same everywhere: says nothing
    assert lost_accuracy(table) < 0.01
    reading = explain(table, {"12": 1.0, "6": 1.0, "4": 0.0, "25": 1.0})
    assert reading.emotion == "happiness"
    assert {r.au for r in reading.speaks_for[:2]} == {"12", "6"}
    assert "25" not in {r.au for r in (*reading.speaks_for, *reading.speaks_against)}
    assert reading.unjudged == ("1", "15")


def test_temperature_makes_probabilities_honest():
    # Four copies of each AU count each finding four times; tempering takes that back.
    occurrence, emotion = faces(4000, 2, unknown=0)
    copies = np.tile(occurrence, 4)
    labels = tuple(str(n) for n in (*range(4, 29), *range(30, 40)))[: copies.shape[1]]
    table = cooccurrence.fit(copies, emotion, aus=labels, emotions=EMOTIONS)
    assert 2.5 < table.temperature < 6
    probability = table.apply(labels, copies).probability_TE
    right = probability.argmax(1) == emotion
    assert abs(probability.max(1).mean() - right.mean()) < 0.05


def test_edits_are_kept_apart_and_survive_refitting(table):
    edited = table.edited("sadness", "15", None).edited("happiness", "25", 0.95)
    assert np.isnan(edited.used_EA[1, AUS.index("15")])
    assert edited.used_EA[0, AUS.index("25")] == 0.95
    np.testing.assert_array_equal(edited.rate_EA, table.rate_EA)
    again = cooccurrence.fit(*faces(500, 3), aus=AUS, emotions=EMOTIONS, start=edited)
    assert again.edits == edited.edits and not np.array_equal(again.rate_EA, edited.rate_EA)
    before = explain(table, {"25": 1.0}, emotion="happiness").probability
    assert explain(edited, {"25": 1.0}, emotion="happiness").probability > before


def test_personalising_moves_from_the_group_to_the_person(table):
    occurrence = np.full((40, len(AUS)), -1)
    occurrence[:, AUS.index("12")] = 0  # a person who never smiles with 12
    person = cooccurrence.fit(
        occurrence, np.zeros(40, int), aus=AUS, emotions=EMOTIONS, start=table, strength=40
    )
    a = AUS.index("12")
    assert person.rate_EA[0, a] == pytest.approx(table.rate_EA[0, a] / 2, abs=1e-3)
    np.testing.assert_allclose(person.rate_EA[1:], table.rate_EA[1:], atol=1e-4)


def test_rare_cells_fall_back_on_the_average():
    occurrence, emotion = faces(300, 4)
    emotion[emotion == 2] = -1
    emotion[:3] = 2
    table = cooccurrence.fit(occurrence, emotion, aus=AUS, emotions=EMOTIONS)
    assert np.isnan(table.rate_EA[2]).all()
    assert np.isfinite(table.apply(AUS, occurrence).probability_TE).all()


@pytest.mark.parametrize("kind", learned.KINDS)
def test_classifiers_learn_the_planted_faces(kind):
    mapper = learned.fit(*faces(1500, 0), aus=AUS, emotions=EMOTIONS, trained_as=kind)
    assert lost_accuracy(mapper) < 0.015
    reading = explain(mapper, {"12": 1.0, "6": 1.0, "1": 0.0, "4": 0.0, "15": 0.0})
    assert reading.emotion == "happiness" and reading.unjudged == ("25",)
    assert reading.speaks_for[0].au in ("12", "6")
    again = from_json(json.loads(json.dumps(mapper.to_json())))
    occurrence, _ = faces(50, 5)
    np.testing.assert_array_equal(
        again.apply(AUS, occurrence).probability_TE, mapper.apply(AUS, occurrence).probability_TE
    )


def test_naive_bayes_is_scikit_learns():
    occurrence, emotion = faces(400, 6, unknown=0)
    mapper = learned.fit(occurrence, emotion, aus=AUS, emotions=EMOTIONS, trained_as="naive_bayes")
    theirs = BernoulliNB(fit_prior=False).fit(occurrence, emotion).predict_proba(occurrence)
    np.testing.assert_allclose(mapper.apply(AUS, occurrence).probability_TE, theirs, atol=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_two_emotions_make_two_probabilities(kind):
    occurrence, emotion = faces(600, 7)
    keep = emotion < 2
    mapper = learned.fit(
        occurrence[keep], emotion[keep], aus=AUS, emotions=EMOTIONS[:2], trained_as=kind
    )
    probability = mapper.apply(AUS, occurrence[keep]).probability_TE
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-6)
    assert (probability.argmax(1) == emotion[keep]).mean() > 0.9


def test_table_round_trip_through_a_file(table, tmp_path):
    edited = table.edited("sadness", "15", None).edited("happiness", "25", 0.95)
    save(edited, tmp_path / "deep" / "table.json")
    again = load(tmp_path / "deep" / "table.json")
    assert isinstance(again, CooccurrenceMapper)
    assert again.to_json() == edited.to_json()
    occurrence, _ = faces(50, 8)
    np.testing.assert_array_equal(
        again.apply(AUS, occurrence).probability_TE, edited.apply(AUS, occurrence).probability_TE
    )


def test_tlilis_table_is_ready_to_use():
    table = cooccurrence.published()
    assert table.aus == facs.DATASET_AUS["eb_plus"]
    assert explain(table, {"12": 1.0, "6": 1.0, "10": 1.0, "1": 1.0, "4": 0.0}).emotion != "sadness"


def damaged(content, path, value):
    content = target = json.loads(json.dumps(content))
    *parents, last = path
    for key in parents:
        target = target[key]
    target[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "pickle", "kind"),
        (("edits",), {"sadnes": {"15": 0.1}}, "sadnes"),
        (("edits",), {"sadness": {"99": 0.1}}, "99"),
        (("edits",), {"sadness": {"15": 50}}, "0 to 1"),
        (("edits",), {"sadness": {"15": "often"}}, "wrong form"),
        (("edits",), 7, "wrong form"),
        (("fitted", "sadness"), {}, "without"),
        (("aus",), ["smile"], "smile"),
        (("threshold",), None, "wrong form"),
    ],
)
def test_a_badly_edited_table_is_refused_by_name(table, tmp_path, path, value, message):
    (tmp_path / "t.json").write_text(json.dumps(damaged(table.to_json(), path, value)))
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "t.json")
    assert "t.json" in str(caught.value) and "\n" not in str(caught.value)


def places(tree, path=()):
    """Paths of everything inside a JSON value."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("kind", ["rules", "cooccurrence", "learned"])
def test_a_mapper_damaged_anywhere_is_refused_or_still_gives_distributions(table, kind):
    mapper = {
        "rules": lambda: RuleMapper("du2014"),
        "cooccurrence": lambda: table.edited("sadness", "15", 0.5),
        "learned": lambda: learned.fit(*faces(90, 0), aus=AUS, emotions=EMOTIONS),
    }[kind]()
    content = mapper.to_json()
    refused = 0
    for path in places(content):
        for value in (None, "xyz", 7, [], {}, float("nan"), -3, 1e308):
            try:
                reading = from_json(damaged(content, path, value)).apply(AUS, [[0.5] * len(AUS)])
            except UserError:
                refused += 1
            else:
                assert reading.probability_TE.sum() == pytest.approx(1, abs=1e-4), (path, value)
    assert refused > 50


def test_files_that_are_no_tables(tmp_path):
    for content in (b"{", b"\xff\xfe\x00", b"[]", b"", b"null"):
        (tmp_path / "t.json").write_bytes(content)
        with pytest.raises(UserError, match=r"t\.json"):
            load(tmp_path / "t.json")
    with pytest.raises(UserError, match="absent"):
        load(tmp_path / "absent.json")


def test_heat_map_shows_the_table(table, tmp_path):
    heat_map(table.edited("sadness", "15", None), tmp_path / "out" / "table.png")
    picture = cv2.imread(str(tmp_path / "out" / "table.png"))
    assert picture.shape[0] > 200 and picture.std() > 10
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["table.png"]


@pytest.mark.parametrize("fitting", [cooccurrence.fit, learned.fit])
def test_nothing_to_fit_from_is_said(fitting):
    occurrence, emotion = faces(20, 9)
    with pytest.raises(UserError):
        fitting(np.full_like(occurrence, -1), emotion, aus=AUS, emotions=EMOTIONS)
    with pytest.raises(UserError):
        fitting(occurrence, np.full_like(emotion, -1), aus=AUS, emotions=EMOTIONS)
    with pytest.raises(UserError):
        fitting(occurrence, np.zeros_like(emotion), aus=AUS, emotions=EMOTIONS[:1])


CSV = """frame, AU06_r, AU12_c, AU12_r, AU 4, emotion
0, 2.5, 1, 0.0, 9, Happy
1, 0.9, 1, 0.0, 0, happiness
2, 0.2, 0, 4.0, 1, Sad
3, , 0, 0.0, 999, sadness
4, 0.0, 1, 0.0, 1,
"""


def test_fit_and_show_from_a_csv(tmp_path, capsys):
    rows = CSV.splitlines(keepends=True)
    (tmp_path / "frames.csv").write_text(rows[0] + "".join(rows[1:]) * 8)
    fit_command(tmp_path / "frames.csv", out=tmp_path / "table.json")
    table = load(tmp_path / "table.json")
    assert isinstance(table, CooccurrenceMapper)
    assert table.emotions == ("happiness", "sadness") and table.aus == ("6", "12", "4")
    # AU12 is read from its occurrence column, AU6 from its intensity, 9 and 999 are unknown.
    np.testing.assert_array_equal(table.known_EA, [[16, 16, 8], [8, 16, 8]])
    assert table.rate_EA[0, 1] > 0.9 and table.rate_EA[1, 1] < 0.1
    show_command(str(tmp_path / "table.json"))
    assert (tmp_path / "table.png").stat().st_size > 5000
    assert "happiness" in capsys.readouterr().out
    fit_command(tmp_path / "frames.csv", out=tmp_path / "nb.json", kind="naive_bayes")
    assert isinstance(load(tmp_path / "nb.json"), LearnedMapper)
    with pytest.raises(UserError, match="no co-occurrence table"):
        fit_command(tmp_path / "frames.csv", out=tmp_path / "x.json", start=tmp_path / "nb.json")
    fit_command(tmp_path / "frames.csv", out=tmp_path / "me.json", start=tmp_path / "table.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("AU12,feeling\n1,sad\n", "emotion"),
        ("frame,emotion\n1,sad\n", "no AU column"),
        ("AU12,emotion\n1\n", "line 2"),
        ("AU12,emotion\nyes,sad\n", "line 2"),
        ("AU12,emotion\n7,sad\n", "0 to 5"),
        ("AU12,emotion\n1,sad\n", "two emotions"),
    ],
)
def test_csv_files_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "frames.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        fit_command(tmp_path / "frames.csv", out=tmp_path / "table.json")
    assert not (tmp_path / "table.json").exists()


def test_pspi():
    aus = ("4", "6", "7", "9", "10", "43")
    intensity = [
        [5, 5, 5, 5, 5, 1],
        [0, 0, 0, 0, 0, 0],
        [2, 3, 1, 0, 4, 5],  # 43 counts 0 or 1
        [2, -1, 1, 0, 4, 0],  # 7 stands in for the unknown 6
        [-1, 3, 1, 0, 4, 0],
    ]
    np.testing.assert_array_equal(pspi(aus, intensity), [16, 0, 10, 7, np.nan])
    assert np.isnan(pspi(("4", "6", "9"), [[1, 1, 1]])[0])
