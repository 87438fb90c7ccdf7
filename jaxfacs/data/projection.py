"""From the label list of a data set to the label list of an experiment, unknowns kept unknown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxfacs.facs import swap_sides


@dataclass(frozen=True, eq=False)
class Projection:
    """Column numbers into a set's labels, with one extra column (the last) that is unknown.

    A target label takes its own column. Where that is unknown or not in the set, the sides answer
    for the whole ("12" is the stronger of "L12" and "R12") and a whole that is absent answers for
    its sides. What neither settles stays −1: one side absent and the other not coded says nothing
    about "12", and "12" present does not say on which side.

    Attributes (int arrays of A columns, A the length of the target list):
      own_A: the label itself. left_A, right_A: its sides. whole_A: the label without its side.
    """

    own_A: np.ndarray
    left_A: np.ndarray
    right_A: np.ndarray
    whole_A: np.ndarray

    @classmethod
    def between(
        cls, source: Sequence[str], target: Sequence[str], *, flipped: bool = False
    ) -> "Projection":
        """Prepares the way from `source` to `target`.

        With `flipped` the frames are mirrored: "L12" of the picture shown is "R12" of the record,
        also where the target asks for one side only.
        """
        column = {label: i for i, label in enumerate(source)}
        unknown = len(source)
        wanted = [swap_sides(label) if flipped else label for label in target]
        sided = [label[0] in "LR" for label in wanted]

        def columns(labels: list[str]) -> np.ndarray:
            return np.array([column.get(label, unknown) for label in labels], np.intp)

        return cls(
            own_A=columns(wanted),
            left_A=columns(["" if s else f"L{w}" for w, s in zip(wanted, sided, strict=True)]),
            right_A=columns(["" if s else f"R{w}" for w, s in zip(wanted, sided, strict=True)]),
            whole_A=columns([w[1:] if s else "" for w, s in zip(wanted, sided, strict=True)]),
        )

    def occurrence(self, occurrence_TA: np.ndarray) -> np.ndarray:
        """int8 T×A′ on the target list; −1 unknown, 0 absent, 1 present."""
        table = _with_unknown(occurrence_TA)
        left, right = table[:, self.left_A], table[:, self.right_A]
        present = (left == 1) | (right == 1)
        absent = ((left == 0) & (right == 0)) | (table[:, self.whole_A] == 0)
        own = table[:, self.own_A]
        derived = np.where(present, 1, np.where(absent, 0, -1))
        return np.where(own >= 0, own, derived).astype(np.int8)

    def intensity(self, intensity_TA: np.ndarray) -> np.ndarray:
        """float32 T×A′ in [0, 5] on the target list; −1 unknown."""
        table = _with_unknown(intensity_TA)
        left, right = table[:, self.left_A], table[:, self.right_A]
        # A side that nobody coded may be the stronger one, unless the other is at the top already.
        settled = ((left >= 0) & (right >= 0)) | (np.maximum(left, right) == 5)
        absent = table[:, self.whole_A] == 0
        own = table[:, self.own_A]
        derived = np.where(settled, np.maximum(left, right), np.where(absent, 0, -1))
        return np.where(own >= 0, own, derived).astype(np.float32)


def _with_unknown(labels_TA: np.ndarray) -> np.ndarray:
    return np.concatenate([labels_TA, np.full((len(labels_TA), 1), -1, labels_TA.dtype)], axis=1)


def unsided(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels without a side, and those whose sides alone are there, as whole AUs."""
    return tuple(dict.fromkeys(label.lstrip("LR") for label in labels))
