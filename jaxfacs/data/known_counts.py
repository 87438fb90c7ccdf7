"""What was built beside what the papers count; differences are told, they never fail a build."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.data.delivery import Known

SHOWN = 8  # differences that are spelt out
WHOLE = ("frames", "clips", "subjects")  # counts of a split; others are of one label


def compare(known: Sequence[Known], folder: Path, labels: Mapping[str, Any], own: Any) -> list[str]:
    """Lines for people: each published count that applies, and by how much the set differs.

    Args:
      known: of the builder.
      folder: holds the index files of the set.
      labels: labels.json.
      own: options of the builder, to see which counts apply.
    """
    lines = []
    for published in known:
        if any(getattr(own, name) != value for name, value in published.when.items()):
            continue
        counted = {key: count(key, folder, labels) for key in published.counts}
        differing = [
            f"{key} {counted[key]} ({counted[key] - expected:+d})"
            for key, expected in published.counts.items()
            if counted[key] != expected
        ]
        same = len(published.counts) - len(differing)
        if len(differing) > SHOWN:
            differing[SHOWN:] = ["…"]
        lines.append(
            f"{same} of {len(published.counts)} published counts agree ({published.source})"
            + (f"; built, and the difference: {', '.join(differing)}" if differing else "")
        )
    return lines


def count(key: str, folder: Path, labels: Mapping[str, Any]) -> int:
    """One count of a set; see `Known.counts` for the keys. Raises ValueError for another key."""
    what, _, only = key.partition("/")
    if what not in WHOLE and not what.startswith(("AU", "emotion ")):
        raise ValueError(f"no count is called {what!r}")
    total = 0
    people: set[str] = set()
    for split, content in labels["splits"].items():
        if only and split != only:
            continue
        if what in ("frames", "clips"):
            total += content[what]
        elif what == "subjects":
            people |= set(content["subjects"]) - {""}
        else:
            total += _labelled(what, folder / f"index-{split}.npz", labels)
    return len(people) if what == "subjects" else total


def _labelled(what: str, index: Path, labels: Mapping[str, Any]) -> int:
    kind, name = ("AU", what[2:]) if what.startswith("AU") else what.split(" ", 1)
    names = labels["aus" if kind == "AU" else "emotions"]
    if name not in names:
        return 0
    with np.load(index) as file:
        if kind == "AU":
            return int((file["occurrence_FA"][:, names.index(name)] == 1).sum())
        return int(file["length_N"][file["emotion_N"] == names.index(name)].sum())
