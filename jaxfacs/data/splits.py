"""Who is in which split: by subject, never by clip."""

import hashlib
from collections.abc import Iterable, Mapping

from jaxfacs.data.writer import SPLITS
from jaxfacs.errors import UserError


def by_subject(
    weights: Mapping[str, int], *, validation: float, test: float, seed: int
) -> dict[str, str]:
    """Deals subjects out to train, validation and test.

    The order is that of a hash of (seed, subject), so it does not depend on how many other subjects
    there are or how they are listed.

    Args:
      weights: subject -> how much data they bring (clips or frames).
      validation, test: shares of the data. A split with a share gets at least one subject.

    Raises:
      UserError: fewer subjects than splits, or shares that leave nothing for training.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise UserError(
            f"shares of {validation} and {test} for validation and test leave nothing to train on"
        )
    shares = {"test": test, "validation": validation, "train": 1 - validation - test}
    wanted = [split for split, share in shares.items() if share > 0]
    if len(weights) < len(wanted):
        raise UserError(
            f"{len(weights)} subject(s) cannot fill {len(wanted)} splits ({', '.join(wanted)}); "
            "give more subjects, or set --validation 0 --test 0"
        )
    order = sorted(
        weights, key=lambda subject: hashlib.sha256(f"{seed}/{subject}".encode()).digest()
    )
    total = sum(weights.values())
    split_of: dict[str, str] = {}
    remaining = list(order)
    for split in wanted[:-1]:
        taken = 0
        # Leave one subject for each split that is still to come.
        while remaining and len(remaining) > len(wanted) - 1 - wanted.index(split):
            if taken and taken + weights[remaining[0]] / 2 > shares[split] * total:
                break
            taken += weights[remaining[0]]
            split_of[remaining.pop(0)] = split
    return {**split_of, **dict.fromkeys(remaining, "train")}


def require_known(split: str) -> str:
    """`split` in lower case, or UserError; "val", "valid" and "dev" mean validation."""
    name = split.strip().lower()
    name = {"val": "validation", "valid": "validation", "dev": "validation"}.get(name, name)
    if name not in SPLITS:
        raise UserError(f"unknown split {split!r}; use {', '.join(SPLITS)}")
    return name


def part_tested(parts: Mapping[str, Iterable[str]], tested: str) -> dict[str, str]:
    """subject -> split: one part of the people is tested, all others train."""
    return {s: "test" if part == tested else "train" for part in parts for s in parts[part]}


def one_tested(tested: str, people: Iterable[str]) -> dict[str, str]:
    """subject -> split: `tested` is the test split by themselves, all others train.

    Raises:
      UserError: nobody of that name is there, or nobody else.
    """
    everyone = sorted(set(people))
    if tested not in everyone or len(everyone) < 2:
        raise UserError(
            f"--test-subject {tested} is none of {', '.join(everyone)}, or the only one"
        )
    return {subject: "test" if subject == tested else "train" for subject in everyone}


def every_nth(people: Iterable[str], *, fold: int, folds: int) -> dict[str, str]:
    """subject -> split: in ascending order every `folds`-th, from the `fold`-th (1, 2, …) on, is
    tested, the others train.

    Raises:
      UserError: fewer people than folds.
    """
    everyone = sorted(set(people))
    if len(everyone) < folds:
        raise UserError(f"{len(everyone)} people cannot be dealt into {folds} folds")
    return {
        subject: "test" if place % folds == fold - 1 else "train"
        for place, subject in enumerate(everyone)
    }
