"""Networks by name: a table from a name to the function that makes it and to its card."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from flax import nnx

from jaxfacs.errors import UserError


@dataclass(frozen=True)
class Card:
    """What one must know to feed a network, x = (uint8 RGB - mean) / std, and to cite it."""

    frames: int
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    paper: str
    source: str
    licence: str


_ENTRIES: dict[str, tuple[Callable[..., nnx.Module], Card]] = {}


def register(name: str, card: Card) -> Callable[[Callable], Callable]:
    """Decorates the function that makes the network `name`; a name is given once."""
    if name in _ENTRIES:
        raise ValueError(f"model '{name}' is registered twice")
    return lambda make: _ENTRIES.setdefault(name, (make, card))[0]


def names() -> tuple[str, ...]:
    """Returns the registered names in alphabetical order."""
    return tuple(sorted(_ENTRIES))


def card(name: str) -> Card:
    """Returns the card of `name`; UserError lists near names if there is none."""
    return _entry(name)[1]


def create(name: str, *, rngs: nnx.Rngs, **options: object) -> nnx.Module:
    """Makes the network `name`; UserError names the valid options if one is unknown."""
    make = _entry(name)[0]
    valid = {n: p for n, p in inspect.signature(make).parameters.items() if n != "rngs"}
    if unknown := sorted(options.keys() - valid.keys()):
        raise UserError(f"{name} has no option {', '.join(unknown)}; it has: {', '.join(valid)}")
    if missing := [n for n, p in valid.items() if p.default is p.empty and n not in options]:
        raise UserError(f"{name} needs the option {', '.join(missing)}")
    return make(rngs=rngs, **options)


def _entry(name: str) -> tuple[Callable[..., nnx.Module], Card]:
    if name in _ENTRIES:
        return _ENTRIES[name]
    near = difflib.get_close_matches(name, names(), n=3) or names()
    raise UserError(f"no model '{name}'; did you mean: {', '.join(near)}?")
