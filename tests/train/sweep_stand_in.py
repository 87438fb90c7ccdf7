"""In the place of training in tests of sweeps: what it leaves, at once and with known numbers."""

import csv
import json
from pathlib import Path

import tiny

from jaxfacs.train import command, sweep_table
from jaxfacs.train import config as configs
from jaxfacs.train.sweep import plan, sorted_arguments

FOLDS = """
_whole = get_config
_small = smoke


def get_config(fold: int = 1):
    from jaxfacs.errors import UserError

    if fold not in (1, 2, 3):
        raise UserError(f"fold={fold}: give fold 1, 2 or 3")
    whole = _whole()
    return dataclasses.replace(whole, data=dataclasses.replace(whole.data, seed=10 * fold))


def smoke(fold: int = 1):
    return dataclasses.replace(get_config(fold), steps=4)
"""


def write_folds_config(folder, config_path):
    path = folder / "folds.py"
    path.write_text(config_path.read_text() + FOLDS)
    return path


def planned(config, *arguments):
    return plan(sorted_arguments([str(config), "--out", "x", *arguments], "p"), "p")


class StandIn:
    """In the place of training and evaluation: leaves what they leave, and remembers the calls."""

    def __init__(self, codes=None, reports=None):
        self.codes, self.reports = codes or {}, reports or {}
        self.trained, self.evaluated = [], []

    def train(self, argv, prog):
        workdir = Path(argv[argv.index("--workdir") + 1])
        name = workdir.name
        self.trained.append(name)
        smoke = "--smoke" in argv
        fields = argv[argv.index(str(workdir)) + 1 + smoke :]
        base = configs.load(argv[0], smoke=smoke)
        experiment = command.parse_overrides(base, fields, prog="p")
        manifest = {"experiment": configs.to_json(experiment)}
        (workdir / "config.json").write_text(json.dumps(manifest))
        code = self.codes.get(name, 0)
        if isinstance(code, BaseException):
            raise code
        if code == 0:
            (workdir / "checkpoints" / str(experiment.steps)).mkdir(parents=True, exist_ok=True)
            value = self.reports.get(name, {}).get("validation", 0.5)
            metric = {"mean_average_precision": value}
            line = {"step": experiment.steps, "kind": "validation", **metric}
            (workdir / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        return code

    def evaluate(self, workdir, *, split, allow_overlap):
        self.evaluated.append((workdir.name, split, allow_overlap))
        write_report(workdir, split, self.reports.get(workdir.name, {}))
        return 0


def write_report(workdir, split, values):
    """report.json with F1 as in `values` (AU -> F1) and their mean; all else is 0.5."""
    per_au = []
    for au in tiny.AUS:
        row = dict.fromkeys(sweep_table.PER_AU, 0.5)
        per_au.append({"au": au, **row, "f1": values.get(au, 0.5)})
    defined = [row["f1"] for row in per_au if row["f1"] is not None]
    mean = {key: {"value": 0.5, "aus": 3} for key in sweep_table.PER_AU}
    mean["f1"] = {"value": sum(defined) / len(defined), "aus": len(defined)}
    report = {"meta": {"step": 60}, "thresholds": "tuned", "per_au": per_au, "mean": mean}
    folder = workdir / "evaluation" / split / "60"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report))


def put_in_place(monkeypatch, **more):
    made = StandIn(**more)
    monkeypatch.setattr(command, "train", made.train)
    monkeypatch.setattr(command, "evaluate", made.evaluate)
    return made


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
