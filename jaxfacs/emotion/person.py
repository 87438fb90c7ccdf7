"""What a person's face shows at rest, and evidence with that taken out.

Tlili 2019, §7.2, asks for the mapping to be normalised per participant: some brows lie low and some
lip corners high in every frame, and a network reads AU 4 or 12 there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.emotion.files import read_json, write_json
from jaxfacs.emotion.frames import Frames
from jaxfacs.errors import UserError
from jaxfacs.facs import parse_label

RESTING = 0.2  # without frames known to be neutral: the level that a fifth of the frames is below
ALWAYS = 0.9  # an AU present at rest from here on cannot be told from the face: unknown
HIGHEST_INTENSITY = 5.0
DIGITS = 4


@dataclass(frozen=True)
class Person:
    """One person's neutral levels.

    Attributes:
      name: who it is.
      probability, intensity: label -> the AU's level at rest, 0-1 and 0-5.
      frames: how many frames it was taken from.
      source: which they were, in words.
    """

    name: str
    probability: Mapping[str, float]
    intensity: Mapping[str, float]
    frames: int
    source: str

    kind = "person"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "source": self.source,
            "frames": self.frames,
            "neutral_probability": dict(self.probability),
            "neutral_intensity": dict(self.intensity),
        }


def fit(frames: Frames, *, name: str, neutral: np.ndarray | None, source: str) -> Person:
    """A person's levels at rest.

    Args:
      frames: of this person.
      name, source: noted in the profile.
      neutral: mask of frames in which the face is known to be at rest: the median over them.
        None: nobody knows, and the 20th percentile over all frames is taken, which is too high for
        one who moves an AU in more than four fifths of them.

    Raises:
      UserError: no frame with evidence.
    """
    chosen = frames if neutral is None else frames.take(neutral)
    share = 50.0 if neutral is not None else 100 * RESTING
    if not len(chosen) or np.isnan(chosen.probability_NA).all():
        raise UserError(f"{source}: no frame with a face to learn this person's rest from")

    def levels(values_NA: np.ndarray) -> dict[str, float]:
        known = [a for a in range(len(frames.aus)) if not np.isnan(values_NA[:, a]).all()]
        return {
            frames.aus[a]: round(float(np.nanpercentile(values_NA[:, a], share)), DIGITS)
            for a in known
        }

    told = int((~np.isnan(chosen.probability_NA).all(axis=1)).sum())
    return Person(name, levels(chosen.probability_NA), levels(chosen.intensity_NA), told, source)


def without_rest(frames: Frames, person: Person) -> Frames:
    """The frames with each AU measured from the person's own rest: (x − rest) / (highest − rest).

    Rest itself becomes 0, the highest value stays. An AU whose probability at rest is 0.9 or more
    becomes unknown. AUs that the profile lacks stay as they are.
    """
    probability_NA, intensity_NA = frames.probability_NA.copy(), frames.intensity_NA.copy()
    for a, label in enumerate(frames.aus):
        rest = person.probability.get(label, 0.0)
        probability_NA[:, a] = np.maximum(probability_NA[:, a] - rest, 0) / max(1 - rest, 1e-9)
        level = min(person.intensity.get(label, 0.0), HIGHEST_INTENSITY - 1e-6)
        scale = HIGHEST_INTENSITY / (HIGHEST_INTENSITY - level)
        intensity_NA[:, a] = np.maximum(intensity_NA[:, a] - level, 0) * scale
        if rest >= ALWAYS:
            probability_NA[:, a] = intensity_NA[:, a] = np.nan
    return replace(frames, probability_NA=probability_NA, intensity_NA=intensity_NA)


def save(person: Person, path: Path) -> None:
    """Writes the profile as JSON, whole or not at all."""
    write_json(path, person.to_json())


def load(path: Path) -> Person:
    """A profile that `save` wrote; UserError for anything else."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("kind") != Person.kind:
        raise UserError(f"{path} is no person's profile; make one with jaxfacs emotions neutral")
    try:
        person = Person(
            str(content["name"]),
            _levels(content["neutral_probability"], 1.0),
            _levels(content["neutral_intensity"], HIGHEST_INTENSITY),
            int(content["frames"]),
            str(content["source"]),
        )
    except KeyError as error:
        raise UserError(f"{path}: profile without {error}; make it again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: a part of the wrong form: {error}") from error
    return person


def _levels(cells: Mapping[str, float], highest: float) -> dict[str, float]:
    levels = {parse_label(label): float(value) for label, value in cells.items()}
    for label, value in levels.items():
        if not 0 <= value <= highest:
            raise ValueError(f"AU {label} at rest is {value}; it lies in 0 to {highest:g}")
    return levels
