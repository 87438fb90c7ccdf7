"""The model and its results as JSON values, and what a film comes to."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxfacs import facs
from jaxfacs.emotion import Explanation
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.infer.views.overlay import regions

_TOP = 5  # AUs of a summary that come first, in order
Explain = Callable[[FaceResult], Explanation | None]


def describe(predictor: Predictor) -> dict[str, Any]:
    """What the network tells apart, and where each AU shows on a face."""
    about = predictor.bundle.manifest.get("about", {})
    card = predictor.bundle.manifest.get("card") or about
    return {
        "name": predictor.bundle.path.stem,
        "aus": [_au(label) for label in predictor.aus],
        "emotions": list(predictor.emotions),
        "thresholds": {
            au: float(t) for au, t in zip(predictor.aus, predictor.bundle.thresholds_A, strict=True)
        },
        "valence_arousal": predictor.valence_arousal,
        "card": card,
    }


def face(result: FaceResult, explain: Explain) -> dict[str, Any]:
    """One face; see FACE in the OpenAPI document."""
    affect_2 = result.valence_arousal_2
    return {
        "id": result.face_id,
        "confidence": round(float(result.confidence), 3),
        "unsure": result.unsure,
        "box": [round(float(v), 1) for v in result.box_4],
        "p": result.probability_A.tolist(),
        "r": result.intensity_A.tolist(),
        "c": result.present_A.astype(int).tolist(),
        "emotions": result.emotion_E.tolist(),
        "valence_arousal": None if affect_2 is None else affect_2.tolist(),
        "why": _why(explain(result)),
    }


def frame(result: FrameResult, explain: Explain) -> dict[str, Any]:
    return {
        "frame": result.frame,
        "timestamp": round(result.timestamp, 4),
        "readable": result.readable,
        "faces": [face(f, explain) for f in result.faces],
    }


class Summary:
    """What a film comes to: how often and how strongly, added up face by face."""

    def __init__(self, aus: tuple[str, ...], emotions: tuple[str, ...]):
        self._aus, self._emotions = aus, emotions
        self._faces = 0
        self._present_A = np.zeros(len(aus))
        self._intensity_A = np.zeros(len(aus))
        self._peak_A = np.full(len(aus), -1.0)
        self._peak_time_A = np.zeros(len(aus))
        self._emotion_E = np.zeros(len(emotions))
        self._top_E = np.zeros(len(emotions))

    def add(self, result: FrameResult) -> None:
        for seen in result.faces:
            self._faces += 1
            self._present_A += seen.present_A
            self._intensity_A += np.where(seen.present_A, seen.intensity_A, 0)
            higher_A = seen.intensity_A > self._peak_A
            self._peak_A = np.where(higher_A, seen.intensity_A, self._peak_A)
            self._peak_time_A = np.where(higher_A, result.timestamp, self._peak_time_A)
            if self._emotions:
                self._emotion_E += np.nan_to_num(seen.emotion_E)
                self._top_E[int(np.argmax(np.nan_to_num(seen.emotion_E)))] += 1

    def to_json(self) -> dict[str, Any]:
        """`share_present` of the faces seen, `mean_intensity` where present, `peak_time` seconds.

        AUs and emotions that are seen most come first.
        """
        faces = max(1, self._faces)
        mean_A = self._intensity_A / np.maximum(1, self._present_A)
        aus = [
            {
                "label": label,
                "name": name_of(label),
                "share_present": round(float(self._present_A[a] / faces), 4),
                "mean_intensity": round(float(mean_A[a]), 2),
                "peak_time": round(float(self._peak_time_A[a]), 3),
            }
            for a, label in enumerate(self._aus)
        ]
        emotions = [
            {
                "name": name,
                "mean": round(float(self._emotion_E[e] / faces), 4),
                "share_top": round(float(self._top_E[e] / faces), 4),
            }
            for e, name in enumerate(self._emotions)
        ]
        aus.sort(key=lambda row: (-row["share_present"] * row["mean_intensity"], row["label"]))
        emotions.sort(key=lambda row: (-row["mean"], row["name"]))
        return {"aus": aus, "emotions": emotions, "faces": self._faces, "top": _TOP}


def name_of(label: str) -> str:
    """ "Lip corner puller", "Dimpler, left"."""
    side, number = facs.split_label(label)
    unit = facs.ACTION_UNITS.get(number)
    name = unit.name if unit else f"AU {number}"
    return name + {"L": ", left", "R": ", right"}.get(side, "")


def _au(label: str) -> dict[str, Any]:
    unit = facs.ACTION_UNITS.get(facs.split_label(label)[1])
    return {
        "label": label,
        "name": name_of(label),
        "region": unit.region if unit else "",
        "ellipses": [[round(float(v), 4) for v in ellipse] for ellipse in regions(label)],
    }


def _why(explanation: Explanation | None) -> Mapping[str, Any] | None:
    if explanation is None:
        return None
    return {
        "emotion": explanation.emotion,
        "probability": round(explanation.probability, 3),
        "for": [[str(r), round(r.weight, 3)] for r in explanation.speaks_for],
        "against": [[str(r), round(r.weight, 3)] for r in explanation.speaks_against],
        "unjudged": list(explanation.unjudged),
    }
