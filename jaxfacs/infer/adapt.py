"""Adaptation without labels: what a network keeps of the faces it learned from, taken from films.

Three things, each by itself: the statistics that its layers normalise by (Schneider et al. 2020,
"Improving robustness against common corruptions by covariate shift adaptation": old and new ones
mixed by a share), the thresholds (so that each AU is called as often as it is known to occur), and
a person's rest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxfacs.emotion.person import DIGITS, RESTING, Person
from jaxfacs.errors import UserError
from jaxfacs.infer.bundle import Bundle
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.results import FaceResult
from jaxfacs.infer.sources.source import Source

LEAST = 8  # faces, or clips of them, below which nothing is learned from a film
MOST_FRAMES = 4096  # face crops that are kept of all films together: 150 MB at 112 pixels
_STILLS, _CLIPS = 32, 8  # of a batch whose statistics are taken: many faces, or some that move


@dataclass(eq=False)
class Gathered:
    """Clips of a film, spread evenly over it however long it is.

    Attributes:
      most: clips that are kept; beyond, every second one is let go, and half as many are taken.
      clips: uint8 T×H×W×3 each.
    """

    most: int
    clips: list[np.ndarray] = field(default_factory=list)
    _seen: int = 0
    _every: int = 1

    def add(self, clips_BTHWC: np.ndarray) -> None:
        """Takes the next ones, in the order of the film."""
        for clip in clips_BTHWC:
            if self._seen % self._every == 0:
                self.clips.append(clip.copy())
                if len(self.clips) > self.most:
                    self.clips, self._every = self.clips[::2], 2 * self._every
            self._seen += 1


@dataclass(eq=False)
class Answered:
    """What was read of a film: the answers of each face, in order."""

    frames: int = 0
    faces: list[FaceResult] = field(default_factory=list)

    def longest(self) -> list[FaceResult]:
        """Those of the face that is there in most frames."""
        counts = Counter(face.face_id for face in self.faces)
        if not counts:
            return []
        chosen = counts.most_common(1)[0][0]
        return [face for face in self.faces if face.face_id == chosen]


def read(predictor: Predictor, source: Source) -> Answered:
    """Reads a film as `jaxfacs predict` does."""
    answered = Answered()
    for result in predictor.read(source):
        answered.frames += 1
        answered.faces.extend(result.faces)
    return answered


def clips_of(predictor: Predictor, source: Source, most: int) -> Gathered:
    """The clips that the network would be asked about, at most so many."""
    gathered = Gathered(most)

    def submit(clips_BTHWC: np.ndarray) -> Any:
        gathered.add(clips_BTHWC)
        outputs = predictor.run(clips_BTHWC)
        return lambda: outputs

    stream = predictor.stream(fps=source.fps, still=source.still, submit=submit)
    for number, timestamp, frame_HWC in source.frames():
        for _ in stream.push(frame_HWC, timestamp, number):
            pass
    for _ in stream.finish():
        pass
    return gathered


def statistics(run: Any, bundle: Bundle, clips: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The statistics of all clips together, float64, by the weights' names.

    Batches are drawn from the whole of the films, a clip here and a clip there: in a batch of
    neighbours nothing varies. Their variances are put together with what their means differ by.

    Args:
      run: of `compiled.statistics`.
      bundle: whose weights are used.
      clips: uint8 T×H×W×3, in the order of the films.

    Raises:
      UserError: too few clips.
    """
    if len(clips) < LEAST:
        raise UserError(
            f"only {len(clips)} clips of faces are in these films, and statistics need {LEAST}; "
            "give longer films, or more"
        )
    size = min(len(clips), _STILLS if bundle.input.frames == 1 else _CLIPS)
    count = len(clips) // size
    chosen = np.linspace(0, len(clips) - 1, count * size).round().astype(int)
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    for b in range(count):
        batch = np.stack([clips[i] for i in chosen[b::count]])
        for name, value in run(bundle.weights, batch).items():
            value = np.asarray(value, np.float64)
            sums[name] = sums.get(name, 0.0) + value
            squares[name] = squares.get(name, 0.0) + value**2
    found = {name: total / count for name, total in sums.items()}
    between = {name: squares[name] / count - mean**2 for name, mean in found.items()}
    for name in found:
        if name.endswith("/var") and (means := name.removesuffix("var") + "mean") in found:
            found[name] = found[name] + np.maximum(between[means], 0.0)
    if bad := [name for name, value in found.items() if not np.isfinite(value).all()]:
        raise UserError(f"the statistics {bad[0]} of these films are not finite; give other films")
    return found


def mixed(
    weights: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], keep: float
) -> dict[str, np.ndarray]:
    """Weights with `keep` of their old statistics and the rest of the found ones.

    Everything else is the same, and with `keep` 1 all is, bit for bit.
    """
    made = dict(weights)
    if keep < 1:
        for name, value in found.items():
            old = weights[name]
            new = keep * old.astype(np.float64) + (1 - keep) * value
            made[name] = new.astype(old.dtype)
    return made


def moved(
    weights: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> dict[str, list[float]]:
    """By layer: how far the means of the films lie from the old ones, in old deviations (root mean
    square over the channels), and the median ratio of the deviations."""
    told = {}
    for name, value in found.items():
        variance = name.removesuffix("mean") + "var"
        if not name.endswith("/mean") or variance not in found:
            continue
        old = np.sqrt(np.maximum(weights[variance].astype(np.float64), 1e-12))
        shift = float(np.sqrt(np.mean(((value - weights[name]) / old) ** 2)))
        ratio = float(np.median(np.sqrt(np.maximum(found[variance], 0)) / old))
        told[name.removesuffix("/mean")] = [round(shift, 4), round(ratio, 4)]
    return told


def matched(probability_N: np.ndarray, rate: float) -> float:
    """The threshold by which that share of these probabilities is called present, as nearly as can
    be; in the middle between two of them, with four decimals, as bundles keep it.

    Args:
      probability_N: as tables print them.
      rate: 0 to 1.
    """
    falling = np.sort(np.asarray(probability_N, np.float64))[::-1]
    edges = np.concatenate([[1.0], falling, [0.0]])
    middles = np.unique(np.clip(np.round((edges[:-1] + edges[1:]) / 2, 4), 0.0001, 0.9999))
    called = 1 - np.searchsorted(falling[::-1], middles, side="left") / len(falling)
    off = np.abs(called - rate)
    # Of equally good ones the highest: nothing is called on the strength of a tie.
    return float(middles[np.flatnonzero(off <= off.min() + 1e-12)[-1]])


def rest_of(faces: Sequence[FaceResult], aus: Sequence[str], *, name: str, source: str) -> Person:
    """The level that each AU of these frames stays below in a fifth of them, as a profile.

    As `jaxfacs emotions neutral` does where nobody says which frames are neutral.
    """
    if len(faces) < LEAST:
        raise UserError(f"{source}: {len(faces)} frames with a face; a rest needs {LEAST}")

    def levels(values_NA: np.ndarray) -> dict[str, float]:
        level_A = np.percentile(values_NA, 100 * RESTING, axis=0)
        return {au: round(float(v), DIGITS) for au, v in zip(aus, level_A, strict=True)}

    return Person(
        name,
        levels(np.stack([f.probability_A for f in faces])),
        levels(np.stack([f.intensity_A for f in faces])),
        len(faces),
        source,
    )


def rates(text: str, bundle: Bundle) -> dict[str, float]:
    """AU -> how often it is known to occur.

    Args:
      text: "card" (as often as in what the bundle was measured on), or as in "12=0.3,4=0.1".
      bundle: of the AUs.

    Raises:
      UserError: rates that are none, AUs that are not answered, or a card without rates.
    """
    if text == "card":
        found = dict(_rates_of_card(bundle.card))
        found = {au: rate for au, rate in found.items() if au in bundle.aus}
        if not found:
            raise UserError(
                f"the card of {bundle.path} does not say how often AUs occur; evaluate and export "
                "the model again, or give --thresholds as in 12=0.3,4=0.1"
            )
        return found
    found = {}
    for part in text.split(","):
        au, _, value = part.strip().partition("=")
        try:
            found[au] = float(value)
        except ValueError as error:
            raise UserError(
                f"--thresholds {text}: '{part}' is no AU=RATE; give card, or as in 12=0.3,4=0.1"
            ) from error
        if not 0 <= found[au] <= 1:
            raise UserError(f"--thresholds {text}: {value} is no rate; give 0 to 1")
        if au not in bundle.aus:
            raise UserError(
                f"--thresholds {text}: {bundle.path} answers no AU {au}; it answers "
                f"{', '.join(bundle.aus)}"
            )
    return found


def _rates_of_card(card: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    measured = card.get("measured", {})
    for split in ("test", "validation", *sorted(measured)):
        rows = measured.get(split)
        if isinstance(rows, Mapping) and rows.get("per_au"):
            for row in rows["per_au"]:
                rate = row.get("occurrence")
                if isinstance(rate, int | float) and 0 <= rate <= 1:
                    yield str(row["au"]), float(rate)
            return
