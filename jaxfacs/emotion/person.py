"""What is one person's own: their face at rest, their thresholds, their table of emotions.

Tlili 2019, §7.2, asks for the mapping to be normalised per participant: some brows lie low and some
lip corners high in every frame, and a network reads AU 4 or 12 there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.files import read_json, write_json
from jaxfacs.emotion.frames import Frames
from jaxfacs.emotion.reading import Mapper
from jaxfacs.errors import UserError
from jaxfacs.facs import parse_label
from jaxfacs.facs.emotions import canonical

RESTING = 0.2  # without frames known to be neutral: the level that a fifth of the frames is below
ALWAYS = 0.9  # an AU present at rest from here on cannot be told from the face: unknown
HIGHEST_INTENSITY = 5.0
DIGITS = 4


@dataclass(frozen=True)
class Person:
    """One person's neutral levels, and what else is read otherwise in them.

    Attributes:
      name: who it is.
      probability, intensity: label -> the AU's level at rest, 0-1 and 0-5.
      frames: how many frames it was taken from.
      source: which they were, in words.
      thresholds: label -> probability from which the AU is present in this person; those of the
        model for the AUs that are not there.
      emotions: edits of a co-occurrence table, as in `CooccurrenceMapper.edits`: emotion -> label
        -> share, None to leave the AU out.
    """

    name: str
    probability: Mapping[str, float]
    intensity: Mapping[str, float]
    frames: int
    source: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    emotions: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    kind = "person"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "source": self.source,
            "frames": self.frames,
            "neutral_probability": dict(self.probability),
            "neutral_intensity": dict(self.intensity),
            "thresholds": dict(self.thresholds),
            "emotions": {emotion: dict(cells) for emotion, cells in self.emotions.items()},
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


def minus_rest(values: np.ndarray, rest: ArrayLike, highest: ArrayLike) -> np.ndarray:
    """Values measured from a rest: (x − rest) / (highest − rest) · highest, and 0 below it.

    Rest itself becomes 0, the highest value stays, and order is kept. A rest above 0.9 of the
    highest counts as that: what is left above it would be noise made ten times as large.

    Args:
      values: 0 to highest; NaN stays.
      rest, highest: broadcast against values.
    """
    highest = np.asarray(highest, np.float64)
    rest = np.minimum(rest, ALWAYS * highest)
    return np.minimum(np.maximum(values - rest, 0) * (highest / (highest - rest)), highest)


def without_rest(frames: Frames, person: Person) -> Frames:
    """The frames with each AU measured from the person's own rest, by `minus_rest`.

    An AU whose probability at rest is 0.9 or more becomes unknown. AUs that the profile lacks stay
    as they are.
    """
    rest_A, level_A = (
        np.array([levels.get(label, 0.0) for label in frames.aus])
        for levels in (person.probability, person.intensity)
    )
    unknown_A = rest_A >= ALWAYS
    probability_NA = minus_rest(frames.probability_NA, rest_A, 1.0)
    intensity_NA = minus_rest(frames.intensity_NA, level_A, HIGHEST_INTENSITY)
    return replace(
        frames,
        probability_NA=np.where(unknown_A, np.nan, probability_NA),
        intensity_NA=np.where(unknown_A, np.nan, intensity_NA),
    )


def rows_of_face(frames: Frames, path: Path, face_id: str | None) -> np.ndarray:
    """bool N: the rows of one person; UserError where several faces leave open who is meant."""
    faces = sorted({face for face in frames.face_N.tolist() if face != "-1"})
    if face_id is not None and face_id not in faces:
        raise UserError(f"{path} has no face {face_id!r}; it has: {', '.join(faces) or 'none'}")
    if face_id is None and len(faces) > 1:
        raise UserError(f"{path} has faces {', '.join(faces)}; say with --face-id which is meant")
    return frames.face_N == face_id if face_id is not None else frames.face_N != "-1"


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
            _levels(content.get("thresholds", {}), 1.0, what="'s threshold"),
            _edits(content.get("emotions", {})),
        )
    except KeyError as error:
        raise UserError(f"{path}: profile without {error}; make it again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: a part of the wrong form: {error}") from error
    return person


M = TypeVar("M", Mapper, Mapper | None)


def edited(mapper: M, person: Person) -> M:
    """The mapper with the person's edits; UserError where it has no cells to edit."""
    if not person.emotions:
        return mapper
    if not isinstance(mapper, CooccurrenceMapper):
        raise UserError(
            f"the profile of {person.name} edits cells of a co-occurrence table, and emotions are "
            "read by something else here; use a table of emotions fit (a model: export it with "
            '--emotions TABLE.json), or take "emotions" out of the profile'
        )
    for emotion, cells in person.emotions.items():
        for au, share in cells.items():
            mapper = mapper.edited(emotion, au, share)
    return mapper


def _levels(
    cells: Mapping[str, float], highest: float, *, what: str = " at rest"
) -> dict[str, float]:
    levels = {parse_label(label): float(value) for label, value in cells.items()}
    for label, value in levels.items():
        if not 0 <= value <= highest:
            raise ValueError(f"AU {label}{what} is {value}; it lies in 0 to {highest:g}")
    return levels


def _edits(content: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    edits = {
        canonical(emotion): {
            parse_label(au): None if share is None else float(share) for au, share in cells.items()
        }
        for emotion, cells in content.items()
    }
    for emotion, cells in edits.items():
        for au, share in cells.items():
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"share of AU {au} in {emotion} is {share}; it lies in 0 to 1")
    return edits
