"""Cues of spontaneous and posed expression, with times, as Tlili 2019, ch. 2-3, frames them.

Spontaneous and commanded movements come by different nerve pathways (Rinn 1984), so that their form
may differ: the cheek raiser that joins a felt smile (Duchenne), sides that move unalike, the speed
of the onset, and micro-expressions that pass before they can be held back. **No cue proves that an
expression was posed, or that it was felt**: people smile with AU 6 on request, faces are asymmetric
at rest, and networks flicker. The rows say what was measured, where, and which way it points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxfacs.emotion.frames import Frames
from jaxfacs.facs import split_label

PRESENT = 0.5  # an event begins where the AU is likelier present than not …
GONE = 0.35  # … and ends where it is clearly not: a probability that wavers is one event
TOGETHER = 0.5  # share of a smile with AU 6 that makes it a Duchenne smile
UNALIKE_INTENSITY, UNALIKE_PROBABILITY = 1.0, 0.5  # one letter; without letters, probability
MICRO_HALF_SECOND = (0.0, 0.5)  # seconds: below half a second
MICRO_PUBLISHED = (1 / 25, 1 / 5)  # the range that most papers on micro-expressions give
NO_EXPRESSION = frozenset((43, 45, 46))  # lids that close and blinks; head and gaze are from 51
_GAZE_AND_HEAD = 51
_EPSILON_S = 1e-6  # 0.2 s of frames at 25 fps is 0.2000000001 s

Micro = Literal["half-second", "published"]
LIMITS: dict[Micro, tuple[float, float]] = {
    "half-second": MICRO_HALF_SECOND,
    "published": MICRO_PUBLISHED,
}


@dataclass(frozen=True)
class Event:
    """One AU from its onset over its apex to its offset.

    Attributes:
      au: label, "L12" where sides are coded.
      onset_s, apex_s, offset_s: the first frame in which it is present, the frame of the highest
        level, the first frame after it. Each is known to a frame.
      level: at the apex: intensity 0-5 where there is one, else probability times 5.
      speed: of the onset, levels a second from where the level began to rise to the apex; NaN if
        that was not seen.
      begins, ends: whether onset and offset were seen; if not, the times are those of the first and
        last known frame, and the event was longer.
      frames: in which the AU is present.
    """

    au: str
    onset_s: float
    apex_s: float
    offset_s: float
    level: float
    speed: float
    begins: bool
    ends: bool
    frames: int

    @property
    def duration_s(self) -> float:
        """How long the AU was present, to a frame."""
        return self.offset_s - self.onset_s


@dataclass(frozen=True)
class Cue:
    """One row of the table of cues.

    Attributes:
      cue: "duchenne", "asymmetry", "onset" or "micro".
      aus: labels it is about.
      start_s, end_s: of the event.
      value, unit: what was measured.
      points_to: "spontaneous", "posed", "held back", or "" where the value alone says neither.
      note: what it is beside, or why nothing is said.
    """

    cue: str
    aus: tuple[str, ...]
    start_s: float
    end_s: float
    value: float
    unit: str
    points_to: str
    note: str = ""


def events(frames: Frames) -> list[Event]:
    """Onset, apex and offset of every AU of one face, in order of onset.

    Args:
      frames: of one face, in order, with times.

    Raises:
      ValueError: times that are missing or do not rise.
    """
    time_T = frames.time_s_N
    if np.isnan(time_T).any() or np.any(np.diff(time_T) <= 0):
        raise ValueError("times are missing or do not rise from frame to frame")
    found = []
    for a, au in enumerate(frames.aus):
        level_T = frames.intensity_NA[:, a]
        if np.isnan(level_T).all():
            level_T = 5 * frames.probability_NA[:, a]
        runs = _runs(frames.probability_NA[:, a])
        found += [
            _event(au, first, last, time_T, level_T, frames.probability_NA[:, a])
            for first, last in runs
        ]
    return sorted(found, key=lambda event: (event.onset_s, event.au))


def cues(frames: Frames, *, micro: Micro = "half-second") -> tuple[list[Event], list[Cue]]:
    """Events of one face and the cues among them, both in order of time.

    Args:
      frames: as `events` takes them.
      micro: how short a micro-expression is: "half-second" (< 0.5 s) or "published" (1/25-1/5 s).
    """
    found = events(frames)
    rows = [
        *_duchenne(frames, found),
        *_asymmetry(frames, found),
        *_onsets(_expressions(frames, found)),
        *_micro(_expressions(frames, found), micro),
    ]
    return found, sorted(rows, key=lambda cue: (cue.start_s, cue.cue, cue.aus))


def not_judged(frames: Frames) -> list[str]:
    """What these frames cannot show, in words."""
    numbers = {split_label(au)[1] for au in frames.aus}
    step_s = float(np.median(np.diff(frames.time_s_N))) if len(frames) > 1 else np.inf
    said = []
    if 12 not in numbers or 6 not in numbers:
        said.append("duchenne: AU 6 and AU 12 are both needed")
    if not _coded_by_side(frames):
        said.append("asymmetry: no AU is coded by side (L12 and R12)")
    if np.isnan(frames.intensity_NA).all():
        said.append("levels: no intensities, so probability times 5 stands in: no measure of force")
    if step_s > MICRO_PUBLISHED[0] + _EPSILON_S:
        said.append(
            f"micro: {1 / step_s:.1f} frames a second; events of 1/25 s fall between two frames"
        )
    elif step_s > MICRO_PUBLISHED[0] / 2:
        said.append(
            f"micro: at {1 / step_s:.1f} frames a second the shortest are one frame, which an "
            "error of the network is as well; films of 100-200 frames a second are usual"
        )
    return said


def _runs(probability_T: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each event; frames that nobody can tell end it."""
    runs, first = [], None
    for t, probability in enumerate(probability_T):
        if first is None:
            if probability >= PRESENT:
                first = t
        elif not probability >= GONE:  # also NaN
            runs.append((first, t - 1))
            first = None
    if first is not None:
        runs.append((first, len(probability_T) - 1))
    # A run that fades out below PRESENT ends with the last frame in which the AU was present.
    return [
        (first, first + int(np.flatnonzero(probability_T[first : last + 1] >= PRESENT)[-1]))
        for first, last in runs
    ]


def _event(
    au: str,
    first: int,
    last: int,
    time_T: np.ndarray,
    level_T: np.ndarray,
    probability_T: np.ndarray,
) -> Event:
    apex = first + int(np.argmax(np.nan_to_num(level_T[first : last + 1], nan=-1.0)))
    begins = first > 0 and not np.isnan(probability_T[first - 1])
    ends = last + 1 < len(time_T) and not np.isnan(probability_T[last + 1])
    # From the last frame below, back to where the level began to rise.
    start = first - 1 if begins else first
    while begins and start > 0 and level_T[start - 1] < level_T[start]:
        start -= 1
    onset_s, offset_s = time_T[first], time_T[last + 1] if ends else time_T[last]
    rise_s = time_T[apex] - time_T[start]
    speed = (level_T[apex] - level_T[start]) / rise_s if begins and rise_s > 0 else np.nan
    return Event(
        au,
        float(onset_s),
        float(time_T[apex]),
        float(offset_s),
        float(level_T[apex]),
        float(speed),
        bool(begins),
        bool(ends),
        int((probability_T[first : last + 1] >= PRESENT).sum()),
    )


def _whole(frames: Frames, number: int) -> np.ndarray:
    """Probability of an AU, the stronger of its sides (T); NaN unknown."""
    columns = [a for a, au in enumerate(frames.aus) if split_label(au)[1] == number]
    strongest_T = np.full(len(frames), np.nan)
    for a in columns:
        strongest_T = np.fmax(strongest_T, frames.probability_NA[:, a])
    return strongest_T


def _duchenne(frames: Frames, found: Sequence[Event]) -> list[Cue]:
    cheek_T, time_T = _whole(frames, 6), frames.time_s_N
    rows = []
    for smile in _either_side(found, 12):
        inside_T = (time_T >= smile.onset_s) & (time_T <= smile.offset_s)
        known_T = inside_T & ~np.isnan(cheek_T)
        if not known_T.any():
            continue
        share = float((cheek_T[known_T] >= PRESENT).mean())
        with_6 = share >= TOGETHER
        contempt = not with_6 and _contempt(frames, 12, _nearest(frames, smile.apex_s))
        rows.append(
            Cue(
                "duchenne",
                ("6", "12") if with_6 else ("12",),
                smile.onset_s,
                smile.offset_s,
                share,
                "share of the smile with AU 6",
                "spontaneous" if with_6 else "" if contempt else "posed",
                ("a Duchenne smile" if with_6 else "a smile without the cheek raiser")
                + (": as in contempt" if contempt else ""),
            )
        )
    return rows


def _asymmetry(frames: Frames, found: Sequence[Event]) -> list[Cue]:
    rows = []
    for number in _coded_by_side(frames):
        for event in _either_side(found, number, sided=True):
            at = _nearest(frames, event.apex_s)
            difference, graded = _difference(frames, number, at)
            if not _unalike(difference, graded):
                continue
            contempt = number in (12, 14) and _contempt(frames, number, at)
            rows.append(
                Cue(
                    "asymmetry",
                    (f"L{number}", f"R{number}"),
                    event.onset_s,
                    event.offset_s,
                    difference,
                    "letters, left − right" if graded else "probability, left − right",
                    "" if contempt else "posed",
                    f"at the apex, {'left' if difference > 0 else 'right'} is stronger"
                    + (": as in contempt" if contempt else ""),
                )
            )
    return rows


def _contempt(frames: Frames, number: int, at: int) -> bool:
    """Whether 14 is one-sided, on the side where `number` is: alone or with 12 (R12A+R14A) that is
    contempt itself, and no sign of posing."""
    dimple, difference = _difference(frames, 14, at), _difference(frames, number, at)
    return _unalike(*dimple) and _unalike(*difference) and dimple[0] * difference[0] > 0


def _coded_by_side(frames: Frames) -> list[int]:
    numbers = [split_label(au)[1] for au in frames.aus if au[0] == "L"]
    return [number for number in numbers if f"R{number}" in frames.aus]


def _difference(frames: Frames, number: int, at: int) -> tuple[float, bool]:
    """Left − right of one frame, and whether in letters (else in probability); NaN unknown."""
    if number not in _coded_by_side(frames):
        return float("nan"), False
    left, right = (frames.aus.index(f"{side}{number}") for side in "LR")
    by_level = frames.intensity_NA[at, left] - frames.intensity_NA[at, right]
    if not np.isnan(by_level):
        return float(by_level), True
    return float(frames.probability_NA[at, left] - frames.probability_NA[at, right]), False


def _unalike(difference: float, graded: bool) -> bool:
    return abs(difference) >= (UNALIKE_INTENSITY if graded else UNALIKE_PROBABILITY)  # NaN: no


def _nearest(frames: Frames, time_s: float) -> int:
    return int(np.argmin(np.abs(frames.time_s_N - time_s)))


def _onsets(found: Sequence[Event]) -> list[Cue]:
    """The speed of every onset; which speed is posed nobody's limit tells, so it points nowhere."""
    return [
        Cue(
            "onset",
            (event.au,),
            event.onset_s,
            event.apex_s,
            event.speed,
            "levels a second",
            "",
            f"to level {event.level:.1f}",
        )
        for event in found
        if not np.isnan(event.speed)
    ]


def _micro(found: Sequence[Event], micro: Micro) -> list[Cue]:
    shortest_s, longest_s = LIMITS[micro]

    def brief(event: Event) -> bool:
        if not (event.begins and event.ends):
            return False  # it was longer than what was seen of it
        if micro == "half-second":
            return event.duration_s < longest_s - _EPSILON_S
        return shortest_s - _EPSILON_S <= event.duration_s <= longest_s + _EPSILON_S

    rows = []
    for event in filter(brief, found):
        among = sorted(
            {
                other.au
                for other in found
                if other.onset_s < event.offset_s
                and other.offset_s > event.onset_s
                and not brief(other)
            }
        )
        rows.append(
            Cue(
                "micro",
                (event.au,),
                event.onset_s,
                event.offset_s,
                event.duration_s,
                "seconds",
                "held back",
                f"a candidate; {event.frames} frame{'s' if event.frames > 1 else ''}"
                + (f", among {' '.join(among)}" if among else ""),
            )
        )
    return rows


def _either_side(found: Sequence[Event], number: int, *, sided: bool = False) -> list[Event]:
    """Events of an AU; of its whole and its sides at one time the strongest stands for all."""
    mine = [e for e in found if split_label(e.au)[1] == number and (not sided or e.au[0] in "LR")]
    kept: list[Event] = []
    for event in sorted(mine, key=lambda e: (-e.level, -e.duration_s, e.au)):
        if all(event.offset_s <= k.onset_s or event.onset_s >= k.offset_s for k in kept):
            kept.append(event)
    return sorted(kept, key=lambda e: e.onset_s)


def _expressions(frames: Frames, found: Sequence[Event]) -> list[Event]:
    """Events of the face: no blinks, no gaze, and each AU once where its sides are coded too."""

    def counts(au: str) -> bool:
        side, number = split_label(au)
        twice = bool(side) and str(number) in frames.aus
        return number < _GAZE_AND_HEAD and number not in NO_EXPRESSION and not twice

    return [event for event in found if counts(event.au)]
