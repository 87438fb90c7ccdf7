"""How a face moves: which actions, when, how strongly, and what head, eyes and lids do meanwhile.

An action rises along a minimum-jerk curve, holds with a slight tremble and falls more slowly than
it rose. Durations follow what is published of spontaneous expressions: onset about 0.2-0.8 s,
apex 0.3-3 s, offset 0.4-1.5 s (Schmidt, Cohn & Tian 2003; Ekman & Friesen 1982); blinks last
0.2-0.4 s, about 15 a minute; saccades 30-60 ms between fixations of 0.3-1.5 s.
"""

from dataclasses import dataclass

import numpy as np

from jaxfacs.facs import EMOTION_SETS, PROTOTYPES, Prototype
from jaxfacs.synthface.heads import PAIRED, SHAPES
from jaxfacs.synthface.variation import EVERYTHING, Variation

EMOTIONS = EMOTION_SETS["basic7_neutral"]
FELT = tuple(emotion for emotion in EMOTIONS if emotion != "neutral")
MIXED = ""  # actions that are no prototype: the emotion is unknown, not "other"

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
        *("23+16", "23+25", "18+27", "10+11", "20+18"),
    )
)

# Weights of random draws: what prototypes seldom show, or what other actions rule out, more often.
_RANDOM_WEIGHT = dict.fromkeys((*PAIRED, "23", "24", "25", "26"), 1.0) | {
    **dict.fromkeys(("9", "10", "11", "14", "16", "17", "43"), 1.8),
    **dict.fromkeys(("18", "22", "27"), 2.5),
    "28": 3.5,
}

# Mouth positions of speech with their intensities.
_VISEMES: tuple[dict[str, float], ...] = (
    {"26": 2.2},
    {"26": 1.4, "16": 1.4},
    {"25": 2.2},
    {"18": 3.0, "25": 1.2},
    {"22": 2.6},
    {"24": 2.2},
    {"26": 1.2, "20": 1.8},
    {"26": 3.2},
)
_SPEECH_KEEPS = ("1", "2", "4", "5", "6", "7", "9", "43")  # random actions that leave the mouth

_CLIP_KIND = {"emotion": 0.52, "mixed": 0.30, "neutral": 0.18}
_BLINKS_PER_S = 0.25


@dataclass(frozen=True)
class Event:
    """One action in time. Seconds count from the first frame, so they may be negative.

    Attributes:
      label: of heads.SHAPES, or "45" for a blink.
      peak: intensity at the apex, 0..5.
      onset_s: where it begins; apex_s: where it is at its peak; offset_s: where it begins to
        fall; end_s: where it is gone.
    """

    label: str
    peak: float
    onset_s: float
    apex_s: float
    offset_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Motion:
    """Everything that moves in a clip of T frames.

    Attributes:
      intensity: label of heads.SHAPES -> float32 T, 0..5, without blinks.
      blink_T: how far a blink closes both eyes, 0..5.
      events: what was put together, blinks too.
      emotion: the prototype's emotion, "neutral", or "" for a mixture. Whether the prototype is
        really seen in the frames is for the labels to say (`clip`).
      present, absent: labels that make the prototype what it is.
      pose_T6: (yaw, pitch, roll) of the head in degrees, + is FACS 51, 53, 55; then its shift
        in cm.
      gaze_T2: (yaw, pitch) of the eyes in the head.
    """

    intensity: dict[str, np.ndarray]
    blink_T: np.ndarray
    events: tuple[Event, ...]
    emotion: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    pose_T6: np.ndarray
    gaze_T2: np.ndarray


@dataclass(frozen=True)
class Expression:
    """What a face is about to show: peak intensity by label of heads.SHAPES."""

    emotion: str
    peaks: dict[str, float]
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def sample_motion(
    rng: np.random.Generator,
    *,
    frames: int,
    fps: float = 25.0,
    emotion: str | None = None,
    near_frontal: bool = False,
    variation: Variation = EVERYTHING,
) -> Motion:
    """Draws a motion.

    Args:
      rng: the only source of chance.
      frames: T, at least 1. A single frame lies in the apex.
      fps: frames a second.
      emotion: one of EMOTIONS, "" for a mixture of actions, None to draw.
      near_frontal: keeps the head within 8 degrees of the camera.
      variation: which kinds of variety are shown.

    Raises:
      ValueError: an emotion that is not known, or no frames.
    """
    if frames < 1 or fps <= 0:
        raise ValueError(f"{frames} frames at {fps} frames a second; both must be above 0")
    expression = sample_expression(rng, emotion)
    duration_s = frames / fps
    events = _episode(rng, expression, duration_s, still=frames == 1)
    if expression.emotion == MIXED and frames > 1 and rng.random() < 0.3:
        events = [e for e in events if e.label.lstrip("LR") in _SPEECH_KEEPS]
        events += _speech(rng, duration_s)
    return assemble(rng, events, expression, frames=frames, fps=fps, near_frontal=near_frontal)


def sample_expression(
    rng: np.random.Generator,
    emotion: str | None = None,
    *,
    strength: tuple[float, float] = (1.6, 5.0),
) -> Expression:
    """Draws the actions of an emotion's prototype, of a mixture ("") or of a neutral face.

    Args:
      rng: the only source of chance.
      emotion: as in `sample_motion`.
      strength: between which intensities a prototype is shown.
    """
    if emotion is None:
        kind = rng.choice(list(_CLIP_KIND), p=list(_CLIP_KIND.values()))
        emotion = {"neutral": "neutral", "mixed": MIXED, "emotion": str(rng.choice(FELT))}[kind]
    if emotion == "neutral":
        return Expression("neutral", {})
    if emotion == MIXED:
        return _mixture(rng)
    if emotion not in EMOTIONS:
        raise ValueError(f"emotion {emotion!r} is none of {', '.join(EMOTIONS)}")
    rows = _prototypes(emotion)
    return _show_prototype(rng, rows[rng.integers(len(rows))], rng.uniform(*strength))


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
        peak = float(np.clip(strength * rng.uniform(0.75, 1.15), 1.3, 5.0))
        if code.intensity is not None and not row.one_sided:
            peak = code.intensity + rng.uniform(-0.3, 0.3)
        peak = float(np.clip(peak, least.get(au, 0) + 0.1 if au in least else 1.3, 5.0))
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
            peaks |= _both_sides(rng, au, float(np.clip(strength * rng.uniform(0.5, 1), 1, 5)))
    return Expression(row.emotion, peaks, tuple(present), tuple(absent))


def _both_sides(rng: np.random.Generator, au: str, peak: float) -> dict[str, float]:
    """Faces are a little asymmetric, and sometimes clearly so."""
    if au not in PAIRED:
        return {au: peak}
    weaker = rng.uniform(0.4, 0.8) if rng.random() < 0.1 else rng.uniform(0.88, 1.0)
    first, second = ("L", "R") if rng.random() < 0.5 else ("R", "L")
    return {first + au: peak, second + au: peak * weaker}


def _mixture(rng: np.random.Generator) -> Expression:
    """One to five actions at random, some on one side only."""
    peaks: dict[str, float] = {}
    taken: set[str] = set()
    weight = np.array(list(_RANDOM_WEIGHT.values()))
    drawn = rng.choice(
        list(_RANDOM_WEIGHT), size=rng.integers(1, 6), replace=False, p=weight / weight.sum()
    )
    for au in map(str, drawn):
        if _contradictions(taken | {au}):
            continue
        taken.add(au)
        peak = float(rng.uniform(1.0, 5.0))
        if au in PAIRED and rng.random() < 0.2:
            peaks[str(rng.choice(["L", "R"])) + au] = peak
        else:
            peaks |= _both_sides(rng, au, peak)
    return Expression(MIXED, peaks)


def _episode(
    rng: np.random.Generator, expression: Expression, duration_s: float, *, still: bool
) -> list[Event]:
    """One expression, placed so that the clip holds its rise, its apex or its fall."""
    rise, hold, fall = rng.uniform(0.2, 0.8), rng.uniform(0.4, 2.5), rng.uniform(0.4, 1.5)
    whole = rise + hold + fall
    if still:
        hold = 4.0  # so long that every action is at its apex, however late it began
        start = -rise - hold * rng.uniform(0.2, 0.5)
    elif duration_s >= whole:
        start = rng.uniform(0, duration_s - whole)
    else:
        # The middle of the clip lies somewhere from the late rise to the early fall.
        at = rng.uniform(0.5 * rise, rise + hold + 0.3 * fall)
        start = duration_s / 2 - at
    return episode(rng, expression, start_s=start, rise_s=rise, hold_s=hold, fall_s=fall)


def episode(
    rng: np.random.Generator,
    expression: Expression,
    *,
    start_s: float,
    rise_s: float,
    hold_s: float,
    fall_s: float,
) -> list[Event]:
    """The events of one expression: actions start within a tenth of a second of each other.

    Both sides of an action share its timing.
    """
    events = []
    timing: dict[str, tuple[float, float, float, float]] = {}
    for label, peak in expression.peaks.items():
        au = label.lstrip("LR")
        if au not in timing:
            late, rise = abs(rng.normal(0, 0.06)), rise_s * rng.uniform(0.8, 1.2)
            hold, fall = hold_s * rng.uniform(0.85, 1.0), fall_s * rng.uniform(0.8, 1.2)
            if au == "43":  # shorter than half a second would be a blink or a wink
                hold = max(hold, 0.6)
            onset = start_s + min(late, 0.15)
            timing[au] = (onset, onset + rise, onset + rise + hold, onset + rise + hold + fall)
        events.append(Event(label, peak, *timing[au]))
    return events


def _speech(rng: np.random.Generator, duration_s: float) -> list[Event]:
    """Syllables, three to six a second, with pauses."""
    events = []
    at = rng.uniform(-0.3, 0.1)
    while at < duration_s:
        length = rng.uniform(0.16, 0.34)
        if rng.random() < 0.85:
            loudness = rng.uniform(0.6, 1.2)
            for label, peak in _VISEMES[rng.integers(len(_VISEMES))].items():
                times = at + length * np.array([0.0, 0.45, 0.6, 1.1])
                labels = ["L" + label, "R" + label] if label in PAIRED else [label]
                events += [
                    Event(x, float(min(peak * loudness, 5)), *map(float, times)) for x in labels
                ]
        at += length
    return events


def assemble(
    rng: np.random.Generator,
    events: list[Event],
    expression: Expression,
    *,
    frames: int,
    fps: float,
    near_frontal: bool,
) -> Motion:
    """Adds what a face does besides: blinks, gaze, head, and stirrings below a trace."""
    t = np.arange(frames) / fps
    intensity: dict[str, np.ndarray] = {}
    for event in events:
        rising = curve(event, t) * _tremble(rng, t)
        before = intensity.get(event.label, np.zeros(frames))
        intensity[event.label] = np.maximum(before, rising)
    for au in rng.choice([*PAIRED, "17", "23", "24"], size=3, replace=False):
        stir = rng.uniform(0.1, 0.6) * (0.6 + 0.4 * _drift(rng, t, 0.5))
        for label in ("L" + au, "R" + au) if au in PAIRED else (au,):
            if label not in intensity and au not in ("43", "10", "16"):
                intensity[label] = np.clip(stir, 0, 0.8)
    closed_long = np.maximum(intensity.get("L43", 0 * t), intensity.get("R43", 0 * t))
    blinks = _blinks(rng, frames / fps)
    blink_T = np.max([curve(b, t) for b in blinks], axis=0) if blinks else np.zeros(frames)
    if closed_long.max() > 0.5:  # eyes that are closed or winking do not blink
        blink_T, blinks = np.zeros(frames), []
    pose_T6 = _pose(rng, t, near_frontal)
    return Motion(
        intensity={k: v.astype(np.float32) for k, v in intensity.items()},
        blink_T=blink_T.astype(np.float32),
        events=tuple(events + blinks),
        emotion=expression.emotion,
        present=expression.present,
        absent=expression.absent,
        pose_T6=pose_T6,
        gaze_T2=_gaze(rng, t, pose_T6),
    )


def curve(event: Event, t: np.ndarray) -> np.ndarray:
    """Intensity of an event at times t: minimum-jerk rise and fall."""
    rise = np.clip((t - event.onset_s) / max(event.apex_s - event.onset_s, 1e-6), 0, 1)
    fall = np.clip((t - event.offset_s) / max(event.end_s - event.offset_s, 1e-6), 0, 1)
    return event.peak * (_minimum_jerk(rise) - _minimum_jerk(fall))


def _minimum_jerk(x: np.ndarray) -> np.ndarray:
    return x**3 * (10 - 15 * x + 6 * x**2)


def _drift(rng: np.random.Generator, t: np.ndarray, fastest_hz: float) -> np.ndarray:
    """Smooth noise about 0, mostly within -1..1: four waves."""
    hz = rng.uniform(0.1 * fastest_hz, fastest_hz, 4)[:, None]
    phase = rng.uniform(0, 2 * np.pi, 4)[:, None]
    return np.sin(2 * np.pi * hz * t + phase).mean(axis=0) * 1.4


def _tremble(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Held expressions waver by some per cent, never above the peak."""
    return 1 - 0.06 * np.clip(0.5 + 0.5 * _drift(rng, t, 1.5), 0, 1)


def _blinks(rng: np.random.Generator, duration_s: float) -> list[Event]:
    blinks = []
    at = rng.exponential(1 / _BLINKS_PER_S) - 0.3
    while at < duration_s:
        close, shut, reopen = rng.uniform(0.06, 0.1), rng.uniform(0.02, 0.08), rng.uniform(0.1, 0.2)
        times = np.cumsum([at, close, shut, reopen])
        blinks.append(Event("45", float(rng.uniform(4.5, 5.0)), *map(float, times)))
        at = times[-1] + 0.2 + rng.exponential(1 / _BLINKS_PER_S)
    return blinks


def _pose(rng: np.random.Generator, t: np.ndarray, near_frontal: bool) -> np.ndarray:
    """A held pose with slow drift; sometimes a turn or a nod within the clip."""
    sigma = np.array([3.0, 2.5, 2.0]) if near_frontal else np.array([14.0, 8.0, 6.0])
    limit = np.array([8.0, 7.0, 7.0]) if near_frontal else np.array([40.0, 24.0, 20.0])
    held = rng.normal(0, sigma)
    drift = np.stack([_drift(rng, t, 0.6) for _ in range(3)], axis=1) * sigma * 0.25
    turn = rng.normal(0, sigma * 0.8) * (rng.random() < 0.3)
    middle, length = rng.uniform(0, t[-1] + 0.1), rng.uniform(0.4, 1.2)
    turned = _minimum_jerk(np.clip((t - middle) / length + 0.5, 0, 1))[:, None] * turn
    angles = np.clip(held + drift + turned, -limit, limit)
    shift = np.stack([_drift(rng, t, 0.4) for _ in range(3)], axis=1) * (0.3, 0.2, 0.3)
    return np.concatenate([angles, shift], axis=1).astype(np.float32)


def _gaze(rng: np.random.Generator, t: np.ndarray, pose_T6: np.ndarray) -> np.ndarray:
    """Fixations with saccades between them; the camera is looked at more often than not."""
    at_camera = -pose_T6[:, :2]
    gaze = np.zeros((len(t), 2))
    at = -rng.uniform(0, 1.0)
    before = None
    while at <= t[-1]:
        if rng.random() < 0.6:
            target = at_camera + rng.normal(0, 1.5, 2)
        else:
            target = np.broadcast_to(rng.normal(0, (11.0, 6.0)), at_camera.shape)
        arrived = np.clip((t - at) / rng.uniform(0.03, 0.06), 0, 1)[:, None]
        start = target if before is None else before
        gaze = np.where((t >= at)[:, None], start + (target - start) * arrived, gaze)
        before = target
        at += rng.uniform(0.3, 1.5)
    return np.clip(gaze, (-28, -20), (28, 16)).astype(np.float32)


def intensity_table(motion: Motion) -> tuple[tuple[str, ...], np.ndarray]:
    """(S labels, intensity_TS) that pose a face: actions, with blinks folded into both lids."""
    posed = dict(motion.intensity)
    for side in "LR":
        lids = posed.get(side + "43", np.zeros_like(motion.blink_T))
        posed[side + "43"] = np.maximum(lids, motion.blink_T)
    return tuple(posed), np.stack(list(posed.values()), axis=1)
