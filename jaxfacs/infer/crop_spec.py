"""How a face of a film becomes the network's input: as the faces of its records did."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.faces.align import ALIGNMENTS
from jaxfacs.faces.steps import FaceSteps

_UNKNOWN_MARGIN = 0.2  # of bundles that do not say how their faces were cut


@dataclass(frozen=True)
class CropSpec:
    """How a face becomes the network's input; the same as when its records were built.

    Attributes:
      steps: of the records; `steps.size` is the side of their frames, which training shrinks to
        the network's.
      size: side of the network's frames in pixels.
      share: of the side of the records' frames, whose middle evaluation saw
        (`data.augment.crop` of the run).
    """

    steps: FaceSteps
    size: int
    share: float = 1.0

    @classmethod
    def of_card(cls, card: Mapping[str, Any], size: int) -> "CropSpec":
        """From what a record set keeps as its `crop`; earlier ones keep no steps, only a margin.

        Raises:
          UserError: the words are not known here, or cannot be done without given landmarks.
        """
        words = card.get("steps", [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError("its face steps are not a list of words; export the model again")
        try:
            steps = FaceSteps.parse(words)
        except UserError as error:
            raise UserError(f"{error}; or update jaxfacs, if a newer one made it") from error
        chosen = ALIGNMENTS.get(steps.alignment)
        if chosen is not None and not chosen.from_5:
            raise UserError(
                f"its faces are laid by '{steps.alignment}', which needs {chosen.needs}; no "
                "detector here finds them in a film; train on records made with 'eyes-mouth' or "
                "'box:0.1'"
            )
        margin = float(card.get("margin", steps.margin if words else _UNKNOWN_MARGIN))
        stored = int(card.get("size", size))
        share = float(card.get("share", 1.0))
        if not 0 < share <= 1:
            raise UserError(f"its share of a face is {share}, not above 0 and up to 1")
        return cls(replace(steps, margin=margin, size=stored), size, share)

    @property
    def needs_landmarks(self) -> bool:
        """Whether the detector must tell where eyes and mouth are."""
        return self.steps.alignment != "box"

    def __call__(
        self,
        frame_HWC: np.ndarray,
        box_4: np.ndarray,
        landmarks_5x2: np.ndarray | None = None,
    ) -> np.ndarray:
        """The network's uint8 size×size×3 of one face; without landmarks that of an upright one."""
        matrix = None
        if self.needs_landmarks:
            if landmarks_5x2 is not None:
                matrix = self.steps.matrix(landmarks_5x2)
            if matrix is None:
                matrix = self.steps.typical(box_4)
        face = self.steps.cut(frame_HWC, box_4, landmarks_5x2, matrix_23=matrix)
        side = max(1, round(self.steps.size * self.share))
        low = (self.steps.size - side + 1) // 2
        face = face[low : low + side, low : low + side]
        if side == self.size:
            return face
        how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        return cv2.resize(face, (self.size, self.size), interpolation=how)
