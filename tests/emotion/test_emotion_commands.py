"""From a table of AUs to emotions on the command line: files, words, and one line when it fails."""

import csv
import json

import numpy as np
import pytest

from jaxfacs.cli import main
from jaxfacs.emotion import RuleMapper, frames, load, named, person
from jaxfacs.errors import UserError
from jaxfacs.infer import tables as infer_tables
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.train.emotion_report import Measured, measured
from jaxfacs.train.emotions import cut_in_folds, labelled

AUS = ("4", "6", "12", "L12", "R12")


def predicted(path, *, smile=range(10, 20), frames=30, brow=0.0):
    """The CSV that `jaxfacs predict` writes of one who smiles, with a frame where nobody is."""
    with infer_tables.writing(path, aus=AUS, emotions=("happiness", "neutral")) as add:
        for n in range(frames):
            smiles = 0.9 if n in smile else 0.1
            probability = np.array([brow, smiles, smiles, smiles, 0.1])
            answered = FaceResult(
                face_id=0,
                box_4=np.zeros(4),
                confidence=1.0,
                probability_A=probability,
                present_A=probability >= 0.5,
                intensity_A=np.where(probability >= 0.5, 4 * probability, 0.5 * probability),
                emotion_E=np.array([smiles, 1 - smiles]),
                valence_arousal_2=None,
            )
            add(FrameResult(frame=n + 1, timestamp=n / 25, faces=[] if n == 5 else [answered]))
    return path


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(*words):
    return main(["emotions", *map(str, words)])


def test_predictions_are_read_as_they_were_written(tmp_path):
    told = frames.read(predicted(tmp_path / "film.csv"))
    assert told.aus == AUS and len(told) == 30
    np.testing.assert_allclose(told.probability_NA[12], [0, 0.9, 0.9, 0.9, 0.1])
    np.testing.assert_allclose(told.intensity_NA[12], [0, 3.6, 3.6, 3.6, 0.05])
    assert np.isnan(told.probability_NA[5]).all() and told.face_N[5] == "-1"
    assert told.frame_N[0] == 1 and told.time_s_N[25] == 1.0
    assert told.own["happiness"][12] == 0.9
    # The face goes on after the frame in which it was lost.
    assert [len(rows) for rows in told.sequences()] == [29, 1]
    sure = frames.read(tmp_path / "film.csv", evidence="occurrence")
    assert set(sure.probability_NA[12]) == {0.0, 1.0}


def test_apply_writes_emotions_with_their_reasons(tmp_path, capsys):
    film = predicted(tmp_path / "film.csv")
    assert run("apply", film, "--mapper", "emfacs", "--out", tmp_path / "out") == 0
    rows = read_rows(tmp_path / "out" / "film.emotions.csv")
    assert [row["frame"] for row in rows] == [str(n + 1) for n in range(30)]
    assert (rows[12]["emotion"], rows[12]["for"]) == ("happiness", "6 +0.80, 12 +0.80")
    assert rows[0]["emotion"] == "neutral" and 0.05 < float(rows[0]["happiness"]) < 0.11
    assert rows[5]["emotion"] == rows[5]["happiness"] == ""  # nobody there: no emotion
    expected = RuleMapper("emfacs")
    assert list(rows[0])[3:-3] == list(expected.emotions)
    summary = json.loads((tmp_path / "out" / "film.emotions.json").read_text())
    assert summary["emotions"]["happiness"]["share_of_rows_likeliest"] == pytest.approx(
        10 / 29, abs=1e-4
    )
    assert summary["emotions"]["anger"]["not_judged"] == ["5", "7", "23"]
    assert "feels" in summary["caveat"] and summary["rows_with_a_face"] == 29
    assert (tmp_path / "out" / "film.emotions.png").stat().st_size > 5000
    assert "happiness" in capsys.readouterr().out


def test_a_person_is_measured_from_their_own_rest(tmp_path, capsys):
    low_brow = predicted(tmp_path / "anna.csv", brow=0.6)
    assert run("neutral", low_brow, "--out", tmp_path / "anna.json", "--between", 0, 0.3) == 0
    profile = person.load(tmp_path / "anna.json")
    assert profile.probability["4"] == 0.6 and profile.frames == 7  # one of eight was empty
    assert profile.probability["12"] == 0.1
    told = frames.read(low_brow)
    without = person.without_rest(told, profile)
    assert told.probability_NA[12, 0] == 0.6 and without.probability_NA[12, 0] == 0
    np.testing.assert_allclose(without.probability_NA[12, 2], 0.8 / 0.9)
    for options, present in (((), True), (("--person", tmp_path / "anna.json"), False)):
        run(
            "apply",
            low_brow,
            "--mapper",
            "tlili_compound",
            "--out",
            tmp_path,
            "--no-plot",
            *options,
        )
        angry = float(read_rows(tmp_path / "anna.emotions.csv")[12]["sadness"])
        assert (angry > 0) == present
    # Without frames known to be neutral: what a fifth of them stay below.
    by_level = person.fit(told, name="anna", neutral=None, source="film")
    assert by_level.probability["12"] == 0.1
    always = person.Person("b", {"4": 0.95}, {}, 1, "x")
    assert np.isnan(person.without_rest(told, always).probability_NA[:, 0]).all()


def test_cues_are_a_table_with_times(tmp_path, capsys):
    film = predicted(tmp_path / "film.csv")
    assert run("cues", film, "--out", tmp_path / "out") == 0
    rows = read_rows(tmp_path / "out" / "film.cues.csv")
    smile = next(row for row in rows if row["cue"] == "duchenne")
    assert (smile["aus"], smile["start_s"], smile["end_s"]) == ("6 12", "0.4", "0.8")
    assert smile["points_to"] == "spontaneous"
    sides = next(row for row in rows if row["cue"] == "asymmetry")
    assert (sides["aus"], sides["points_to"]) == ("L12 R12", "posed")
    micro = [row["aus"] for row in rows if row["cue"] == "micro"]
    assert micro == ["12", "6"]  # 0.4 s
    events = read_rows(tmp_path / "out" / "film.events.csv")
    assert {row["au"] for row in events} == {"6", "12", "L12"}
    assert "no proof" in capsys.readouterr().out
    run("cues", film, "--out", tmp_path / "out", "--micro", "published")
    assert all(row["cue"] != "micro" for row in read_rows(tmp_path / "out" / "film.cues.csv"))


def study(path, people=6, seed=0, noise=0.1):
    """Faces of four emotions by known rates, a column of another judge, whole people."""
    shows = {"anger": (4, 23), "happiness": (6, 12), "sadness": (1, 15), "surprise": (2, 26)}
    aus = sorted({au for pair in shows.values() for au in pair})
    rng = np.random.default_rng(seed)
    lines = ["subject,frame," + ",".join(f"AU{au:02d}_c" for au in aus) + ",emotion,Happy,Sad"]
    for who in range(people):
        for n in range(24):
            name = list(shows)[rng.integers(4)]
            values = [int((au in shows[name]) != (rng.random() < noise)) for au in aus]
            judge = (0.9, 0.1) if name == "happiness" else (0.1, 0.9)
            lines.append(f"p{who},{n},{','.join(map(str, values))},{name},{judge[0]},{judge[1]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_all_mappers_on_one_set(tmp_path, capsys):
    chosen = ("emfacs", "published", "cooccurrence", "naive_bayes", "svm", "network")
    code = run(
        *("compare", study(tmp_path / "study.csv"), "--out", tmp_path / "out", "--folds", 3),
        *("--mappers", *chosen),
    )
    assert code == 0
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    by_name = {row["mapper"]: row for row in report["mappers"]}
    assert set(by_name) == set(chosen) and "person" in report["how"]
    for name in ("cooccurrence", "naive_bayes", "svm"):
        assert by_name[name]["accuracy"] > 0.85 and by_name[name]["rows"] == 144
    # Happiness and sadness are all that the other judge can say.
    assert by_name["network"]["not_known"] == ["anger", "surprise"]
    per_emotion = {row["emotion"]: row for row in by_name["network"]["per_emotion"]}
    assert (per_emotion["happiness"]["f1"], per_emotion["anger"]["recall"]) == (1.0, 0.0)
    assert (tmp_path / "out" / "confusion_svm.png").is_file()
    assert len(read_rows(tmp_path / "out" / "comparison.csv")) == 6
    assert "mean F1" in capsys.readouterr().out


def test_folds_keep_people_whole_and_measure_each_once(tmp_path):
    told = labelled(study(tmp_path / "s.csv"), split="", emotion_column="emotion")
    pairs, by = cut_in_folds(told, 3, 0, tmp_path)
    assert by == "person" and len(pairs) == 3
    for train, other in pairs:
        assert not {*train.people} & {*other.people}
        assert len(train) + len(other) == len(told)
    assert sorted(who for _, other in pairs for who in {*other.people}) == sorted({*told.people})


def test_measures_are_those_of_the_counts():
    truth = ["a", "a", "a", "b", "b", "c"]
    chance = [[0.9, 0.1], [0.2, 0.8], [0, 0], [0.1, 0.9], [np.nan, np.nan], [0.6, 0.4]]
    found = measured("m", np.array(chance), ("a", "b"), truth, ("a", "b", "c"))
    assert found.known == ("a", "b")
    np.testing.assert_array_equal(
        found.count_EE, [[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    )
    assert found.accuracy == pytest.approx(2 / 6) and found.chance == 0.5
    assert found.mean_recall == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert found.mean_f1 == pytest.approx((2 / 5 + 2 / 4 + 0) / 3)
    twice = Measured.joined("m", [found, found], seconds=1.0)
    assert twice.accuracy == found.accuracy and twice.count_EE.sum() == 12


def test_a_table_comes_back_from_records_made_of_it(tmp_path):
    """Rows drawn from the edited, known table; what is fitted is that table."""
    truth = {"happiness": (0.9, 0.8, 0.1), "sadness": (0.1, 0.2, 0.7), "fear": (0.3, 0.1, 0.3)}
    rng = np.random.default_rng(0)
    lines = ["AU12,AU06,AU15,emotion"]
    for name, rates in truth.items():
        for _ in range(2000):
            lines.append(",".join(str(int(rng.random() < r)) for r in rates) + f",{name}")
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    assert run("fit", tmp_path / "rows.csv", "--out", tmp_path / "t.json") == 0
    table = load(tmp_path / "t.json")
    for name, rates in truth.items():
        own = table.rate_EA[table.emotions.index(name)]
        # Three standard errors of 2,000 draws at most.
        np.testing.assert_allclose(own, rates, atol=3 * np.sqrt(0.25 / 2000))
    assert run("edit", tmp_path / "t.json", "sadness:15=0.95", "fear:12=out") == 0
    edited = load(tmp_path / "t.json")
    assert edited.edits == {"sadness": {"15": 0.95}, "fear": {"12": None}}
    np.testing.assert_array_equal(edited.rate_EA, table.rate_EA)
    assert run("edit", tmp_path / "t.json", "fear:12=fitted") == 0
    assert load(tmp_path / "t.json").edits == {"sadness": {"15": 0.95}}


def test_show_tells_every_kind(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("show")
    assert "Tlili 2019, fig. 7.1" in capsys.readouterr().out
    run("show", "facs_manual")
    assert "at least 5E" in capsys.readouterr().out
    run("show", "du2014")
    assert "17 in 67 %" in capsys.readouterr().out
    run("fit", study(tmp_path / "s.csv"), "--kind", "naive_bayes", "--out", tmp_path / "n.json")
    capsys.readouterr()
    run("show", tmp_path / "n.json")
    happy = next(r for r in capsys.readouterr().out.splitlines() if r.startswith("happiness"))
    assert {happy.split()[1], happy.split()[3]} == {"6", "12"}


def test_noise_turns_labels_round(tmp_path, capsys):
    exact = study(tmp_path / "s.csv", noise=0.0)

    run("fit", exact, "--kind", "naive_bayes", "--out", tmp_path / "n.json")
    run("evaluate", tmp_path / "n.json", exact, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["accuracy"] == 1.0
    run("evaluate", tmp_path / "n.json", exact, "--noise", 0.3, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["accuracy"] < 0.9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("apply", "FILM", "--mapper", "emfax", "--out", "OUT"), "no mapper 'emfax'"),
        (("apply", "absent.csv", "--out", "OUT"), "cannot read absent.csv"),
        (("apply", "EMPTY", "--out", "OUT"), "no AU column"),
        (("apply", "HIGH", "--out", "OUT"), "line 2: 1.5 is no AU value"),
        (("apply", "FILM", "--out", "FILM"), "cannot write"),
        (("apply", "FILM", "--out", "OUT", "--person", "FILM"), "no JSON"),
        (("cues", "TIMELESS", "--out", "OUT"), "timestamp"),
        (("neutral", "FILM", "--out", "OUT", "--face-id", "7"), "no face '7'"),
        (("neutral", "FILM", "--out", "OUT", "--between", "90", "99"), "no frame with a face"),
        (("edit", "published", "fear:1=0.5"), "--out"),
        (("edit", "emfacs", "fear:1=0.5"), "no co-occurrence table"),
        (("edit", "published", "fear:1=2", "--out", "OUT"), "EMOTION:AU=SHARE"),
        (("edit", "published", "awe:1=0.2", "--out", "OUT"), "'awe'"),
        (("edit", "published", "fear:1=fitted", "--out", "OUT"), "not edited"),
        (("evaluate", "pain", "STUDY"), "pain knows pain"),
        (("evaluate", "emfacs", "FILM"), "no column 'emotion'"),
        (("evaluate", "emfacs", "STUDY", "--noise", "0.7"), "noise"),
        (("fit", "STUDY", "--out", "OUT", "--hidden", "8"), "hidden"),
        (("compare", "STUDY", "--out", "OUT", "--folds", "9"), "6 people for 9 folds"),
        (("show", "emfacs", "--out", "OUT"), "only these are drawn"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").write_text("frame,timestamp\n0,0\n")
    (tmp_path / "HIGH").write_text("AU12_p\n1.5\n")
    (tmp_path / "TIMELESS").write_text("AU12_p\n0.5\n")
    predicted(tmp_path / "FILM")
    study(tmp_path / "STUDY")
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "OUT").exists()


def test_mappers_by_name():
    assert isinstance(named("du2014"), RuleMapper)
    assert len(named("published").aus) == 27
    with pytest.raises(UserError, match="cannot read"):
        named("absent.json")
