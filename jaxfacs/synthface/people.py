"""Who is seen: face shape, age and sex, the resting face, and how somebody's actions look.

A person is a pure function of the subject's number, the head and what may vary. People's faces at
rest differ as much as slight actions move them: low or high brows, hooded lids, corners of the
mouth that droop, thin lips, deep folds. None of that is an action: labels count from the person's
own rest. The draws are heavy-tailed (Student's t, 3 degrees of freedom) and end where a FACS coder
would no longer forgive them, at about a trace to B.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxfacs.synthface import heads, look
from jaxfacs.synthface.heads import PAIRED, RESTING, STYLED, Head
from jaxfacs.synthface.variation import EVERYTHING, Variation

# Streams of chance, so that one more draw in one of them leaves the others alone.
SHAPE, LOOK, MOTION, SCENE, SUBJECT, REST, STYLE = range(7)

_MODE_LIMIT = 3.0
_PLAIN_MODE_LIMIT, _PLAIN_MODES = 2.5, 0.8  # of people who differ little

# What a face carries all the time: (scale, least, most) in intensity of that shape. The "~" and
# "rest" shapes are those of heads.EXTRAS. Shapes that would part the lips go one way only.
_REST: dict[str, tuple[float, float, float]] = {
    "1": (0.5, -1.2, 0.8),
    "2": (0.5, -1.2, 0.8),
    "4": (0.4, -0.6, 0.9),
    "5": (0.4, -1.2, 0.8),
    "6": (0.25, -0.3, 0.6),
    "7": (0.3, -0.5, 0.6),
    "11": (0.4, -0.8, 0.9),
    "12": (0.35, -0.5, 0.8),
    "14": (0.3, 0.0, 0.9),
    "15": (0.35, -0.6, 0.75),
    "43": (0.22, 0.0, 0.6),
    "17": (0.25, 0.0, 0.7),
    "23": (0.3, 0.0, 0.8),
    "24": (0.3, 0.0, 0.8),
    "rest_brow": (1.2, -3.0, 3.0),
    "rest_hood": (1.2, -1.5, 4.0),
    "rest_fold": (1.3, -3.0, 4.5),
    "rest_nostril": (1.3, -3.0, 4.0),
    "lips": (1.6, -2.4, 4.5),
    "jaw_forward": (0.6, -1.5, 1.5),
    "jaw_left": (0.4, -1.2, 1.2),
    "mouth_left": (0.3, -0.9, 0.9),
}
_ONE_WAY = ("14", "17", "23", "24", "43")
_SIDES_DIFFER = 0.25  # of the scale: σ of a side about what both sides share

# How strongly somebody's face makes an action that a coder would call E: factors about 1, the
# smallest and the largest. Lids close fully on everybody, and lips meet as the shapes are made.
_GAIN_SIGMA, _GAIN_LIMITS = 0.12, (0.84, 1.3)
_NO_GAIN = ("43", "17", "18", "22", "23", "24", "28", "45")
_GAIN_MOST = {
    "1": 1.2,
    "2": 1.2,
    "4": 1.15,
    "5": 1.15,
    "6": 1.15,
    "7": 1.1,
    "9": 1.2,
    "10": 1.2,
    "12": 1.2,
    "15": 1.2,
    "26": 1.05,
    "27": 1.12,
}

# FACS's B is slight but seen, C is marked. The shapes of these actions move less than a pixel of a
# face of 80 at two fifths of their way, so they go most of it early; below half a trace as ever.
_EARLY = frozenset(("7", "14", "16", "17", "18", "23", "24", "28", "34"))
_EARLY_CURVE = ((0.0, 0.5, 1.5, 3.0, 5.0), (0.0, 0.5, 2.3, 3.9, 5.0))

_AGES = ((3, 12, 0.12), (13, 19, 0.10), (20, 45, 0.43), (45, 65, 0.22), (65, 88, 0.13))
_AGES_PLAIN = 30.0


@dataclass(frozen=True, eq=False)
class Person:
    """What stays the same of somebody.

    Attributes:
      name: head model and number.
      neutral_V3: the resting face, float32, cm.
      look: colours, hair and what is worn.
      years: age.
      male: -1 (a woman's face shape) .. 1 (a man's): the direction in shape alone.
      gain: AU -> factor by which the face moves more or less at the same intensity.
      style: AU with a "~" shape -> how much of it goes with the action, -1..1.
    """

    name: str
    neutral_V3: np.ndarray
    look: look.Look
    years: float
    male: float
    gain: dict[str, float]
    style: dict[str, float]

    @property
    def facts(self) -> "Facts":
        worn, look = self.look.glasses is not None, self.look
        return Facts(self.years, self.male, look.melanin, look.hair, look.beard, worn)


@dataclass(frozen=True)
class Facts:
    """Of a person: years; male (-1..1, the face shape's direction); the look's melanin
    (0.2..5.5), hair and beard by name, and whether glasses are worn.
    """

    years: float
    male: float
    melanin: float
    hair: str
    beard: str
    glasses: bool


def stream(number: int, kind: int) -> np.random.Generator:
    """The chance of one kind for one subject or seed."""
    return np.random.default_rng(np.random.SeedSequence((number, kind)))


def sample_person(subject: int, *, head: Head, variation: Variation = EVERYTHING) -> Person:
    """The person of that number (0 or more): a pure function of the arguments."""
    years, male, weights_M = _shape(subject, len(head.identity_M_V3), variation)
    rng = stream(subject, REST)
    labels, offsets = _rest(rng, _aged(years), wanted=variation.people)
    identity = heads.identity(head, weights_M)
    for name, amount in (("child", _young(years)), ("old", _aged(years)), ("male", male)):
        if amount and name in head.traits:
            identity = identity + np.float32(amount) * head.traits[name]
    neutral = heads.deform_clip(
        head, identity, labels, np.array([offsets], np.float32), np.zeros((1, 2), np.float32)
    )
    gain, style = _style(stream(subject, STYLE), wanted=variation.range)
    seen = look.sample_look(stream(subject, LOOK), variation)
    return Person(
        name=f"{head.name}-{subject:06d}",
        neutral_V3=neutral[0],
        look=look.aged(seen, years, male, variation) if variation.people else seen,
        years=years,
        male=male,
        gain=gain,
        style=style,
    )


def facts(subject: int, *, variation: Variation = EVERYTHING) -> Facts:
    """What is known exactly of a person without rendering: for results by group."""
    years, male, _ = _shape(subject, 1, variation)
    seen = look.sample_look(stream(subject, LOOK), variation)
    seen = look.aged(seen, years, male, variation) if variation.people else seen
    worn = seen.glasses is not None
    return Facts(years, male, seen.melanin, seen.hair, seen.beard, worn)


def posing(
    person: Person, labels: Sequence[str], intensity_TS: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """Intensities as this face makes them: (S' labels, T×S'), with the shapes of its style."""
    gain_S = np.array([person.gain.get(label.lstrip("LR"), 1.0) for label in labels], np.float32)
    early_S = np.array([label.lstrip("LR") in _EARLY for label in labels])
    posed_TS = np.where(early_S, np.interp(intensity_TS, *_EARLY_CURVE), intensity_TS) * gain_S
    styled = [i for i, x in enumerate(labels) if x.lstrip("LR") in person.style]
    more_TS = [posed_TS[:, i] * person.style[labels[i].lstrip("LR")] for i in styled]
    names = (*labels, *(f"{labels[i]}~" for i in styled))
    return names, np.stack([*posed_TS.T, *more_TS], axis=1).astype(np.float32)


def _shape(subject: int, modes: int, variation: Variation) -> tuple[float, float, np.ndarray]:
    """Age, sex in shape, and the weights of the identity modes."""
    rng = stream(subject, SHAPE)
    weights_M = rng.standard_normal(128)[:modes]  # all drawn, whatever the head
    spread = rng.uniform(0.75, 1.3)
    share = np.array([p for *_, p in _AGES])
    low, high, _ = _AGES[rng.choice(len(_AGES), p=share / share.sum())]
    years = float(rng.uniform(low, high))
    male = float(np.clip(rng.normal(0, 1) * 0.35 + (0.6 if rng.random() < 0.5 else -0.6), -1, 1))
    if not variation.people:
        weights_M = np.clip(weights_M * _PLAIN_MODES, -_PLAIN_MODE_LIMIT, _PLAIN_MODE_LIMIT)
        return _AGES_PLAIN, 0.0, weights_M
    if years < 14:  # sexes differ later
        male *= 0.3
    return years, male, np.clip(weights_M * spread, -_MODE_LIMIT, _MODE_LIMIT)


def _young(years: float) -> float:
    return float(np.clip((16 - years) / 12, 0, 1))


def _aged(years: float) -> float:
    return float(np.clip((years - 42) / 38, 0, 1.15))


def _rest(rng: np.random.Generator, aged: float, *, wanted: bool) -> tuple[list[str], list[float]]:
    labels, offsets = [], []
    for name, (scale, least, most) in _REST.items():
        both, left, right = rng.standard_t(3, 3)
        if name == "rest_fold":
            both += 0.8 * aged
        if name in _ONE_WAY:
            both = abs(both)
        sides = ("L", "R") if name in PAIRED or name.removeprefix("rest_") in RESTING else ("",)
        for side, own in zip(sides, (left, right), strict=False):
            value = scale * 0.7 * (both + _SIDES_DIFFER * own * (side != ""))
            labels.append(side + name)
            offsets.append(float(np.clip(value, least, most)) if wanted else 0.0)
    return labels, offsets


def _style(rng: np.random.Generator, *, wanted: bool) -> tuple[dict[str, float], dict[str, float]]:
    gain, style = {}, {}
    for au in (*PAIRED, *heads.UNPAIRED):
        factor = float(np.exp(rng.normal(0, _GAIN_SIGMA)))
        if au not in _NO_GAIN and wanted:
            most = min(_GAIN_LIMITS[1], _GAIN_MOST.get(au, 9.0))
            gain[au] = float(np.clip(factor, _GAIN_LIMITS[0], most))
    for au in (*STYLED, "25", "26", "27"):
        drawn = float(rng.uniform(-1, 1))
        if wanted:
            style[au] = drawn
    return gain, style
