"""Tables and plots of sweeps, their numbers checked by hand."""

import functools
import math

import pytest
import sweep_stand_in
import tiny
from sweep_stand_in import rows_of

from jaxfacs import cli
from jaxfacs.train import sweep_plot, sweep_table


@pytest.fixture(scope="module")
def folds_config(config_path, tmp_path_factory):
    return sweep_stand_in.write_folds_config(tmp_path_factory.mktemp("folds"), config_path)


@pytest.fixture
def stand_in(monkeypatch):
    return functools.partial(sweep_stand_in.put_in_place, monkeypatch)


def test_seeds_and_folds_in_the_table_as_by_hand(folds_config, tmp_path, stand_in, capsys):
    """Two rates, two folds, three seeds; at the rate of 0.1 the F1 of each report is told here."""
    f1 = {  # (seed, fold) -> F1 of AU 1, 12, 25
        (0, 1): (0.60, 0.30, 0.90), (0, 2): (0.80, 0.50, None),
        (1, 1): (0.70, 0.30, 0.90), (1, 2): (0.70, 0.50, None),
        (2, 1): (0.50, 0.30, 0.90), (2, 2): (0.60, 0.50, None),
    }  # fmt: skip
    reports = {
        f"learning-rate=0.1_fold={fold}_seed={seed}": dict(zip(tiny.AUS, values, strict=True))
        for (seed, fold), values in f1.items()
    }
    stand_in(reports=reports, codes={"learning-rate=0.2_fold=2_seed=1": 3})
    words = ["sweep", str(folds_config), "--out", str(tmp_path), "--fold", "1", "2", "--jobs", "0"]
    words += ["--seeds", "3", "--optim.learning-rate", "0.1", "0.2", "--metric", "mean_f1"]
    assert cli.main(words) == 0

    row, other = rows_of(tmp_path / "table.csv")
    # AU 1: seeds 0.70, 0.70, 0.55; AU 12: 0.40 of all; AU 25: fold 1 alone defines it.
    assert float(row["f1_AU1"]) == pytest.approx(0.65)
    assert float(row["f1_AU12"]) == pytest.approx(0.40)
    assert float(row["f1_AU25"]) == pytest.approx(0.90)
    assert float(row["f1_avg"]) == pytest.approx(0.65)
    # Mean F1 of the reports: seed 0: 0.60 and 0.65; seed 1: 0.6333 and 0.60; seed 2: 0.5667, 0.55.
    assert float(row["mean_f1"]) == pytest.approx(0.6)
    # Seeds 0.625, 0.616667, 0.558333: s = 0.0363242, t(0.975, 2) = 4.30265 (any table of t).
    assert float(row["ci95"]) == pytest.approx(4.30265 * 0.0363242 / math.sqrt(3), rel=1e-4)
    assert (row["n"], row["seeds"]) == ("3", "3")
    # A seed without one of its folds is no number of all folds.
    assert (other["n"], other["seeds"]) == ("2", "3")
    said = capsys.readouterr().out
    assert "| 0.1           | 65.0 | 40.0 | 90.0 | 65.0 | 60.0 ± 9.0  | 3      |" in said
    assert "| 2 of 3 |" in said
    assert "learning-rate=0.2_fold=2_seed=1: diverged" in said
    page = (tmp_path / "table.md").read_text()
    assert "mean over folds 1, 2, then mean ± 95 % confidence interval" in page
    assert len(rows_of(tmp_path / "runs.csv")) == 12


def test_an_au_that_was_never_there_keeps_its_column(config_path, tmp_path, stand_in, capsys):
    stand_in(reports={"seed=0": {"1": 0.8, "12": None, "25": 0.6}})
    assert cli.main(["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]) == 0
    assert "| 80.0 | –    | 60.0 | 70.0 |" in capsys.readouterr().out
    (row,) = rows_of(tmp_path / "table.csv")
    assert row["f1_AU12"] == "" and float(row["f1_avg"]) == pytest.approx(0.7)


def test_the_best_is_chosen_on_validation(config_path, tmp_path, stand_in, capsys):
    high, low = dict.fromkeys(tiny.AUS, 0.9), dict.fromkeys(tiny.AUS, 0.2)
    reports = {
        "width=1.0_seed=0": {**high, "validation": 0.3},
        "width=2.0_seed=0": {**low, "validation": 0.8},
    }
    stand_in(reports=reports)
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    assert cli.main([*words, "--model.width", "1", "2", "--metric", "mean_f1"]) == 0
    told = "Best by mean_average_precision on validation (80.0): width 2.0."
    assert told in capsys.readouterr().out


def test_a_metric_that_the_network_does_not_answer(config_path, tmp_path, stand_in, capsys):
    stand_in()
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    assert cli.main([*words, "--metric", "emotion_accuracy"]) == 2
    assert "the reports do not hold --metric 'emotion_accuracy'" in capsys.readouterr().err
    assert cli.main([*words, "--tables"]) == 0
    assert rows_of(tmp_path / "table.csv")[0]["mean_average_precision"] == "0.5"


def test_more_fields_than_two_have_a_table_and_no_plot(config_path, tmp_path, stand_in):
    stand_in()
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0"]
    words += ["--model.width", "1", "2", "--ema", "0", "0.9", "--steps", "60", "70"]
    assert cli.main(words) == 0
    assert len(rows_of(tmp_path / "table.csv")) == 8
    assert not (tmp_path / "sweep.png").exists()


@pytest.mark.parametrize(
    "fields",
    [
        ["--optim.name", "adam", "sgd"],
        ["--model.width", "1", "2", "3", "--optim.name", "sgd", "adam"],
    ],
)
def test_words_have_plots_too_and_holes_are_left(config_path, tmp_path, stand_in, fields):
    """And a combination that failed leaves a hole in the map."""
    stand_in(codes={"width=2.0_name=adam_seed=0": 3, "width=2.0_name=adam_seed=1": 3})
    words = ["sweep", str(config_path), "--out", str(tmp_path), "--jobs", "0", "--seeds", "2"]
    assert cli.main([*words, *fields]) == 0
    assert (tmp_path / "sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_a_map_has_each_number_in_its_place():
    from matplotlib.figure import Figure

    def group(rate, size, *values):
        seeds = {seed: {"": {"mean_f1": value}} for seed, value in enumerate(values)}
        return sweep_table.Group({"optim.rate": rate, "data.size": size}, 2, seeds)

    groups = [group("0.1", "64", 0.5), group("0.01", "64", 0.4), group("0.1", "8", 0.2, 0.4)]
    figure = Figure()
    sweep_plot._map(figure, groups, "mean_f1")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0.01", "0.1"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["8", "64"]
    texts = {t.get_position(): t.get_text() for t in axes.texts}
    # t(0.975, 1) = 12.7062 and s = 0.141421: 12.7062 * 0.141421 / sqrt(2) = 1.27062.
    assert texts == {(1, 1): "50.0", (1, 0): "40.0", (0, 1): "30.0\n± 127.1"}


@pytest.mark.parametrize(
    ("values", "is_geometric"),
    [
        ((32, 64, 128), True),
        ((0.1, 0.01, 0.001), True),
        ((1, 3, 10, 30), True),
        ((1, 2, 3, 4), False),
        ((0.0, 0.1, 0.2), False),
        ((1, 10), True),
        ((1, 2), False),
    ],
)
def test_geometric_values_have_a_logarithmic_axis(values, is_geometric):
    assert sweep_plot.geometric(values) is is_geometric


def test_every_number_of_a_report_has_the_name_of_the_metrics_file():
    row = dict.fromkeys(sweep_table.PER_AU, 0.4)
    report = {
        "per_au": [{"au": "1", **row}],
        "mean": {"f1": {"value": 0.4}},
        "intensity": {"mean": {"icc": {"value": 0.7}}},
        "emotion": {"accuracy": 0.5, "mean_recall": None, "mean_f1": 0.3},
        "affect": {
            "per_dimension": [
                {"dimension": "valence", **dict.fromkeys(("ccc", "pcc", "rmse", "mse", "mae"), 0.1)}
            ],
            "mean": {"ccc": {"value": 0.1}},
        },
        "sets": {"bp4d": {"mean": {"f1": {"value": 0.6}}}},
    }
    flat = sweep_table.flat_report(report)
    assert flat["f1_AU1"] == 0.4 and flat["mean_icc"] == 0.7 and flat["bp4d/mean_f1"] == 0.6
    assert flat["ccc_valence"] == flat["mean_affect_ccc"] == 0.1
    assert flat["emotion_accuracy"] == 0.5 and "emotion_mean_recall" not in flat
    for name in flat:
        assert sweep_table.known_metric(name) == name
