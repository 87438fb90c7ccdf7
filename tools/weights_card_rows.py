"""What a shipped network says of stored renders, as users get it, beside what is true of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from jaxfacs.data import schema, transforms
from jaxfacs.data.builders import synthface
from jaxfacs.data.config import Augment
from jaxfacs.data.delivery import Recording
from jaxfacs.data.projection import Projection
from jaxfacs.data.records import RecordSet
from jaxfacs.errors import UserError
from jaxfacs.faces.steps import FaceSteps
from jaxfacs.infer import calibration
from jaxfacs.infer.answer import answer
from jaxfacs.infer.answers import CONFIDENCE_DECIMALS
from jaxfacs.infer.predictor import Predictor
from jaxfacs.synthface import clip as renderer
from jaxfacs.synthface.variation import Variation

BATCH = 64  # clips
AGAIN = 3  # records that are rendered again, to see whether they are this version's


@dataclass(frozen=True, eq=False)
class Rows:
    """N answered frames; A labels, E emotions.

    Attributes:
      aus: A labels, in the network's order.
      occurrence_NA, intensity_NA: the truth, -1 unknown.
      probability_NA, present_NA, graded_NA: calibrated and rounded as the tables print them.
      threshold_A: of `probability_NA`.
      confidence_N: the network's own; None: it answers none.
      person_N: who is seen.
      clip_N: which record of the split.
      known: name -> N, NaN where unknown: `builders.synthface.ATTRIBUTES`, and `hidden`, the share
        of landmarks that the picture does not show.
      emotion_N, emotion_NE: the truth (-1 unknown) and what is answered, on the network's list.
      jpeg_N: the pictures.
    """

    aus: tuple[str, ...]
    occurrence_NA: np.ndarray
    intensity_NA: np.ndarray
    probability_NA: np.ndarray
    present_NA: np.ndarray
    graded_NA: np.ndarray
    threshold_A: np.ndarray
    confidence_N: np.ndarray | None
    person_N: np.ndarray
    clip_N: np.ndarray
    known: Mapping[str, np.ndarray]
    emotion_N: np.ndarray
    emotion_NE: np.ndarray | None
    jpeg_N: Sequence[bytes]


def read(
    predictor: Predictor, records: RecordSet, split: str, known: dict[str, np.ndarray]
) -> Rows:
    """Asks the network about every record of a split: its first frames, as many as it reads.

    Args:
      predictor: of the bundle.
      records: rendered ones.
      split: of them.
      known: name -> a number a record, in the split's order, as `facts` gives them.
    """
    spec, aus = predictor.bundle.input, predictor.aus
    project = Projection.between(records.aus, aus)
    lacking = [au for au in aus if not {au, au.lstrip("LR")} & set(records.aus)]
    if lacking:
        raise UserError(f"{records.path} does not label AU {', '.join(lacking)}; build it again")
    share = float(predictor.bundle.crop.get("share", 1.0))
    still, rng = transforms.unchanged(Augment(crop=share)), np.random.default_rng(0)
    columns: dict[str, list[Any]] = {
        k: [] for k in ("y", "i", "person", "clip", "hidden", "e", "jpeg")
    }
    outputs: list[dict[str, np.ndarray]] = []
    waiting: list[np.ndarray] = []

    def ask() -> None:
        if waiting:
            outputs.append(predictor.run(np.stack(waiting)))
            waiting.clear()

    at_K = np.array(spec.answers)
    source = records.source(split)
    for record in range(len(source)):
        clip = records.clip_of(source[record])
        place_T = np.minimum(np.arange(spec.frames) * spec.stride, len(clip.frames) - 1)
        frames = [decoded(clip.frames[t]) for t in place_T]
        waiting.append(transforms.apply(frames, still, size=spec.size, rng=rng))
        own_K = place_T[at_K]
        columns["y"].append(project.occurrence(clip.occurrence_TA[own_K]))
        columns["i"].append(project.intensity(clip.intensity_TA[own_K]))
        columns["person"] += [clip.subject] * len(own_K)
        columns["clip"] += [record] * len(own_K)
        columns["hidden"].append(_hidden(clip, own_K))
        columns["e"] += [_emotion(clip, records, predictor.bundle.emotions)] * len(own_K)
        columns["jpeg"] += [clip.frames[t] for t in own_K]
        if len(waiting) == BATCH:
            ask()
    ask()
    said = {name: np.concatenate([o[name] for o in outputs]) for name in outputs[0]}
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in said.items()}
    clip_N, reading = np.array(columns["clip"]), predictor.reading
    calibrated_NA = calibration.apply(flat["probability"], reading.curves)
    probability_NA, present_NA, graded_NA = answer(
        calibrated_NA, reading.threshold_A, flat.get("intensity")
    )
    emotion_NE = flat.get("emotion") if predictor.bundle.emotions else None
    if emotion_NE is not None and len(emotion_NE) < len(clip_N):
        emotion_NE = emotion_NE[clip_N]  # one a clip
    confidence_N = None
    if "confidence" in flat:
        confidence_N = np.round(flat["confidence"][:, 0].astype(np.float64), CONFIDENCE_DECIMALS)
    return Rows(
        aus=aus,
        occurrence_NA=np.concatenate(columns["y"]),
        intensity_NA=np.concatenate(columns["i"]),
        probability_NA=probability_NA,
        present_NA=present_NA,
        graded_NA=graded_NA,
        threshold_A=np.asarray(reading.threshold_A),
        confidence_N=confidence_N,
        person_N=np.array(columns["person"]),
        clip_N=clip_N,
        known={k: v[clip_N] for k, v in known.items()}
        | {"hidden": np.concatenate(columns["hidden"])},
        emotion_N=np.array(columns["e"]),
        emotion_NE=emotion_NE,
        jpeg_N=columns["jpeg"],
    )


def facts(records: RecordSet, split: str, head: str | None) -> tuple[dict[str, np.ndarray], str]:
    """What is known of each record of a split, and in a word where that is from.

    Records say it themselves, where they were made by this version or a later one ("records").
    Else it is drawn again as the renderer would ("drawn"), if those few that are rendered again
    are the same as the stored ones; if not, nothing is known ("another version").
    """
    source = records.source(split)
    if set(synthface.ATTRIBUTES) <= set(records.attributes):
        values_NK = np.stack(
            [
                np.median(records.clip_of(source[i]).attributes_TK, axis=0)  # type: ignore[arg-type]
                for i in range(len(source))
            ]
        )
        columns = dict(zip(records.attributes, values_NK.T, strict=True))
        return {name: columns[name] for name in synthface.ATTRIBUTES}, "records"
    if not same_again(records, split, head):
        return {}, "another version"
    made = _Maker.of(records, head)
    drawn = [made.facts(records.clip_of(source[i]).clip_id) for i in range(len(source))]
    return dict(zip(synthface.ATTRIBUTES, np.array(drawn).T, strict=True)), "drawn"


def same_again(records: RecordSet, split: str, head: str | None) -> bool:
    """Whether a few records are byte for byte what this version renders."""
    made, source = _Maker.of(records, head), records.source(split)
    stored = [records.clip_of(source[i]) for i in range(min(AGAIN, len(source)))]
    return all(made.frames(clip.clip_id) == list(clip.frames) for clip in stored)


@dataclass(frozen=True)
class _Maker:
    """Draws the clips of a record set again."""

    settings: Mapping[str, Any]
    job: synthface.RenderJob

    @classmethod
    def of(cls, records: RecordSet, head: str | None) -> "_Maker":
        told = records.card["settings"]
        if told["head"] != "builtin" and head is None:
            raise UserError(f"{records.path} shows the head '{told['head']}'; give it with --head")
        crop = records.crop
        job = synthface.RenderJob(
            seed=told["seed"],
            fps=told["fps"],
            head=None if told["head"] == "builtin" else head,
            near_frontal=told["near_frontal"],
            variation=Variation.without(*told["without"]),
            steps=FaceSteps.boxed(crop["detector"], margin=crop["margin"], size=crop["size"]),
            jitter=told["jitter"],
            quality=told["quality"],
        )
        return cls(told, job)

    def frames(self, clip_id: str) -> list[bytes]:
        number = self._number(clip_id)
        sitting = synthface.Sitting(range(number, number + 1), self._person(number), self._frames)
        return list(self.job(Recording(clip_id, "", sitting)).clips[0].frames)

    def facts(self, clip_id: str) -> tuple[float, ...]:
        number = self._number(clip_id)
        found = renderer.facts(
            synthface._mixed(self.job.seed, 0, number),
            frames=self._frames,
            fps=self.job.fps,
            subject=synthface._mixed(self.job.seed, 1, self._person(number)),
            near_frontal=self.job.near_frontal,
            variation=self.job.variation,
        )
        who = found.person
        return (who.years, who.male, who.melanin, *found.pose_3, found.face_pixels)

    @property
    def _frames(self) -> int:
        return int(self.settings["frames"])

    @staticmethod
    def _number(clip_id: str) -> int:
        return int(clip_id.rsplit("-", 1)[1])

    def _person(self, number: int) -> int:
        """As the builder deals clips out: person k begins with clip ceil(clips * k / people)."""
        return int(number) * int(self.settings["subjects"]) // int(self.settings["clips"])


def counts(records: RecordSet, aus: Sequence[str]) -> dict[str, Any]:
    """What the training split shows.

    Returns `frames`, `people`, `aus` (label -> present, absent, unknown, and frames of each letter
    A to E that are not labelled absent; traces mostly are unknown) and `of_people` (name -> a
    number a person, where the records know it).
    """
    project = Projection.between(records.aus, aus)
    source = records.source("train")
    occurrence, intensity, who = [], [], {}
    for record in range(len(source)):
        clip = records.clip_of(source[record])
        occurrence.append(project.occurrence(clip.occurrence_TA))
        intensity.append(project.intensity(clip.intensity_TA))
        if clip.attributes_TK is not None and clip.subject not in who:
            who[clip.subject] = clip.attributes_TK[0]
    y_FA, i_FA = np.concatenate(occurrence), np.concatenate(intensity)
    letters = {
        letter: ((np.round(i_FA) == level) & (y_FA != 0)).sum(0)
        for level, letter in enumerate("ABCDE", 1)
    }
    table = {
        au: {
            "present": int((y_FA[:, a] == 1).sum()),
            "absent": int((y_FA[:, a] == 0).sum()),
            "unknown": int((y_FA[:, a] < 0).sum()),
            **{letter: int(count[a]) for letter, count in letters.items()},
        }
        for a, au in enumerate(aus)
    }
    of_people = {}
    if who:
        values_PK = np.stack(list(who.values()))
        of_people = dict(zip(records.attributes, values_PK.T, strict=True))
    return {
        "frames": len(y_FA),
        "people": len(records.subjects["train"]),
        "aus": table,
        "of_people": of_people,
    }


def decoded(jpeg: bytes) -> np.ndarray:
    """uint8 RGB of a stored picture."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UserError("a picture of the records does not decode; run jaxfacs data verify on them")
    return image


def _hidden(clip: schema.Clip, own_K: np.ndarray) -> np.ndarray:
    if clip.visible_T68 is None:
        return np.full(len(own_K), np.nan)
    visible_K68 = clip.visible_T68[own_K]
    return np.where((visible_K68 >= 0).all(1), (visible_K68 == 0).mean(1), np.nan)


def _emotion(clip: schema.Clip, records: RecordSet, emotions: Sequence[str]) -> int:
    name = records.emotions[clip.emotion] if clip.emotion >= 0 else ""
    return emotions.index(name) if name in emotions else -1
