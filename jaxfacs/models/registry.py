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


def options(name: str) -> tuple[str, ...]:
    """Returns the names of what `create(name, ...)` takes."""
    return tuple(inspect.signature(_entry(name)[0]).parameters)


def create(name: str, *, rngs: nnx.Rngs, **given: object) -> nnx.Module:
    """Makes the network `name`; UserError names its options if one is unknown or missing."""
    make = _entry(name)[0]
    try:
        inspect.signature(make).bind(rngs=rngs, **given)
    except TypeError as error:  # an unknown option, or a missing one
        raise UserError(f"{name}: {error}; options: {', '.join(options(name))}") from None
    return make(rngs=rngs, **given)


def _entry(name: str) -> tuple[Callable[..., nnx.Module], Card]:
    if name in _ENTRIES:
        return _ENTRIES[name]
    near = difflib.get_close_matches(name, names(), n=3) or names()
    raise UserError(f"no model '{name}'; did you mean: {', '.join(near)}?")
