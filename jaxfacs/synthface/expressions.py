"""Which actions a face is about to show, and how strongly.

Emotions by the published prototypes of `facs`, with what real faces add to them (a smile that
bares the teeth, a jaw that drops); patterns as posers and actors make them; random mixtures. Over
many draws every action comes at a useful rate, from B to E.
"""

import math
from dataclasses import dataclass

import numpy as np

from jaxfacs.facs import EMOTION_SETS, PROTOTYPES, Prototype
from jaxfacs.synthface.heads import OPTIONAL, PAIRED, SHAPES

EMOTIONS = EMOTION_SETS["basic7_neutral"]
FELT = tuple(emotion for emotion in EMOTIONS if emotion != "neutral")
MIXED = ""  # actions that are no prototype: the emotion is unknown, not "other"

# Pleasure and arousal of the feelings, -1..1: Russell & Mehrabian (1977), "Evidence for a
# three-factor theory of emotions", J. Research in Personality 11, 273-294, means of the terms
# happy, sad, angry, fearful, disgusted and surprised as quoted in later papers on affective
# computing; not compared with the print. Contempt is left unknown.
AFFECT: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happiness": (0.81, 0.51),
    "sadness": (-0.63, -0.27),
    "anger": (-0.51, 0.59),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "surprise": (0.40, 0.67),
}

_TABLES = ("emfacs", "masur", "facs_most_intense", "emfacs_variants", "du2014")

# Pairs that one face does not show together, or that hide each other so that a coder could not
# score both. The shapes of a pair may still overlap for a moment where one follows the other.
CONTRADICTORY = frozenset(
    frozenset(pair.split("+"))
    for pair in (
        *("12+15", "12+18", "12+20", "12+22", "15+18", "15+20", "15+22", "18+20", "20+22"),
        *("18+22", "14+18", "14+22", "22+23", "16+17", "17+27", "23+27", "26+27", "43+5", "9+11"),
        *("24+9", "24+10", "24+16", "24+18", "24+22", "24+23", "24+25", "24+26", "24+27", "24+28"),
        *("28+9", "28+10", "28+16", "28+17", "28+18", "28+22", "28+23", "28+25", "28+26", "28+27"),
        *("23+16", "23+25", "18+27", "10+11", "20+18", "19+24", "19+23", "19+28", "19+18", "19+22"),
        *("19+17", "34+25", "34+26", "34+27", "34+19", "34+22", "34+28", "34+20", "34+16", "34+10"),
    )
)

# Weights of random draws: what prototypes and patterns seldom show more often.
_RANDOM_WEIGHT = dict.fromkeys((*PAIRED, "17", "23", "24", "25", "26"), 1.0) | {
    **dict.fromkeys(("11", "16", "20", "22", "34"), 2.0),
    **dict.fromkeys(("14", "18", "23", "24", "28"), 3.0),
    "7": 1.5,
    "17": 1.5,
}

# What goes along with an emotion's prototype without being of it: (action, share, of its strength).
_COMPANY: dict[str, tuple[tuple[str, float, float], ...]] = {
    "happiness": (
        *(("25", 0.62, 1.0), ("6", 0.55, 0.9), ("26", 0.15, 0.7), ("43", 0.06, 1.3)),
        *(("7", 0.1, 0.6), ("1", 0.06, 0.6), ("16", 0.05, 0.6)),
    ),
    "surprise": (("25", 0.4, 0.6), ("27", 0.2, 0.9), ("12", 0.1, 0.6)),
    "anger": (
        *(("9", 0.2, 0.8), ("10", 0.2, 0.8), ("25", 0.25, 0.8), ("27", 0.2, 1.0)),
        *(("17", 0.15, 0.8), ("11", 0.05, 0.8)),
    ),
    "disgust": (("4", 0.3, 0.8), ("6", 0.2, 0.7), ("7", 0.3, 0.8), ("43", 0.12, 1.3)),
    "fear": (("25", 0.4, 0.8), ("26", 0.2, 0.7), ("27", 0.1, 0.9)),
    "sadness": (("43", 0.15, 1.3), ("17", 0.25, 0.8), ("11", 0.1, 0.7), ("25", 0.1, 0.5)),
    "contempt": (),
}

# What is drawn is strong enough to be decided (truth.OCCURS_FROM) while it trembles at its apex;
# traces come as actions rise and fall, and on the weaker side.
_FAINT = 1.7
# Traces that no picture of a hundred pixels shows, and mouths that stretch no further than a jaw
# drops: these actions are drawn no weaker.
_FAINTEST = {"27": 2.8, "11": 2.0, "23": 1.9, "7": 1.6, "24": 1.6, "16": 1.6, "14": 1.5}

# Faces that are no prototype but that people make, with weights. A side before an action means
# either side; "?" an action that is there every other time.
_PATTERNS = {
    name: float(weight)
    for name, _, weight in (
        word.partition("=")
        for word in """
        1=4 1+2=3.5 1+2?+5=1.5 2=1.5 S2=1 1+4=3 1+2+4=2 1+2+5+25+26?=1.5 1+2+5+27=2.4 5=1.2 5+25=0.7
        1+2+12+25?=0.7 1+4+15+17?=2.6 1+4+43=2 1+4+6?+15+43=0.9 1+2+4+5+20+25?+26?=1.5 4=2 4+7=1.5
        4+5+7?=1 4+9=1.1 4+7+9=1.3 4+7+9+43=1.3 4+9+10?+27=3.2 4+7+9+10+25=1.4 4+6+9+43+27=1.8
        4+7+10+25+26=1 4+17+23?=1.5 4+24=1.5 4+23=2 4+6+7?=0.6 9=2.4 9+10+17?=1.7 10=3 10+25=2.2
        S10=1.2 10+16+25=2.5 11=2 11+17?=1.5 S11+S14=0.4 12=1.5 12+25=6 6+12=1.5 6+12+25=9
        6?+12+25+26=2 6+12+27=1.3 6+12+43=0.5 6+12+25+43=0.8 6+7+12+25+26=0.7 S12=1
        1+2+5+12+25+26?=0.6 6+12+25+26+43=0.6 12+14=0.6 12+17+24?=0.5 14=2.2 S14=1.9 14+17?+24=0.6
        15=2.1 15+17=2.9 S15=0.7 6+15+17=0.7 17=1.4 17+24=1.6 17+23=2 16+25=4 16+20+25=1
        18=8 1+2+18=1.8 4+18=2.1 18+43=1.5 20=1.5 20+25=1.2 20+26+25=0.7 22=10 22+25+26?=6
        4+22+25=1.6 23=4 24=3 28=14 28+4=2.5 1+2+28=1.6 25=1.4 25+26=1.4 26=1 27=4.5 27+43=3
        1+27=0.6 43=6 4+43=1.5 S43=0.7 6+S43+12?=0.5 7=1.4 6=1 6+7=0.7 34=14.8 4+34=3.9
        1+2+25=1 1+2+26=0.7 1+4+25=0.7 1+4+6+7+43=0.7 1+4+7+20+43=0.7 1+4+15+17?+43=1 12+25+43=0.8
        15+43=0.5 17+43=0.5 25+43=0.7 7+12+25=1 1+2+12+25=0.7 12+16+25=1
        1+2+5+34=2.8 34+43=2.3 19+26=14 12+19+26=4.3 19+26+43=2.4 4+9+19+26=3 2+5+19+26=1.5
    """.split()
    )
}

_FELT_SHARE = [{"happiness": 0.26, "contempt": 0.09}.get(emotion, 0.13) for emotion in FELT]
_CLIP_KIND = {"emotion": 0.29, "pattern": 0.34, "mixed": 0.19, "neutral": 0.18}


@dataclass(frozen=True)
class Expression:
    """What a face is about to show: peak intensity by label of heads.SHAPES or OPTIONAL."""

    emotion: str
    peaks: dict[str, float]
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def sample_expression(
    rng: np.random.Generator,
    emotion: str | None = None,
    *,
    strength: tuple[float, float] | None = None,
    even: bool = False,
) -> Expression:
    """Draws the actions of an emotion, of a mixture or pattern ("") or of a neutral face.

    Args:
      rng: the only source of chance.
      emotion: one of EMOTIONS, "" for actions that are no prototype, None to draw.
      strength: between which intensities a prototype is shown; without: B to E, of which a
        third is as strong as posers and actors show it.
      even: both sides alike, but where an action is one-sided by itself.

    Raises:
      ValueError: the emotion is unknown.
    """
    kind = str(rng.choice(list(_CLIP_KIND), p=list(_CLIP_KIND.values())))
    if emotion is None:
        felt = str(rng.choice(FELT, p=_FELT_SHARE))
        emotion = {"neutral": "neutral", "emotion": felt}.get(kind, MIXED)
    elif emotion == MIXED and kind not in ("pattern", "mixed"):
        kind = "pattern"
    if emotion == "neutral":
        return Expression("neutral", {})
    if emotion == MIXED:
        drawn = _pattern(rng) if kind == "pattern" else _mixture(rng)
    elif emotion in EMOTIONS:
        rows = _prototypes(emotion)
        level = rng.uniform(*strength) if strength else _level(rng)
        drawn = _show_prototype(rng, rows[rng.integers(len(rows))], level)
    else:
        raise ValueError(f"emotion {emotion!r} is none of {', '.join(EMOTIONS)}")
    return _evened(drawn) if even else drawn


def affect(emotion: str, strength: float = 5.0) -> tuple[float, float]:
    """(valence, arousal), -1..1, of an emotion shown that strongly (0..5); NaN where unknown."""
    if emotion not in AFFECT:
        return math.nan, math.nan
    valence, arousal = AFFECT[emotion]
    return valence * strength / 5, arousal * strength / 5


def _level(rng: np.random.Generator) -> float:
    kind = rng.random()
    low, high = (1.7, 2.7) if kind < 0.2 else (2.0, 4.0) if kind < 0.62 else (3.8, 5.3)
    return float(rng.uniform(low, high))


def _evened(drawn: Expression) -> Expression:
    peaks = dict(drawn.peaks)
    for label in peaks:
        other = {"L": "R", "R": "L"}.get(label[0], "") + label[1:]
        if other in peaks:
            peaks[label] = max(peaks[label], drawn.peaks[other])
    return Expression(drawn.emotion, peaks, drawn.present, drawn.absent)


def _prototypes(emotion: str) -> list[Prototype]:
    """Rows of the published tables that a face can show. A table counts as often as it says it."""
    rows = []
    for table in _TABLES:
        for row in PROTOTYPES[table].rows:
            aus = {str(code.au) for code in row.codes}
            if row.emotion == emotion and not _contradictions(aus) and _can_show(aus):
                rows.append(row)
    return rows


def _can_show(aus: set[str]) -> bool:
    return all(au in SHAPES or au in PAIRED for au in aus)


def _contradictions(aus: set[str]) -> bool:
    return any(pair <= aus for pair in CONTRADICTORY)


def _show_prototype(rng: np.random.Generator, row: Prototype, strength: float) -> Expression:
    swap = row.one_sided and rng.random() < 0.5
    peaks: dict[str, float] = {}
    present, absent = [], []
    least = {str(code.au): code.intensity or 0 for code in row.at_least}
    most = {str(code.au): code.intensity or 5 for code in row.at_most}
    for code in row.codes:
        au = str(code.au)
        peak = strength * rng.uniform(0.75, 1.15)
        peak = float(np.clip(peak, _FAINTEST.get(au, _FAINT), 5.0))
        if code.intensity is not None and not row.one_sided:
            peak = code.intensity + rng.uniform(-0.3, 0.3)
        peak = float(np.clip(peak, least.get(au, 0) + 0.1 if au in least else _FAINT, 5.0))
        peak = min(peak, most.get(au, 5.0))
        if code.side:
            side = {"L": "R", "R": "L"}[code.side] if swap else code.side
            peaks[side + au] = peak
            present.append(side + au)
            absent.append(("L" if side == "R" else "R") + au)
        else:
            peaks |= _both_sides(rng, au, peak)
            present.append(au)
    for au, share in row.shares.items():
        both = {str(code.au) for code in row.codes} | {au}
        taken = {label.lstrip("LR") for label in peaks} | {au}
        if rng.random() < share and _can_show(both) and not _contradictions(taken):
            peaks |= _both_sides(rng, au, float(np.clip(strength * rng.uniform(0.5, 1), _FAINT, 5)))
    if not row.one_sided:
        _add_company(rng, row, peaks, strength)
    return Expression(row.emotion, peaks, tuple(present), tuple(absent))


def _add_company(
    rng: np.random.Generator, row: Prototype, peaks: dict[str, float], strength: float
) -> None:
    most = {str(code.au) for code in row.at_most}
    for au, share, relative in _COMPANY[row.emotion]:
        peak = float(np.clip(strength * relative * rng.uniform(0.7, 1.2), _FAINT, 5.0))
        wanted = rng.random() < share
        taken = {label.lstrip("LR") for label in peaks}
        if wanted and au not in taken | most and not _contradictions(taken | {au}):
            peaks |= _both_sides(rng, au, max(peak, 4.2) if au == "43" else peak)


def _both_sides(rng: np.random.Generator, au: str, peak: float) -> dict[str, float]:
    """Faces are a little asymmetric, and sometimes clearly so."""
    if au not in PAIRED:
        return {au: peak}
    weaker = rng.uniform(0.35, 0.8) if rng.random() < 0.12 else rng.uniform(0.86, 1.0)
    first, second = ("L", "R") if rng.random() < 0.5 else ("R", "L")
    if au == "43":
        weaker = 1.0
    return {first + au: peak, second + au: peak * weaker}


def _pattern(rng: np.random.Generator) -> Expression:
    """A face that people make; now and then with one more action."""
    weight = np.array(list(_PATTERNS.values()))
    text = str(rng.choice(list(_PATTERNS), p=weight / weight.sum()))
    level, side = _level(rng), str(rng.choice(["L", "R"]))
    peaks: dict[str, float] = {}
    for code in text.split("+"):
        if code.endswith("?") and rng.random() < 0.5:
            continue
        au = code.strip("S?")
        peak = _peak(rng, au, level)
        alone = rng.random() < 0.2 and au in PAIRED and au != "43"
        if code[0] == "S" or alone:
            peaks[side + au] = peak
        else:
            peaks |= _both_sides(rng, au, peak)
    if rng.random() < 0.2:
        _add_random(rng, peaks)
    return Expression(MIXED, peaks)


def _peak(rng: np.random.Generator, au: str, level: float) -> float:
    if au == "43":  # shut, or nearly so
        return float(rng.uniform(4.2, 5.0))
    if au == "19":  # less stays behind the lips
        return float(rng.uniform(4.0, 5.0))
    if au in OPTIONAL:
        return float(rng.uniform(2.8, 5.0))
    return float(np.clip(level * rng.uniform(0.7, 1.2), _FAINTEST.get(au, _FAINT), 5.0))


def _add_random(rng: np.random.Generator, peaks: dict[str, float]) -> None:
    weight = np.array(list(_RANDOM_WEIGHT.values()))
    au = str(rng.choice(list(_RANDOM_WEIGHT), p=weight / weight.sum()))
    peak, alone = _peak(rng, au, _level(rng)), rng.random() < 0.2
    side = str(rng.choice(["L", "R"]))
    taken = {label.lstrip("LR") for label in peaks}
    if au in taken or _contradictions(taken | {au}):
        return
    if au in PAIRED and alone:
        peaks[side + au] = peak
    else:
        peaks |= _both_sides(rng, au, peak)


def _mixture(rng: np.random.Generator) -> Expression:
    """Two to five actions at random, some on one side only."""
    peaks: dict[str, float] = {}
    for _ in range(rng.integers(2, 6)):
        _add_random(rng, peaks)
    return Expression(MIXED, peaks)
