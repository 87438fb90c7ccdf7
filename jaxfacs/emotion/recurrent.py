"""An LSTM from AUs to emotions, applied with numpy alone; `train.emotion_networks` fits it in Flax.

It reads the frames of one face in order and answers in each from what it has seen so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.emotion.learned import check_finite, leaving_out, untold
from jaxfacs.emotion.reading import Evidence, Reading, emotion_names
from jaxfacs.facs import parse_label

PARTS = ("input", "recurrent", "bias", "out", "out_bias")


@dataclass(frozen=True, eq=False)
class RecurrentMapper:
    """One LSTM layer and one dense layer on AU probabilities, frame after frame.

    Attributes:
      emotions, aus: E names, A labels.
      mean_A: average of each input in the data; stands in for an AU that nobody can tell.
      weights: of H cells: input A×4H and recurrent H×4H with gates in the order input, forget,
        cell, output; bias 4H; out H×E; out_bias E.
    """

    emotions: tuple[str, ...]
    aus: tuple[str, ...]
    mean_A: np.ndarray
    weights: Mapping[str, np.ndarray]

    kind = "recurrent"

    def __post_init__(self):
        a, e, h = len(self.aus), len(self.emotions), self.weights["bias"].size // 4
        shapes = {
            "input": (a, 4 * h),
            "recurrent": (h, 4 * h),
            "bias": (4 * h,),
            "out": (h, e),
            "out_bias": (e,),
        }
        for part, shape in shapes.items():
            if self.weights[part].shape != shape:
                raise ValueError(f"{part} of shape {self.weights[part].shape}, not {shape}")
        if self.mean_A.shape != (a,):
            raise ValueError(f"means of shape {self.mean_A.shape} for {a} AUs")
        check_finite((self.mean_A, *self.weights.values()))

    def apply(
        self,
        aus: Sequence[str],
        probability_TA: ArrayLike,
        *,
        intensity_TA: ArrayLike | None = None,
    ) -> Reading:
        """See `Mapper.apply`; the T frames are one face's, in order. Intensity is not read.

        Weights: by how much the emotion's logit would fall, beside the others', if the AU had been
        at its average all along (leave one AU out).
        """
        evidence = Evidence(aus, probability_TA, intensity_TA)
        return leaving_out(self.emotions, self.aus, self.mean_A, self._logits, evidence)

    def unjudged(self, aus: Sequence[str], probability_TA: ArrayLike) -> dict[str, tuple[str, ...]]:
        """emotion -> AUs of the mapper that no frame of the evidence tells."""
        missing = untold(self.aus, Evidence(aus, probability_TA, None))
        return dict.fromkeys(self.emotions, missing)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "emotions": list(self.emotions),
            "aus": list(self.aus),
            "mean": self.mean_A.tolist(),
            "weights": {part: self.weights[part].tolist() for part in PARTS},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RecurrentMapper":
        return cls(
            emotion_names(content["emotions"]),
            tuple(map(parse_label, content["aus"])),
            np.asarray(content["mean"], float),
            {part: np.asarray(content["weights"][part], float) for part in PARTS},
        )

    def _logits(self, input_TA: np.ndarray) -> np.ndarray:
        """T×V×E: of the frames as they are (0), then with each AU at its average."""
        frames, count = input_TA.shape
        w = self.weights
        cells = w["recurrent"].shape[0]
        cell_VH, hidden_VH = np.zeros((count + 1, cells)), np.zeros((count + 1, cells))
        logit_TVE = np.zeros((frames, count + 1, len(self.emotions)))
        for t in range(frames):
            gates_V4H = input_TA[t] @ w["input"] + w["bias"] + hidden_VH @ w["recurrent"]
            gates_V4H[1:] -= (input_TA[t] - self.mean_A)[:, None] * w["input"]
            enter, keep, new, out = np.split(gates_V4H, 4, axis=1)
            cell_VH = _sigmoid(keep) * cell_VH + _sigmoid(enter) * np.tanh(new)
            hidden_VH = _sigmoid(out) * np.tanh(cell_VH)
            logit_TVE[t] = hidden_VH @ w["out"] + w["out_bias"]
        return logit_TVE


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))  # never overflows
