"""Starting a network from another's parameters: what is loaded, what is new, what is left out.

Nothing is guessed: a parameter that is found on one side only, and that no rule names, is an error
that lists all of them.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxfacs import models
from jaxfacs.data.people import Seen
from jaxfacs.errors import UserError
from jaxfacs.train import state as states
from jaxfacs.train.command import parse_step
from jaxfacs.train.config import Experiment, InitConfig
from jaxfacs.train.paths import map_paths, paths
from jaxfacs.train.state import Plan, State
from jaxfacs.train.trained import Trained, load_for_inference

LISTED = 10
HEAD = re.compile(r"(^|/)head/")


@dataclass(frozen=True)
class Transfer:
    """What a run starts from.

    Attributes:
      values: our path -> array, float32, for everything that is loaded.
      origin: for the manifest: which checkpoint it was, and the card of converted weights.
      seen: who it learned from; nobody of converted weights, whose people are not known here.
      table: what became of everything, for people.
    """

    values: Mapping[str, np.ndarray]
    origin: dict[str, Any]
    seen: Seen
    table: str


def load(
    experiment: Experiment, plan: Plan, *, aus: Sequence[str], emotions: Sequence[str]
) -> Transfer:
    """Reads `experiment.init.source` and holds it against the network of `plan`.

    Every process reads all of it. Raises UserError if something on either side has no place and
    is named by no rule, if shapes differ, if a rule matches nothing, if the source saw pixels
    scaled otherwise, or if its head answers for other AUs or emotions.
    """
    config = experiment.init
    _check_patterns(config)
    source = load_for_inference(config.source, step=parse_step(config.step), classes=True)
    _check_scaling(experiment, source)
    wanted = {path: leaf.shape for path, leaf in _leaves(plan.abstract).items()}
    given = _renamed(_leaves({"params": source.params, "stats": source.stats}), config)
    used: set[str] = set()

    def named(patterns: Sequence[str], path: str) -> bool:
        found = {pattern for pattern in patterns if re.search(pattern, path)}
        used.update(found)
        return bool(found)

    new = {path for path in wanted if named(config.new, path)}
    # What the source has in the place of something new is not wanted either.
    ignored = {path for path in given if named(config.ignore, path) | named(config.new, path)}
    values = {path: given[path] for path in given if path in wanted and path not in ignored}
    _check_complete(config, wanted, given, new=new, ignored=ignored, loaded=values.keys())
    unused = [p for p in (*config.new, *config.ignore) if p not in used]
    if unused:
        raise UserError(
            f"init rule '{unused[0]}' names nothing, neither of the network nor of "
            f"{config.source}; paths look like {', '.join(list(wanted)[:3])}"
        )
    _check_answers(config, source, values, aus=aus, emotions=emotions)
    return Transfer(
        values={path: np.asarray(value) for path, value in values.items()},
        origin=_origin(source),
        seen=source.manifest["data"].get("seen", {}),  # an earlier jaxfacs did not keep them
        table=_table(experiment, source, wanted, loaded=values.keys(), ignored=ignored),
    )


def start(state: State, plan: Plan, transfer: Transfer) -> State:
    """The first state, with what was loaded in its place; moments and averages start from it."""

    def placed(path: str, leaf: Array) -> Array:
        if path not in transfer.values:
            return leaf
        value = transfer.values[path].astype(leaf.dtype)
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda at: value[at])

    params, stats = (map_paths(placed, state[kind]) for kind in ("params", "stats"))
    begun = {**state, "params": params, "stats": stats}
    begun["opt_state"] = jax.jit(plan.tx.init, out_shardings=plan.shardings["opt_state"])(params)
    if state["ema"]:
        # Their own buffers: the state is donated, and no buffer can be donated twice.
        copies = {"params": params, "stats": stats}
        begun["ema"] = jax.jit(_copied, out_shardings=plan.shardings["ema"])(copies)
    return begun


def _copied(tree: Any) -> Any:
    return jax.tree.map(jax.numpy.copy, tree)


def _check_patterns(config: InitConfig) -> None:
    named = {
        "new": config.new,
        "ignore": config.ignore,
        "shared": config.shared,
        "rename": tuple(pattern for pattern, _ in config.rename),
    }
    for field, patterns in named.items():
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(
                    f"init.{field} '{pattern}' is no regular expression ({error})"
                ) from error


def _leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters and statistics by path; they never share one."""
    return {**paths(tree["params"]), **paths(tree["stats"])}


def _renamed(given: dict[str, Any], config: InitConfig) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for path, value in given.items():
        place = path
        for pattern, replacement in config.rename:
            try:
                place = re.sub(pattern, replacement, place)
            except re.error as error:
                raise UserError(
                    f"init.rename cannot put '{replacement}' for '{pattern}' ({error})"
                ) from error
        if place in renamed:
            raise UserError(f"init.rename gives two parameters of the source the place {place}")
        renamed[place] = value
    for pattern, _ in config.rename:
        if not any(re.search(pattern, path) for path in given):
            raise UserError(f"init.rename pattern '{pattern}' matches nothing of {config.source}")
    return renamed


def _check_complete(
    config: InitConfig,
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, Any],
    *,
    new: set[str],
    ignored: set[str],
    loaded: Collection[str],
) -> None:
    missing = [path for path in wanted if path not in loaded and path not in new]
    extra = [path for path in given if path not in wanted and path not in ignored]
    shapes = [
        f"{path} is {tuple(given[path].shape)} there, {wanted[path]} here"
        for path in loaded
        if tuple(given[path].shape) != wanted[path]
    ]
    told = [
        _listed("of the network are not in the source (name them by --init.new)", missing),
        _listed("of the source have no place (name them by --init.ignore)", extra),
        _listed("have another shape (start them afresh by --init.new)", shapes),
    ]
    if any(told):
        raise UserError(
            f"the network cannot start from {config.source}: {'; '.join(t for t in told if t)}"
        )


def _check_scaling(experiment: Experiment, source: Trained) -> None:
    model, other = experiment.model, source.experiment.model
    states.import_network(other)
    here = models.normalisation(model.normalisation, model=model.name)
    there = models.normalisation(other.normalisation, model=other.name)
    if not np.allclose(here, there, rtol=1e-6):
        name = next((k for k, v in models.NORMALISATIONS.items() if np.allclose(v, there)), "")
        remedy = f"give --model.normalisation {name}" if name else "make them the same"
        raise UserError(
            f"{experiment.init.source} saw pixels as (RGB - {there[0]}) / {there[1]}, this run has "
            f"(RGB - {here[0]}) / {here[1]}; {remedy}"
        )


def _check_answers(
    config: InitConfig,
    source: Trained,
    loaded: Iterable[str],
    *,
    aus: Sequence[str],
    emotions: Sequence[str],
) -> None:
    """A head of the same size for other AUs would load without a word."""
    same_aus = tuple(source.aus) == tuple(aus)
    same_emotions = not source.emotions or tuple(source.emotions) == tuple(emotions)
    heads = [
        path
        for path in loaded
        if HEAD.search(path) and not any(re.search(p, path) for p in config.shared)
    ]
    if heads and not (same_aus and same_emotions):
        what = "AUs" if not same_aus else "emotions"
        there = source.aus if not same_aus else source.emotions
        here = aus if not same_aus else emotions
        raise UserError(
            f"the head of {config.source} answers for other {what} ({_short(there)}; this run's: "
            f"{_short(here)}); start it afresh by --init.new '^head/', or name what of it does not "
            f"depend on them by --init.shared; it would load {_listed('parameters', heads)}"
        )


def _origin(source: Trained) -> dict[str, Any]:
    origin = {
        "model": source.experiment.model.name,
        "step": source.step,
        "checkpoint_sha256": source.manifest["sha256"],
        "data": {k: source.manifest["data"][k] for k in ("name", "digest")},
    }
    card = source.manifest.get("converted")
    return {**origin, "converted": card} if card else origin


def _table(
    experiment: Experiment,
    source: Trained,
    wanted: Mapping[str, tuple[int, ...]],
    *,
    loaded: Iterable[str],
    ignored: set[str],
) -> str:
    """A row for each group of paths: how many arrays were loaded, are new, and never move."""
    loaded = set(loaded)
    frozen = states.frozen_patterns(experiment)
    rows: dict[str, list[int]] = {}
    for path, shape in wanted.items():
        row = rows.setdefault("/".join(path.split("/")[:-1][:2]), [0, 0, 0, 0])
        row[0] += int(np.prod(shape))
        row[1 if path in loaded else 2] += 1
        row[3] += any(re.search(pattern, path) for pattern in frozen)
    width = max(len(group) for group in (*rows, "group"))
    card = source.manifest.get("converted")
    of = f", converted from {card['file']['name']}" if card else ""
    lines = [
        f"start from {experiment.init.source}: {source.experiment.model.name}, "
        f"step {source.step}{of}",
        f"  {'group':<{width}} {'numbers':>12} {'loaded':>7} {'new':>5} {'frozen':>7}",
        *(
            f"  {group:<{width}} {size:>12,} {old:>7} {new:>5} {still:>7}"
            for group, (size, old, new, still) in rows.items()
        ),
    ]
    if ignored:
        lines.append(f"  {_listed('of the source not used', sorted(ignored))}")
    return "\n".join(lines)


def _short(labels: Sequence[str]) -> str:
    more = " ..." if len(labels) > LISTED else ""
    return " ".join(labels[:LISTED]) + more


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:LISTED])}{more}"
