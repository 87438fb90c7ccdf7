"""Smoothing over time, of one face from where it appears to where it is lost: off by default.

Offline a frame is averaged with those before and after it alike (zero phase: an apex stays in its
frame); live only with those before, which comes late by about the standard deviation. Times are the
frames' own, so that dropped frames and a varying rate do not shift anything.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxfacs.infer.results import RawFace, RawFrame
from jaxfacs.infer.waiting import pack, unpack

LONGEST_S = 60.0
REACH = 3.0  # standard deviations, beyond which the kernel is 0
MOST = 1000  # frames on each side, for films whose times are too near to each other


class ZeroPhase:
    """A Gaussian over the frames before and after, of an unbroken run of the face.

    Its standard deviation is `smooth_s` / 2; it ends at 3 of them, and at the ends of the run,
    where the weights that are left are scaled to sum to 1. A result waits for 1.5 · `smooth_s`
    seconds of film.
    """

    def __init__(self, smooth_s: float):
        self._deviation_s = smooth_s / 2
        self._reach_s = REACH * self._deviation_s
        self._past: deque[RawFrame] = deque(maxlen=MOST)
        self._waiting: deque[RawFrame] = deque()

    def push(self, frames: Sequence[RawFrame]) -> list[RawFrame]:
        """Takes the next frames; returns those that are known to have no more neighbours."""
        ready = []
        for frame in frames:
            self._waiting.append(frame)
            while self._complete(frame.timestamp):
                ready.append(self._next())
        return ready

    def finish(self) -> list[RawFrame]:
        """Returns all frames that are left."""
        return [self._next() for _ in range(len(self._waiting))]

    def state(self) -> dict[str, Any]:
        """See `Answers.state`."""
        return pack(self._past, "past") | pack(self._waiting, "waiting")

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Answers.restore`."""
        self._past = deque(unpack(state, "past"), maxlen=MOST)
        self._waiting = deque(unpack(state, "waiting"))

    def _complete(self, newest_s: float) -> bool:
        oldest_s = self._waiting[0].timestamp if self._waiting else math.inf
        return newest_s > oldest_s + self._reach_s or len(self._waiting) > MOST

    def _next(self) -> RawFrame:
        frame = self._waiting.popleft()
        while self._past and self._past[0].timestamp < frame.timestamp - self._reach_s:
            self._past.popleft()
        smooth = replace(frame, faces=tuple(self._smoothed(frame, raw) for raw in frame.faces))
        self._past.append(frame)
        return smooth

    def _smoothed(self, frame: RawFrame, raw: RawFace) -> RawFace:
        time_s = frame.timestamp
        before = self._run(reversed(self._past), raw.face_id, time_s, -1)
        after = self._run(iter(self._waiting), raw.face_id, time_s, 1)
        away_K = np.array([*(t for t, _ in before), 0.0, *(t for t, _ in after)])
        values_KV = np.stack([*(v for _, v in before), raw.values_V, *(v for _, v in after)])
        weight_K = np.exp(-0.5 * (away_K / self._deviation_s) ** 2)
        return replace(raw, values_V=(weight_K / weight_K.sum()) @ values_KV)

    def _run(self, frames, face_id: int, time_s: float, sign: int) -> list[tuple[float, Any]]:
        """(seconds away, values) from the face's next neighbour on, until a frame is without it."""
        found, last_s = [], 0.0
        for frame in frames:
            away_s = sign * (frame.timestamp - time_s)
            values = next((f.values_V for f in frame.faces if f.face_id == face_id), None)
            if values is None or away_s <= last_s or away_s > self._reach_s or len(found) == MOST:
                break
            found.append((away_s, values))
            last_s = away_s
        return found


class Causal:
    """An exponential average over the frames before, of an unbroken run of the face.

    Its time constant is `smooth_s` / 2, which is its standard deviation as well: of two frames dt
    seconds apart the later one moves the average by 1 − exp(−dt / constant) of the way.
    """

    def __init__(self, smooth_s: float):
        self._constant_s = smooth_s / 2
        self._time_s = -math.inf
        self._values: dict[int, np.ndarray] = {}  # of the faces of the frame before

    def push(self, frames: Sequence[RawFrame]) -> list[RawFrame]:
        """Takes the next frames; returns each smoothed."""
        return [self._next(frame) for frame in frames]

    def finish(self) -> list[RawFrame]:
        """Returns nothing: no frame waits."""
        return []

    def state(self) -> dict[str, Any]:
        """See `Answers.state`."""
        return {
            "time_s": np.array([self._time_s]),
            "face_id_N": np.array(list(self._values), np.int64),
            "values_NV": np.stack(list(self._values.values()))
            if self._values
            else np.zeros((0, 0)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Answers.restore`."""
        self._time_s = float(np.asarray(state["time_s"])[0])
        ids = np.asarray(state["face_id_N"]).tolist()
        self._values = dict(zip(ids, np.asarray(state["values_NV"]), strict=True))

    def _next(self, frame: RawFrame) -> RawFrame:
        passed_s = frame.timestamp - self._time_s
        share = -math.expm1(-passed_s / self._constant_s) if 0 < passed_s < math.inf else 1.0
        faces = []
        for raw in frame.faces:
            before = self._values.get(raw.face_id, raw.values_V)
            faces.append(replace(raw, values_V=before + share * (raw.values_V - before)))
        self._time_s = frame.timestamp
        self._values = {raw.face_id: raw.values_V for raw in faces}
        return replace(frame, faces=tuple(faces))


def smoother(smooth_s: float, *, causal: bool) -> ZeroPhase | Causal:
    """What smooths over `smooth_s` seconds, more than 0."""
    return Causal(smooth_s) if causal else ZeroPhase(smooth_s)
