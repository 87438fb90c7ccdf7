"""Tensors of another framework, by their names there, into a network of ours."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxfacs import models
from jaxfacs.convert import layouts
from jaxfacs.convert.keymaps import BUFFERS, KeyMap, choose, renamed
from jaxfacs.errors import UserError
from jaxfacs.train.paths import map_paths, paths

State = Mapping[str, np.ndarray]

LISTED = 10  # names of each kind of mismatch in one message


@dataclass(frozen=True)
class Converted:
    """A network filled with converted weights, and what became of the file's tensors."""

    module: nnx.Module
    form: str
    options: dict[str, Any]
    loaded: tuple[str, ...]
    unused: tuple[str, ...]


def from_torch(name: str, state: State, *, form: str = "", **options: Any) -> nnx.Module:
    """Makes the network `name` and fills it with a state dict of numpy arrays.

    Args:
      name: of `models.names()`.
      state: names and layouts of the original; a DataParallel prefix `module.` is taken off, and
        buffers that hold no weights are left out.
      form: whose names they are, where there are several ("torchvision", "keras", ...); "" finds
        it from the names.
      **options: of `models.create`; `num_aus` is by default what the last layer has.

    Raises:
      UserError: tensors are missing, have no place, or have another shape; all are listed.
    """
    return convert(name, state, form=form, **options).module


def from_keras(name: str, state: State, **options: Any) -> nnx.Module:
    """`from_torch` for names and layouts of Keras: "conv1_conv/kernel" -> array."""
    return from_torch(name, state, form="keras", **options)


def convert(name: str, state: State, *, form: str = "", **options: Any) -> Converted:
    """As `from_torch`, telling also what became of each tensor."""
    models.card(name)  # an unknown name is told first
    cleaned = {k.replace("/", ".").removeprefix("module."): v for k, v in state.items()}
    try:
        form, keymap = choose(name, form, cleaned)
    except KeyError as error:
        raise UserError(f"{name} has no weights of form '{form}'; give {error.args[0]}") from None
    ignored = re.compile("|".join((BUFFERS, *keymap.ignored)))
    source = {renamed(k, keymap.rules): v for k, v in cleaned.items() if not ignored.search(k)}
    told = keymap.infer({k: v.shape for k, v in cleaned.items()}) if keymap.infer else {}
    given = {**keymap.create, **told, **options}
    if "num_aus" not in given:
        given["num_aus"] = _answers(name, source, keymap)
    graphdef, params, stats = jax.eval_shape(
        lambda: models.split(models.create(name, rngs=nnx.Rngs(0), **given))
    )
    expected = {path: leaf.shape for tree in (params, stats) for path, leaf in paths(tree).items()}
    values = _fitted(name, source, keymap, expected)
    filled = [map_paths(lambda path, _: values[path], tree) for tree in (params, stats)]
    return Converted(
        module=nnx.merge(graphdef, *filled),
        form=form,
        options=given,
        loaded=tuple(sorted(values)),
        unused=tuple(k for k in cleaned if ignored.search(k)),
    )


def _answers(name: str, source: State, keymap: KeyMap) -> int:
    """How many classes or AUs the last layer of the file has."""
    answers = source.get(keymap.answers)
    if answers is None or answers.ndim < 2:
        raise UserError(
            f"these weights have no {keymap.answers}, which would tell how many AUs {name} is to "
            "answer; give num_aus"
        )
    return answers.shape[0 if keymap.layout == "torch" else -1]


def _fitted(
    name: str, source: State, keymap: KeyMap, expected: dict[str, tuple[int, ...]]
) -> dict[str, jax.Array]:
    """Our path -> array; raises UserError listing everything that does not fit."""
    values: dict[str, jax.Array] = {}
    homeless, misshapen = [], []
    for key, value in source.items():
        path = _path(key, keymap, expected)
        if path not in expected:
            near = difflib.get_close_matches(path, expected, n=1)
            homeless.append(f"{key} (near: {near[0]})" if near else key)
            continue
        ours = _laid_out(path, np.asarray(value), keymap, expected[path])
        if ours.shape != expected[path]:
            misshapen.append(f"{path} is {ours.shape}, expected {expected[path]}")
            values[path] = jax.numpy.zeros(0)
            continue
        values[path] = jax.numpy.asarray(ours, jax.numpy.float32)
    missing = [path for path in expected if path not in values]
    if missing or homeless or misshapen:
        told = [
            _listed("parameters missing from the weights", missing),
            _listed("tensors without a place in the network", homeless),
            _listed("tensors of another shape", misshapen),
        ]
        raise UserError(
            f"these weights are not of {name} as asked for: {'; '.join(t for t in told if t)}; "
            "check the network, its options and --form"
        )
    return values


def _path(key: str, keymap: KeyMap, expected: Mapping[str, Any]) -> str:
    *parents, role = key.split(".")
    leaves = layouts.LEAVES[keymap.layout].get(role, (role,))
    found = ["/".join((*parents, leaf)) for leaf in leaves]
    return next((path for path in found if path in expected), found[0])


def _laid_out(path: str, value: np.ndarray, keymap: KeyMap, shape: tuple[int, ...]) -> np.ndarray:
    if not path.endswith("/kernel"):
        return value
    value = layouts.kernel(value, keymap.layout, shape)
    if path in keymap.flatten and keymap.layout == "torch":
        value = layouts.after_flatten(value, keymap.flatten[path])
    if path == keymap.first and keymap.bgr:
        value = np.flip(value, -2)
    return value


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what}: {', '.join(sorted(names)[:LISTED])}{more}"
