"""`jaxfacs sweep`: one training for each combination of values, seeds and folds, and their table.

As Bartissol 2017 chose batch size and learning rate (figs. 13 to 16), and as ME-GraphAU's authors
print the mean of three folds.
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.train import config as configs
from jaxfacs.train.command import parse_overrides
from jaxfacs.train.config import Experiment

USAGE = """usage: {prog} CONFIG.py[:KEY=VALUE,...] --out DIR --FIELD VALUE VALUE ... [--FIELD ...]
       [--seeds N] [--fold all] [--jobs N] [--slurm | --tables] [--metric NAME] [--split NAME]
       [--smoke]

Trains CONFIG.py once for every combination of the values, each run in a folder of its own in DIR,
measures each, and writes table.md, table.csv, runs.csv, sweep.png and curves.png. The same command
again skips what is finished and resumes the rest.

  --FIELD VALUES  any field of the experiment, as jaxfacs train takes it; a field of several words
                  (--data.aus 1 2) is repeated for each of its values. {{fold}} and {{seed}} in a
                  value stand for those of the run: --init-from 'stage1/fold={{fold}}_seed={{seed}}'
  --seeds N       each combination N times, with seed and data.seed one higher each time: the table
                  says the mean and its 95 % confidence interval
  --fold all      each fold that CONFIG.py knows (its option `fold`), or those named: the table says
                  their mean, AU by AU
  --jobs N        runs at once, each a process, sharing the GPUs; 0: one by one in this process,
                  which saves the start-up time of each, but ends with a run that crashes. Default 1
  --slurm         run nothing: write DIR/sweep.sbatch, a job array, with --jobs N at most N at once
  --tables        run nothing: write the tables of what is there
  --metric NAME   of the test report: mean_f1, mean_f1_at_half, mean_average_precision, f1_AU12,
                  emotion_accuracy, ccc_valence, ...; by default what CONFIG.py keeps its best
                  checkpoint by
  --split NAME    to report; by default test if there is one, else that of validation
  --smoke         the config's shrunk form, which runs in seconds

exit codes: 0 all runs are done (one that diverged is done); 1 a run failed, see the table;
2 bad input; 75 stopped by Ctrl-C or SIGTERM after saving: run the same command again"""

ANY_NUMBER = 10**9
# option -> (fewest, most) words behind it
OWN = {
    "--out": (1, 1),
    "--seeds": (1, 1),
    "--fold": (1, ANY_NUMBER),
    "--jobs": (1, 1),
    "--metric": (1, 1),
    "--split": (1, 1),
    "--slurm": (0, 0),
    "--tables": (0, 0),
    "--smoke": (0, 0),
}
MAX_FOLDS = 400  # as of leaving one subject out
MAX_RUNS = 1000
MAX_NAME = 48  # characters of a value in a folder's name


@dataclass(frozen=True)
class Request:
    """The command line, sorted: own options, and (field, words) as they were typed."""

    config: str
    own: dict[str, list[str]]
    fields: list[tuple[str, list[str]]]

    def number(self, option: str, default: int, least: int) -> int:
        text = self.own.get(option, [str(default)])[0]
        if not text.isdecimal() or int(text) < least:
            raise UserError(f"{option} is '{text}'; give a number from {least} up")
        return int(text)

    def word(self, option: str) -> str:
        return self.own.get(option, [""])[0]


@dataclass(frozen=True)
class Planned:
    """One run of a sweep.

    Attributes:
      name: its folder in the sweep's.
      values: swept field -> its value as text, in the order of the command line.
      fold: "" if there are none.
      config: file and options, as `jaxfacs train` takes them.
      arguments: what else `jaxfacs train` is given.
      split: what its report is of.
    """

    name: str
    values: dict[str, str]
    fold: str
    seed: int
    config: str
    arguments: tuple[str, ...]
    experiment: Experiment
    split: str


def sweep(argv: list[str], prog: str) -> int:
    """Trains a config for every combination of values, seeds and folds. See USAGE."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE.format(prog=prog))
        return 0
    request = sorted_arguments(argv, prog)
    if any(name in ("--help", "-h") for name, _ in request.fields):
        parse_overrides(configs.load(request.config), ["--help"], prog=f"{prog} {request.config}")
        return 0
    from jaxfacs.train import sweep_jobs, sweep_slurm, sweep_table

    metric = sweep_table.known_metric(request.word("--metric"))
    jobs = request.number("--jobs", 1, 0)
    out = Path(request.word("--out") or "")
    if not request.word("--out"):
        raise UserError("--out is missing; give a folder for the runs and the tables")
    if (out / "config.json").exists():
        raise UserError(f"{out} is the work directory of one run; give another --out")
    planned = plan(request, prog)
    sweep_jobs.refuse_changed(out, planned)
    smoke = "--smoke" in request.own
    if "--slurm" in request.own:
        return sweep_slurm.write(out, planned, smoke=smoke, at_once=jobs)
    code = 0
    if "--tables" not in request.own:
        code = sweep_jobs.run_all(out, planned, jobs=jobs, smoke=smoke, metric=metric)
    elif not out.is_dir():
        raise UserError(f"--out {out} does not exist; run the sweep first, without --tables")
    for line in sweep_table.write(out, request.config, planned, metric=metric):
        print(line)
    return code


def sorted_arguments(argv: Sequence[str], prog: str) -> Request:
    """Own options and fields apart; raises UserError for what is out of place."""
    if argv[0].startswith("-"):
        raise UserError(f"the config file comes first; usage: {prog} CONFIG.py --out DIR")
    own: dict[str, list[str]] = {}
    fields: list[tuple[str, list[str]]] = []
    words: list[str] | None = None
    for word in argv[1:]:
        if word.startswith("--") or word == "-h":
            name, equals, value = word.partition("=")
            words = [value] if equals else []
            if name in OWN:
                if name in own:
                    raise UserError(f"{name} is given twice; give it once")
                own[name] = words
            else:
                name = "--init.source" if name == "--init-from" else name
                fields.append((name, words))
        elif words is None:
            raise UserError(f"'{word}' belongs to no option; give one config file, then --FIELD")
        else:
            words.append(word)
    for name, given in own.items():
        fewest, most = OWN[name]
        if not fewest <= len(given) <= most:
            expected = "no value" if not most else "one value" if most == 1 else "values"
            raise UserError(f"{name} takes {expected}, not '{' '.join(given)}'")
    return Request(argv[0], own, fields)


def plan(request: Request, prog: str) -> list[Planned]:
    """Every run of the sweep, parsed and checked as `jaxfacs train` would, and its records opened.

    Order: the first field changes slowest, then the others, then folds, then seeds.

    Raises:
      UserError: a field, value or combination cannot be, or two runs would be the same.
    """
    smoke = "--smoke" in request.own
    seeds = request.number("--seeds", 1, 1)
    folds = _folds(request, smoke)
    sources = {fold: _with_fold(request.config, fold) for fold in folds}
    bases = {fold: configs.load(source, smoke=smoke) for fold, source in sources.items()}
    base = bases[folds[0]]
    fields = grouped(request.fields, base)
    if seeds > 1 and {"seed", "data.seed"} & fields.keys():
        raise UserError("--seeds and --seed or --data.seed are given; --seeds sets both by itself")
    count = len(folds) * seeds
    for values in fields.values():
        count *= len(values)
    if count > MAX_RUNS:
        raise UserError(f"these are {count} runs; give fewer values, at most {MAX_RUNS} runs")
    for name, values in fields.items():  # each by itself first: an error names the value
        for words in values:
            _parsed(base, [f"--{name}", *words], prog)

    runs: list[Planned] = []
    swept = [name for name, values in fields.items() if len(values) > 1]
    splits: dict[str, str] = {}
    for combination in itertools.product(*fields.values()):
        chosen = dict(zip(fields, combination, strict=True))
        for fold, k in itertools.product(folds, range(seeds)):
            arguments = _arguments(chosen, {"fold": fold})
            experiment = _parsed(bases[fold], arguments, prog)
            seed, order = experiment.seed + k, experiment.data.seed + k
            arguments = _arguments(chosen, {"fold": fold, "seed": str(seed)})
            if seeds > 1:
                arguments += ["--seed", str(seed), "--data.seed", str(order)]
            experiment = configs.check(_parsed(bases[fold], arguments, prog))
            values = {name: _text(experiment, name) for name in swept}
            runs.append(
                Planned(
                    name=_name(values, fold, seed),
                    values=values,
                    fold=fold,
                    seed=seed,
                    config=sources[fold],
                    arguments=tuple(arguments),
                    experiment=experiment,
                    split=_split(experiment, request.word("--split"), splits),
                )
            )
    _refuse_twins(runs)
    return runs


def _parsed(base: Experiment, arguments: list[str], prog: str) -> Experiment:
    experiment = parse_overrides(base, arguments, prog=prog)
    assert experiment is not None  # that is the answer to --help
    return experiment


def grouped(
    fields: Sequence[tuple[str, list[str]]], base: Experiment
) -> dict[str, list[tuple[str, ...]]]:
    """Field without dashes -> its values, each a tuple of words.

    Each word is a value, but for fields of several words, which are one value each time.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for typed, words in fields:
        name = typed.removeprefix("--").replace("_", "-")
        several = isinstance(_value(base, name), tuple | list | dict) or not words
        values = [tuple(words)] if several else [(word,) for word in words]
        found.setdefault(name, []).extend(values)
    return found


def _value(experiment: Any, name: str) -> Any:
    """What a field holds; None also for a field that there is not, which the parser tells."""
    value = experiment
    for part in name.split("."):
        key = part.replace("-", "_")
        if isinstance(value, dict):
            value = value.get(part, value.get(key))
        elif isinstance(value, tuple):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = getattr(value, key, None)
    return value


def _text(experiment: Experiment, name: str) -> str:
    """One text for one value, however it was typed: 1e-1 is 0.1."""
    value = _value(experiment, name)
    if isinstance(value, tuple | list | dict):
        return " ".join(map(str, value)) if all(isinstance(v, str) for v in value) else str(value)
    return str(value)


def _arguments(chosen: dict[str, tuple[str, ...]], known: dict[str, str]) -> list[str]:
    found = []
    for name, words in chosen.items():
        found.append(f"--{name}")
        for word in words:
            for key, value in known.items():
                word = word.replace(f"{{{key}}}", value)
            found.append(word)
    return found


def _folds(request: Request, smoke: bool) -> list[str]:
    """The folds that were asked for; [""] for none."""
    wanted = request.own.get("--fold")
    if wanted is None:
        return [""]
    if wanted != ["all"]:
        return list(dict.fromkeys(wanted))
    found: list[str] = []
    for fold in range(MAX_FOLDS + 1):
        try:
            configs.load(_with_fold(request.config, str(fold)), smoke=smoke)
        except UserError:
            if fold > 1 or found:
                break
            if fold == 1:  # neither 0 nor 1
                raise
            continue  # folds are counted from 1
        found.append(str(fold))
    if len(found) > MAX_FOLDS:
        raise UserError(f"{request.config} refuses no fold; name them, as in --fold 1 2 3")
    return found


def _with_fold(config: str, fold: str) -> str:
    if not fold:
        return config
    return f"{config}{',' if ':' in Path(config).name else ':'}fold={fold}"


def _name(values: dict[str, str], fold: str, seed: int) -> str:
    """A readable folder name: learning-rate=0.1_batch-size=32_fold=1_seed=0."""
    from jaxfacs.train.runs import headings

    short = headings(list(values))
    parts = {short[name]: value for name, value in values.items()}
    if fold:
        parts["fold"] = fold
    if "seed" not in parts:
        parts["seed"] = str(seed)
    return "_".join(f"{key}={_plain(value)}" for key, value in parts.items())


def _plain(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip(".") or "none"
    if len(plain) <= MAX_NAME:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{plain[7 - MAX_NAME :].strip('.')}-{digest}"


def _split(experiment: Experiment, wanted: str, known: dict[str, str]) -> str:
    """The split of a run's report; opening the records also tells whether they are there."""
    from jaxfacs.data.mixture import open_data

    key = json.dumps([str(part) for part in experiment.data.parts])
    if key not in known:
        records = open_data(experiment.data)
        validation = experiment.data.validation_split
        split = wanted or ("test" if records.has_split("test") else validation)
        for name in (experiment.data.train_split, validation, split):
            records.require_split(name)
        known[key] = split
    return known[key]


def _refuse_twins(runs: Sequence[Planned]) -> None:
    seen: dict[str, str] = {}
    for run in runs:
        key = json.dumps(configs.to_json(run.experiment), sort_keys=True)
        if key in seen:
            same = "it is given twice" if seen[key] == run.name else f"it is as {seen[key]}"
            raise UserError(f"run {run.name} says nothing new, {same}; give each value once")
        seen[key] = run.name
    twice = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if twice:
        raise UserError(f"two runs would be called {twice[0]}; give values that differ more")
