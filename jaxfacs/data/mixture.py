"""The record sets of a run as one: their labels joined, their splits one after the other.

A single source is a mixture of one, so that nobody has to ask which it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jaxfacs import facs
from jaxfacs.data.config import DataConfig, Part
from jaxfacs.data.people import Seen, refuse_seen, seen_in, word_of
from jaxfacs.data.projection import unsided
from jaxfacs.data.records import RecordSet, Statistics, open_set
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical


@dataclass(frozen=True, eq=False)
class Member:
    """A part of a mixture in one of its splits.

    Attributes:
      place: of the part in the mixture.
      part: what the config says of it.
      records: the set.
      split: what the set calls it.
    """

    place: int
    part: Part
    records: RecordSet
    split: str

    @property
    def clips(self) -> int:
        return self.records.splits[self.split]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Record sets that were opened together; see `open_data`.

    Splits are named as the config names them; a part may call them otherwise. Clips are numbered
    over all members of a split, one set after the other.

    Attributes:
      config: what was asked for.
      records: the sets, in the order of `config.parts`.
      names: what they are called in reports.
      aus: the labels of the sets that are learned from; of several, sides joined and in order.
      emotions: the names that the emotion index means; of several, canonical ones.
      persons: (word for the people, subject) of everybody; `subject_B` gives places in this list.
      damaged: places of the damaged records that batches of this process met so far.
    """

    config: DataConfig
    records: tuple[RecordSet, ...]
    names: tuple[str, ...]
    aus: tuple[str, ...]
    emotions: tuple[str, ...]
    persons: tuple[tuple[str, str], ...]
    damaged: set[str] = field(default_factory=set)

    def members(self, split: str) -> tuple[Member, ...]:
        """The parts that have a split; of the training split, those with a weight.

        Raises UserError, naming the splits that there are, if none has it, or if a part with a
        weight has no training split.
        """
        training = split == self.config.train_split
        found = []
        for place, (part, records) in enumerate(zip(self.config.parts, self.records, strict=True)):
            own = self._own_name(part, split)
            if training and part.weight:
                records.require_split(own)
            if own in records.splits and (part.weight or not training):
                found.append(Member(place, part, records, own))
        if not found:
            self.records[0].require_split(self._own_name(self.config.parts[0], split))
        return tuple(found)

    def require_split(self, split: str) -> str:
        """`split`, or UserError as in `members`."""
        self.members(split)
        return split

    def has_split(self, split: str) -> bool:
        """Whether any part has it."""
        pairs = zip(self.config.parts, self.records, strict=True)
        return any(self._own_name(part, split) in records.splits for part, records in pairs)

    def clips(self, split: str) -> int:
        """How many there are in all sets."""
        return sum(member.clips for member in self.members(split))

    def share(self, member: Member) -> float:
        """The share of the drawn clips that come from a member of the training split."""
        by_clip = self.config.mixture_by == "clip"
        weights = {
            m.place: m.part.weight * (m.clips if by_clip else 1)
            for m in self.members(self.config.train_split)
        }
        return weights[member.place] / sum(weights.values())

    def index(self, split: str) -> dict[str, np.ndarray]:
        """The labels of a split's N clips that need no projection to an experiment's list.

        Returns int32 `length_N`, `subject_N` (place in `persons`), `emotion_N` (place in
        `emotions`, −1 unknown) and `set_N` (place in `names`).
        """
        parts: dict[str, list[np.ndarray]] = {
            key: [] for key in ("length_N", "subject_N", "emotion_N", "set_N")
        }
        for member in self.members(split):
            index = member.records.index(member.split)
            parts["length_N"].append(index["length_N"])
            parts["subject_N"].append(self._places(member.records)[index["subject_N"]])
            parts["emotion_N"].append(self.emotion_places(member.records)[index["emotion_N"]])
            parts["set_N"].append(np.full(member.clips, member.place))
        return {key: np.concatenate(arrays).astype(np.int32) for key, arrays in parts.items()}

    def occurrence(self, split: str, *, aus: Sequence[str]) -> np.ndarray:
        """int8 F×A: occurrence in every frame of a split, on the list `aus`; −1 unknown."""
        return np.concatenate([m.records.occurrence(m.split, aus=aus) for m in self.members(split)])

    def statistics(self, split: str, *, aus: Sequence[str] = ()) -> Statistics:
        """Counts per AU over every frame of a split: of each AU, over the sets that code it.

        They are counts of what is there, each frame once, whatever the weights of the sets.
        """
        aus = tuple(aus) or self.aus
        return Statistics.of(aus, self.occurrence(split, aus=aus), clips=self.clips(split))

    def emotion_places(self, records: RecordSet) -> np.ndarray:
        """int32: place in `emotions` of each of a set's emotions, and −1 at the end for −1."""
        place = {name: i for i, name in enumerate(self.emotions)}
        # Names as they are come first: a list may hold both "happy" and "happiness".
        plain = {canonical(name): i for name, i in reversed(place.items())} | place
        found = [plain.get(name, plain.get(canonical(name), -1)) for name in records.emotions]
        return np.array([*found, -1], np.int32)

    @property
    def path(self) -> str:
        """Where the sets lie, for messages."""
        return ", ".join(str(records.path) for records in self.records)

    @cached_property
    def digest(self) -> str:
        """Of one set its own; of several a sha256 over theirs, in order."""
        digests = [records.digest for records in self.records]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    @property
    def crop(self) -> Mapping[str, Any]:
        """How faces were cut out in the set that is drawn most; prediction does the same."""
        members = self.members(self.config.train_split)
        return max(members, key=self.share).records.crop

    @property
    def crops_differ(self) -> bool:
        """Whether the sets that are learned from had their faces cut out in different ways."""
        crops = [m.records.crop for m in self.members(self.config.train_split)]
        return any(crop != crops[0] for crop in crops)

    def lines(self) -> list[str]:
        """What is drawn of each set that is learned from, for people; of one set alone nothing."""
        members = self.members(self.config.train_split)
        return [
            f"{self.names[m.place]}: {self.share(m):.1%} of the clips drawn, of {m.clips}; "
            f"AUs {' '.join(m.records.aus) or 'none'}"
            for m in members
            if len(self.records) > 1
        ]

    def seen(self) -> Seen:
        """Who is learned from."""
        members = self.members(self.config.train_split)
        return seen_in((m.records, m.split) for m in members)

    def refuse_overlap(self, seen: Seen) -> None:
        """Raises UserError if somebody of `seen` is in what this run holds out, unless told.

        Held out is every split of every set but its training split, also where it is only `jaxfacs
        evaluate` that will measure on it: then it is too late.
        """
        if self.config.allow_overlap:
            return
        held_out = [
            (records, split)
            for part, records in zip(self.config.parts, self.records, strict=True)
            for split in records.splits
            if split != self._own_name(part, self.config.train_split)
            or split == self._own_name(part, self.config.validation_split)
        ]
        refuse_seen(seen, held_out, remedy="give --data.allow-overlap True")

    def manifest(self) -> dict[str, Any]:
        """What a checkpoint says of its data: the sets, their digests, and who was in them."""
        return {
            "name": "+".join(self.names),
            "digest": self.digest,
            "crop": dict(self.crop),
            "parts": [
                {"name": name, "set": records.name, "digest": records.digest}
                for name, records in zip(self.names, self.records, strict=True)
            ],
            "seen": self.seen(),
        }

    def _own_name(self, part: Part, split: str) -> str:
        if split == self.config.train_split and part.train_split:
            return part.train_split
        if split == self.config.validation_split and part.validation_split:
            return part.validation_split
        return split

    def _places(self, records: RecordSet) -> np.ndarray:
        place = {person: i for i, person in enumerate(self.persons)}
        word = word_of(records)
        return np.array([place[word, name] for name in records.subject_names], np.int32)


def open_data(config: DataConfig, *, emotions: Sequence[str] | None = None) -> Mixture:
    """Opens the sets of a run.

    Args:
      config: with a source or a mixture.
      emotions: the list on which emotions are given, as of a network that was trained; None: that
        of the one set, or the joined one of all that are learned from.

    Raises:
      UserError: a set cannot be opened, or two parts have one name.
    """
    records = tuple(open_set(part.source) for part in config.parts)
    names = tuple(
        part.name or opened.name for part, opened in zip(config.parts, records, strict=True)
    )
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two parts of data.mixture are named '{name}'; give one of them another name"
            )
    taught = [r for part, r in zip(config.parts, records, strict=True) if part.weight]
    if len(records) == 1:
        aus, own_emotions = records[0].aus, records[0].emotions
    else:
        united = unsided([label for r in taught for label in r.aus])
        aus = tuple(sorted(united, key=lambda label: facs.split_label(label)[1]))
        all_names = (canonical(name) for r in taught for name in r.emotions)
        own_emotions = tuple(dict.fromkeys(all_names))
    return Mixture(
        config=config,
        records=records,
        names=names,
        aus=aus,
        emotions=own_emotions if emotions is None else tuple(emotions),
        persons=tuple(sorted({(word_of(r), name) for r in records for name in r.subject_names})),
    )
