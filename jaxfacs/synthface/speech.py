"""What mouths do that is no expression: talking, chewing, swallowing, lips and jaws held askew.

The shapes that pose it are those of the actions, but a coder who knows that somebody talks codes
no 18, 22 or 24. What comes of it is told by `truth`: lips that part and a jaw that drops are 25
and 26 whatever the reason; the rest is unknown where it is strong enough to be taken for an
action, and else absent.
"""

import numpy as np

from jaxfacs.synthface.heads import PAIRED

# Positions of the mouth with their intensities: open vowels, spread and round ones, closed lips,
# teeth on the lip.
_VISEMES: tuple[dict[str, float], ...] = (
    {"26": 2.2},
    {"26": 1.4, "16": 1.0},
    {"25": 2.2},
    {"25": 1.6, "26": 0.6},
    {"18": 1.8, "25": 1.2, "26": 0.5},
    {"22": 1.5, "26": 0.5},
    {"24": 1.3},
    {"26": 1.2, "20": 1.2},
    {"26": 3.4},
    {"25": 1.2, "28": 0.9},
    {"25": 2.6, "12": 0.5},
    {"26": 1.8, "10": 0.9},
)
_CHEWS: tuple[dict[str, float], ...] = (
    {"26": 0.6, "24": 0.8, "mouth_left": 1.5},
    {"24": 1.2, "jaw_left": 2.0, "34": 0.5},
    {"26": 0.5, "23": 0.6, "jaw_right": 2.0},
    {"24": 1.0, "17": 0.6},
)
_SWALLOWS: tuple[dict[str, float], ...] = ({"24": 1.6, "17": 1.2}, {"24": 0.8})
_ASKEW: tuple[dict[str, float], ...] = (
    {"mouth_left": 3.6},
    {"mouth_right": 3.6},
    {"jaw_left": 3.6},
    {"jaw_right": 3.6},
    {"jaw_forward": 4.0},
    {"34": 0.8},
)
KINDS = {"talk": 0.7, "chew": 0.08, "swallow": 0.05, "askew": 0.17}

Syllable = tuple[str, float, tuple[float, float, float, float]]  # label, peak, seconds


def sample_speech(rng: np.random.Generator, duration_s: float) -> list[Syllable]:
    """Movements one after another over a clip, or the one that a still has caught."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "askew":
        shape = _ASKEW[rng.integers(len(_ASKEW))]
        start, rise = rng.uniform(-1.5, 0.5 * duration_s), rng.uniform(0.2, 0.5)
        hold = rng.uniform(0.4, 1.5) + (3.0 if duration_s < 0.2 else 0.0)
        times = np.cumsum([start, rise, hold, rng.uniform(0.3, 0.8)])
        return _syllables(shape, rng.uniform(0.4, 1.3), times)
    table = {"talk": _VISEMES, "chew": _CHEWS, "swallow": _SWALLOWS}[kind]
    low, high = {"talk": (0.16, 0.34), "chew": (0.3, 0.5), "swallow": (0.5, 0.9)}[kind]
    made = []
    at = rng.uniform(-0.3, 0.1)
    while at < duration_s:
        length = rng.uniform(low, high)
        shape, loudness = table[rng.integers(len(table))], rng.uniform(0.5, 1.25)
        if rng.random() < 0.85:
            made += _syllables(shape, loudness, at + length * np.array([0.0, 0.45, 0.6, 1.1]))
        at += length
    return made


def _syllables(shape: dict[str, float], loudness: float, times: np.ndarray) -> list[Syllable]:
    onset, apex, offset, end = map(float, times)
    return [
        (label, min(peak * loudness, 5.0), (onset, apex, offset, end))
        for au, peak in shape.items()
        for label in (("L" + au, "R" + au) if au in PAIRED else (au,))
    ]
