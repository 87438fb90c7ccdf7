"""Tensors of another framework, by their names there, into a network of ours."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs import models
from jaxfacs.convert import layouts
from jaxfacs.convert.keymap import BUFFERS, KeyMap, renamed
from jaxfacs.convert.keymaps import choose
from jaxfacs.errors import UserError
from jaxfacs.models.backbones.alexnet import widened
from jaxfacs.train.paths import map_paths, paths

State = Mapping[str, np.ndarray]
Shape = tuple[int, ...]

LISTED = 10  # names of each kind of mismatch in one message
COLOURS = 3


@dataclass(frozen=True)
class Converted:
    """A network filled with converted weights, and what became of the file's tensors.

    Attributes:
      module: the network.
      form: whose weights they were.
      options: of `models.create`, as it was made.
      normalisation: the name of the scaling that the weights want; "" is the network's card's.
      loaded: how many of its parameters and statistics came out of the file.
      unused: names in the file that have no place here, by intent.
      notes: what was done to the weights beyond renaming and laying out, in sentences.
      headless: the file had no last layer; the network's answers 0 for everything.
    """

    module: nnx.Module
    form: str
    options: dict[str, Any]
    normalisation: str
    loaded: int
    unused: tuple[str, ...]
    notes: tuple[str, ...]
    headless: bool


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
    cleaned = {_clean(key): np.asarray(value) for key, value in state.items()}
    form, keymap = choose(name, form, cleaned)
    ignored = re.compile("|".join((BUFFERS, *keymap.ignored)))
    names = renamed((key for key in cleaned if not ignored.search(key)), keymap)
    source = {names[key]: value for key, value in cleaned.items() if key in names}
    if len(source) < len(names):
        raise UserError(f"two tensors of these weights go to one place of {name}; check --form")
    told = keymap.infer({k: v.shape for k, v in cleaned.items()}) if keymap.infer else {}
    given = {**keymap.create, **told, **options}
    headless = bool(keymap.answers) and not any(key.startswith("head.") for key in source)
    if keymap.answers and "num_aus" not in given:
        given["num_aus"] = 1 if headless else _answers(name, source, keymap)
    graphdef, params, stats = _form(name, given)
    expected = {path: leaf.shape for tree in (params, stats) for path, leaf in paths(tree).items()}
    values, notes = _fitted(name, source, keymap, expected, headless=headless)
    filled = [map_paths(lambda path, _: jnp.asarray(values[path]), t) for t in (params, stats)]
    return Converted(
        module=nnx.merge(graphdef, *filled),
        form=form,
        options=given,
        normalisation=keymap.normalisation,
        loaded=len(source),
        unused=tuple(key for key in cleaned if ignored.search(key)),
        notes=notes,
        headless=headless,
    )


def _form(name: str, given: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(graphdef, params, stats) of the network, its arrays shapes only: nothing is drawn."""
    try:
        return jax.eval_shape(lambda: models.split(models.create(name, rngs=nnx.Rngs(0), **given)))
    except (TypeError, ValueError) as error:  # of a value that no option can have
        first = str(error).splitlines()[0]
        raise UserError(f"{name} cannot be made with {given} ({first})") from error


def _clean(key: str) -> str:
    return key.replace("/", ".").removeprefix("module.")


def _answers(name: str, source: State, keymap: KeyMap) -> int:
    """How many classes or AUs the last layer of the file has."""
    answers = source.get(keymap.answers)
    if answers is None or answers.ndim < 2:
        raise UserError(
            f"these weights have no matrix {keymap.answers}, which would tell how many AUs {name} "
            "is to answer; check the network"
        )
    return answers.shape[0 if keymap.layout == "torch" else -1]


def _fitted(
    name: str,
    source: State,
    keymap: KeyMap,
    expected: dict[str, Shape],
    *,
    headless: bool,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """(our path -> array, notes); raises UserError listing everything that does not fit."""
    values: dict[str, np.ndarray] = {}
    notes: list[str] = []
    homeless, misshapen = [], []
    for key, value in source.items():
        path = _path(key, keymap, expected)
        if path not in expected:
            homeless.append(path)
            continue
        ours = _laid_out(path, value, keymap, expected[path], notes)
        values[path] = ours
        if ours.shape != expected[path]:
            misshapen.append(f"{path} is {ours.shape}, expected {expected[path]}")
        elif value.dtype.kind != "f":
            misshapen.append(f"{path} is of type {value.dtype}, expected float32")
    if headless:
        values |= {p: np.zeros(s, np.float32) for p, s in expected.items() if p.startswith("head/")}
    missing = [path for path in expected if path not in values]
    if missing or homeless or misshapen:
        told = [
            _listed("missing from the weights", missing, near=homeless),
            _listed("in the weights without a place in the network", homeless, near=missing),
            _listed("of another shape or type", misshapen),
        ]
        raise UserError(
            f"these weights are not of {name} as asked for: {'; '.join(t for t in told if t)}; "
            "check the network, its options and --form"
        )
    return values, tuple(notes)


def _path(key: str, keymap: KeyMap, expected: Mapping[str, Any]) -> str:
    *parents, role = key.split(".")
    leaves = layouts.LEAVES[keymap.layout].get(role, (role,))
    found = ["/".join((*parents, leaf)) for leaf in leaves]
    return next((path for path in found if path in expected), found[0])


def _laid_out(
    path: str, value: np.ndarray, keymap: KeyMap, shape: Shape, notes: list[str]
) -> np.ndarray:
    flat = value.ndim == 2
    if path.endswith("/kernel"):
        value = layouts.kernel(value, keymap.layout, shape)
    if path in keymap.flatten and flat and value.shape == shape:
        value = layouts.after_flatten(value, keymap.flatten[path])
    if path == keymap.first and value.ndim == 4:
        if keymap.bgr:
            value = np.flip(value, -2)
            notes.append(f"{path}: its inputs B, G, R were turned to R, G, B")
        if value.shape[-2] == COLOURS != shape[-2]:
            value = widened(value, shape[-2])
            notes.append(f"{path}: made for {shape[-2]} channels, of the mean over its 3 colours")
    return np.ascontiguousarray(value, np.float32)


def _listed(what: str, names: Collection[str], *, near: Collection[str] = ()) -> str:
    """The first of `names`, each with the likest of `near`, which may be its name there."""
    if not names:
        return ""
    told = []
    for name in list(names)[:LISTED]:
        like = difflib.get_close_matches(name, near, n=1)
        told.append(f"{name} (near: {like[0]})" if like else name)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what}: {', '.join(told)}{more}"
