"""The language of key maps: how names in a file become our paths.

Names here are dotted, as torch writes them; `backbone.layer1.0.conv1.weight` becomes our path
`backbone/layer1/0/conv1/kernel`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxfacs.convert.layouts import Layout

Shapes = Mapping[str, tuple[int, ...]]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
Rules = tuple[Rule, ...]

# Buffers that hold no weights: counters, and tables that are computed from sizes.
BUFFERS = r"(num_batches_tracked|relative_position_index|attn_mask)$"


@dataclass(frozen=True)
class KeyMap:
    """How the names of a file become ours.

    Attributes:
      rules: (regular expression, replacement), all applied in order to each name.
      layout: whose tensor layout and roles.
      ignored: names (as in the file) that match have no place here, by intent.
      flatten: our kernel's path -> (C, H, W) of the map that was flattened before it.
      first: path of the kernel that reads the picture.
      bgr: whether the file's network read B, G, R; its first kernel is then turned round.
      answers: name after the rules of the tensor whose outputs are the classes or AUs.
      create: options with which the network must be made for these weights.
      infer: further options that the file's names and shapes tell.
      marks: regular expressions that all match some name of such a file, and no other form's.
      normalisation: name in `models.NORMALISATIONS` that the weights want; "" is the card's.
      ordered: modules of ours, for files whose layers are known by their order alone.
      numbered: whether layers have names such as conv2d_7 that count from anywhere: they become
        conv2d#0, conv2d#1, ... before the rules.
    """

    rules: Rules
    layout: Layout = "torch"
    ignored: tuple[str, ...] = ()
    flatten: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    first: str = "backbone/conv1/kernel"
    bgr: bool = False
    answers: str = "head.occurrence.weight"
    create: Mapping[str, Any] = field(default_factory=dict)
    infer: Callable[[Shapes], Mapping[str, Any]] | None = None
    marks: tuple[str, ...] = ()
    normalisation: str = ""
    ordered: tuple[str, ...] = ()
    numbered: bool = False


def classified(classifier: str, *more: Rule) -> Rules:
    """Rules of an image classifier: its last layer is the head, the rest the backbone."""
    return ((rf"^{classifier}\.", "head.occurrence."), *more, (r"^(?!head\.)", "backbone."))


# A network without an entry: torch's names and layouts, which begin with `backbone.` and `head.`.
OWN = KeyMap(rules=())


def renamed(names: Iterable[str], keymap: KeyMap) -> dict[str, str]:
    """Name in the file -> name by the rules, in the file's order."""
    before = {name: name for name in names}
    if keymap.numbered:
        before = _counted(before)
    if keymap.ordered:
        before = _in_order(before, keymap.ordered)
    return {name: _by_rules(current, keymap.rules) for name, current in before.items()}


def _by_rules(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _counted(names: Mapping[str, str]) -> dict[str, str]:
    """Counts layers named after their kind: conv2d, conv2d_4, ... -> conv2d#0, conv2d#1, ..."""
    layers: dict[str, set[int]] = {}
    parts = {}
    for name in names:
        layer, _, role = name.rpartition(".")
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer).groups()  # type: ignore[union-attr]
        parts[name] = kind, int(number or 0), role
        layers.setdefault(kind, set()).add(int(number or 0))
    ranks = {kind: {n: i for i, n in enumerate(sorted(ns))} for kind, ns in layers.items()}
    return {
        name: f"{kind}#{ranks[kind][n]}.{role}" if len(ranks[kind]) > 1 else name
        for name, (kind, n, role) in parts.items()
    }


def _in_order(names: Mapping[str, str], modules: tuple[str, ...]) -> dict[str, str]:
    """Gives the layers of a file, in its order, the names of `modules`."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    ours = dict(zip(layers, modules, strict=False))
    return {
        name: f"{ours.get(layer, layer)}.{role}"
        for name in names
        for layer, _, role in [name.rpartition(".")]
    }
