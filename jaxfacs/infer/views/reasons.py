"""The AUs that spoke for and against an emotion, for every bin of a course."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxfacs.infer.views.course import Course, Face

_MOST_TEXTS = 20_000  # different ones that a page keeps; beyond, weights are left out
_MOST_NAMED = 5  # AUs a side
_BLOCK, _MOST_REMEMBERED = 1000, 6000  # bins: 6000 × 20 emotions × 60 AUs are 30 MB
_MOST_NUMBERS = 2**16
OWN = "The model names emotions itself; it does not say why."
UNKNOWN = "Why is not told: the table comes without its emotion mapper (NAME.json)."


@dataclass(frozen=True)
class Reasons:
    """`of_face`: for each face of the course {"texts": […], "at": base64 of uint16 for each bin}
    or None; `note`: what to say where there are none."""

    of_face: list[dict[str, Any] | None]
    note: str


def find(course: Course, mapper_json: Mapping[str, Any] | None, *, own: bool = False) -> Reasons:
    """Asks the mapper again, bin by bin.

    Args:
      course: with emotions.
      mapper_json: as `jaxfacs.emotion.from_json` takes it; None: there is none.
      own: the network names emotions itself.
    """
    none: list[dict[str, Any] | None] = [None] * len(course.faces)
    if not course.values.emotions:
        return Reasons(none, "")
    if own or mapper_json is None:
        return Reasons(none, OWN if own else UNKNOWN)
    from jaxfacs import emotion
    from jaxfacs.errors import UserError

    try:
        mapper = emotion.from_json(mapper_json)
    except UserError:
        return Reasons(none, UNKNOWN)
    if tuple(mapper.emotions) != course.values.emotions:
        return Reasons(none, UNKNOWN)
    remembers = isinstance(mapper, emotion.RecurrentMapper)
    if remembers and not (course.every_frame and course.frames <= _MOST_REMEMBERED):
        return Reasons(none, "Why is not told: the mapper remembers, and the film is long.")
    block = _MOST_REMEMBERED if remembers else _BLOCK
    return Reasons([_of_face(course, face, mapper, block) for face in course.faces], "")


def _of_face(course: Course, face: Face, mapper: Any, block: int) -> dict[str, Any]:
    """Each different reason once, and its number for each bin; 0 is no face."""
    values = course.values
    texts: dict[str, int] = {json.dumps(["", [], [], []]): 0}
    at_B = np.zeros(len(face.rows_B), "<u2")
    score_BE = face.mean_BK[:, values.emotion]
    there = np.flatnonzero((face.rows_B > 0) & ~np.isnan(score_BE).any(axis=1))
    for first in range(0, len(there), block):
        bins = there[first : first + block]
        p_TA, r_TA = face.mean_BK[bins, values.p], face.mean_BK[bins, values.r]
        reading = mapper.apply(
            values.aus, p_TA, intensity_TA=None if np.isnan(r_TA).all() else r_TA
        )
        for n, b in enumerate(bins.tolist()):
            likeliest = values.emotions[int(score_BE[b].argmax())]
            why = reading.explain(n, likeliest, most=_MOST_NAMED)
            text = json.dumps(_told(why, weighed=len(texts) < _MOST_TEXTS))
            if text in texts or len(texts) < _MOST_NUMBERS:
                at_B[b] = texts.setdefault(text, len(texts))
    return {
        "texts": [json.loads(text) for text in texts],
        "at": base64.b64encode(at_B.tobytes()).decode(),
    }


def _told(why: Any, *, weighed: bool) -> list[Any]:
    def said(reasons: Any) -> list[str]:
        return [f"{r} ({r.weight:+.1f})" if weighed else str(r) for r in reasons]

    return [why.emotion, said(why.speaks_for), said(why.speaks_against), list(why.unjudged)]
