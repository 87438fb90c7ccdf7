"""How a face moves: which actions, when, how strongly, and what head, eyes and lids do meanwhile.

An action rises along a minimum-jerk curve, holds with a slight tremble and falls more slowly than
it rose. Durations follow what is published of spontaneous expressions: onset about 0.2-0.8 s,
apex 0.3-3 s, offset 0.4-1.5 s (Schmidt, Cohn & Tian 2003; Ekman & Friesen 1982); blinks last
0.2-0.4 s, about 15 a minute; saccades 30-60 ms between fixations of 0.3-1.5 s.
"""

from dataclasses import dataclass, field

import numpy as np

from jaxfacs.synthface import speech as speaking
from jaxfacs.synthface.expressions import (
    CONTRADICTORY,
    EMOTIONS,
    FELT,
    MIXED,
    Expression,
    affect,
    sample_expression,
)
from jaxfacs.synthface.heads import PAIRED
from jaxfacs.synthface.variation import EVERYTHING, Variation

__all__ = [
    "CONTRADICTORY", "EMOTIONS", "FELT", "MIXED", "Event", "Expression", "Motion", "affect_of",
    "assemble", "curve", "episode", "intensity_table", "sample_expression", "sample_motion",
]  # fmt: skip

_BLINKS_PER_S = 0.25
# How often a mouth does something that is no expression: of a resting face, and besides one.
_SPEAKS, _SPEAKS_BESIDES = 0.45, 0.12
_NO_SPEECH = frozenset(("18", "19", "22", "23", "24", "27", "28", "34"))

# Yaw, pitch and roll, σ in degrees: half of all heads are near frontal, the others anywhere.
_POSE_NEAR, _POSE_CORE, _POSE_WIDE = (3.0, 2.5, 2.0), (8.0, 5.0, 4.5), (23.0, 11.0, 11.0)
_POSE_LIMIT = {"near": (8.0, 7.0, 7.0), "far": (45.0, 25.0, 25.0)}
GAZE_LIMIT = ((-30.0, -28.0), (30.0, 20.0))  # yaw, pitch of the eyes in the head


@dataclass(frozen=True)
class Event:
    """One action in time. Seconds count from the first frame, so they may be negative.

    Attributes:
      label: of heads.SHAPES or heads.OPTIONAL, or "45" for a blink.
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
      intensity: label of heads.SHAPES or OPTIONAL -> float32 T, 0..5, without blinks.
      blink_T: how far a blink closes both eyes, 0..5.
      events: what was put together, blinks too.
      emotion: the prototype's emotion, "neutral", or "" for a mixture. Whether the prototype is
        really seen in the frames is for the labels to say (`clip`).
      present, absent: labels that make the prototype what it is.
      pose_T6: (yaw, pitch, roll) of the head in degrees, + is FACS 51, 53, 55; then its shift
        in cm.
      gaze_T2: (yaw, pitch) of the eyes in the head.
      speech: label of heads.SHAPES or EXTRAS -> float32 T: what the mouth does besides that is
        no expression, in intensity of the shapes that pose it.
    """

    intensity: dict[str, np.ndarray]
    blink_T: np.ndarray
    events: tuple[Event, ...]
    emotion: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    pose_T6: np.ndarray
    gaze_T2: np.ndarray
    speech: dict[str, np.ndarray] = field(default_factory=dict)


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
    expression = sample_expression(rng, emotion, even=not variation.range)
    duration_s = frames / fps
    events = _episode(rng, expression, duration_s, still=frames == 1)
    spoken = _spoken(rng, expression, duration_s, asked=emotion, wanted=variation.speech)
    return assemble(
        rng,
        events,
        expression,
        frames=frames,
        fps=fps,
        near_frontal=near_frontal,
        spoken=spoken,
        looks_about=variation.eyes,
    )


def _spoken(
    rng: np.random.Generator,
    expression: Expression,
    duration_s: float,
    *,
    asked: str | None,
    wanted: bool,
) -> list[Event]:
    """What the mouth does besides. Who is asked for an emotion, or for none, shows just that."""
    own = np.random.default_rng(rng.integers(1 << 63))  # as many draws as it takes
    share = _SPEAKS_BESIDES if expression.peaks else _SPEAKS
    speaks = rng.random() < share and asked is None and wanted
    if not speaks or _NO_SPEECH & {label.lstrip("LR") for label in expression.peaks}:
        return []
    drawn = speaking.sample_speech(own, duration_s)
    return [Event(label, peak, *times) for label, peak, times in drawn]


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


def assemble(
    rng: np.random.Generator,
    events: list[Event],
    expression: Expression,
    *,
    frames: int,
    fps: float,
    near_frontal: bool,
    spoken: list[Event] | None = None,
    looks_about: bool = True,
) -> Motion:
    """Adds what a face does besides: blinks, gaze, head, and stirrings below a trace."""
    t = np.arange(frames) / fps
    intensity: dict[str, np.ndarray] = {}
    for event in events:
        rising = curve(event, t) * _tremble(rng, t)
        before = intensity.get(event.label, np.zeros(frames))
        intensity[event.label] = np.maximum(before, rising)
    speech: dict[str, np.ndarray] = {}
    for event in spoken or ():
        before = speech.get(event.label, np.zeros(frames))
        speech[event.label] = np.maximum(before, curve(event, t))
    for au in rng.choice([*PAIRED, "17", "23", "24"], size=3, replace=False):
        stir = rng.uniform(0.1, 0.42) * (0.6 + 0.4 * _drift(rng, t, 0.5))
        for label in ("L" + au, "R" + au) if au in PAIRED else (au,):
            if label not in intensity and au not in ("43", "9", "10", "16"):
                intensity[label] = np.clip(stir, 0, 0.45)
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
        gaze_T2=_gaze(rng, t, pose_T6) * looks_about,
        speech={k: v.astype(np.float32) for k, v in speech.items()},
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
    wide = rng.random() < 0.5
    sigma = np.array(_POSE_NEAR if near_frontal else _POSE_WIDE if wide else _POSE_CORE)
    limit = np.array(_POSE_LIMIT["near" if near_frontal else "far"])
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
        target = _target(rng, at_camera)
        arrived = np.clip((t - at) / rng.uniform(0.03, 0.06), 0, 1)[:, None]
        start = target if before is None else before
        gaze = np.where((t >= at)[:, None], start + (target - start) * arrived, gaze)
        before = target
        at += rng.uniform(0.3, 1.5)
    return np.clip(gaze, *GAZE_LIMIT).astype(np.float32)


def _target(rng: np.random.Generator, at_camera_T2: np.ndarray) -> np.ndarray:
    """Where somebody looks for a while: mostly the camera; down, up, aside; anywhere."""
    kind, near = rng.random(), rng.normal(0, 1, 2)
    far, side = rng.uniform(0, 1), rng.choice([-1, 1])
    if kind < 0.5:
        return at_camera_T2 + 1.5 * near
    if kind < 0.76:
        away = near * (13.0, 7.0)
    elif kind < 0.86:  # the lids come down with the eyes; they are not closed
        away = np.array([9 * near[0], -10 - 18 * far])
    elif kind < 0.91:
        away = np.array([9 * near[0], 7 + 13 * far])
    else:
        away = np.array([side * (14 + 16 * far), 5 * near[1]])
    return np.broadcast_to(away, at_camera_T2.shape)


def affect_of(motion: Motion, emotion: str) -> np.ndarray:
    """(valence, arousal) of every frame, T×2 float32, of a motion seen as that emotion.

    In proportion to the mean intensity of the actions that make the prototype; NaN where the
    emotion is unknown or has no place in the table.
    """
    frames = len(motion.blink_T)
    strength_T = np.zeros(frames)
    for label in motion.present:
        sides = [label] if label in motion.intensity else ["L" + label, "R" + label]
        shown = [motion.intensity.get(side, np.zeros(frames)) for side in sides]
        strength_T += np.max(shown, axis=0) / len(motion.present)
    place_2 = np.array(affect(emotion), np.float32)
    return (place_2 * (strength_T / 5)[:, None]).astype(np.float32)


def intensity_table(motion: Motion) -> tuple[tuple[str, ...], np.ndarray]:
    """(S labels, intensity_TS) that pose a face: actions, speech, blinks folded into both lids."""
    posed = dict(motion.intensity)
    for label, value_T in motion.speech.items():
        posed[label] = np.maximum(posed[label], value_T) if label in posed else value_T
    for side in "LR":
        lids = posed.get(side + "43", np.zeros_like(motion.blink_T))
        posed[side + "43"] = np.maximum(lids, motion.blink_T)
    return tuple(posed), np.stack(list(posed.values()), axis=1)
