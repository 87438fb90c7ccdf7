"""Clips out of a face's run of crops, and answers of clips back onto its frames.

A run is an unbroken row of frames in which one face was seen. It grows at one end, is cut into
clips as soon as they are complete, and forgets what no later clip needs.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxfacs.infer.bundle import InputSpec

_COUNTERS = ("first", "length", "next", "asked", "closed")  # of a run, by name in its state


@dataclass(frozen=True, eq=False)
class Clip:
    """What the network is asked: T crops, and which places of the run its answers are about.

    `answers` holds (index among the clip's answers, place in the run); per-clip networks have one
    answer, index 0.
    """

    run: "Run"
    frames_THWC: np.ndarray
    answers: tuple[tuple[int, int], ...]


class Run:
    """One face over consecutive frames.

    Args:
      spec: what the network reads.
      step: frames between two frames of a clip (the spec's stride at this film's frame rate).
      hop: a per-clip network is asked about every `hop`-th frame, and the frames between get the
        values between; a per-frame network's windows start `hop`·step frames apart.
    """

    def __init__(self, spec: InputSpec, *, step: int, hop: int):
        self._spec, self._step, self._hop = spec, step, hop
        self._span = (spec.frames - 1) * step + 1
        self._crops: deque[np.ndarray] = deque()
        self._first = 0  # the place of the oldest crop that is kept
        self._length = 0
        self._next = 0  # the centre (per clip) or the start (per frame) of the next clip
        self._asked = 0  # places before this one are covered by clips already cut
        self._closed = False
        self._unanswered = 0  # clips that were cut and not answered yet
        self._points: deque[tuple[int, np.ndarray]] = deque()

    @property
    def length(self) -> int:
        return self._length

    def append(self, crop_HWC: np.ndarray) -> None:
        """Adds the crop of the next frame."""
        self._crops.append(crop_HWC)
        self._length += 1

    def close(self) -> None:
        """The face was lost, or the film ended: what is left is cut with the edge repeated."""
        self._closed = True

    def clips(self) -> Iterator[Clip]:
        """Yields the clips that have become complete, in order."""
        for clip in self._frame_clips() if self._spec.per_frame else self._centre_clips():
            self._unanswered += 1
            yield clip
        self._forget()

    def receive(self, clip: Clip, values_KV: np.ndarray) -> None:
        """Takes the network's answers to a clip, K rows of V numbers; clips come in order."""
        self._unanswered -= 1
        self._points.extend((place, values_KV[k]) for k, place in clip.answers)

    def value(self, place: int) -> np.ndarray | None:
        """The answer at a place, between its neighbours by proportion; None: not known yet.

        Places are asked for in order: answers before `place` are forgotten.
        """
        while len(self._points) > 1 and self._points[1][0] <= place:
            self._points.popleft()
        if not self._points:
            return None
        (before, values) = self._points[0]
        if before >= place:  # the place itself, or before the first answer of the run
            return values
        if len(self._points) > 1:
            after, later = self._points[1]
            share = np.float32((place - before) / (after - before))
            return values + share * (later - values)
        complete = self._closed and self._asked >= self._length and not self._unanswered
        return values if complete else None

    def state(self) -> dict[str, Any]:
        """Arrays and JSON values from which `restore` goes on; when no clip waits for its answer.

        Raises:
          ValueError: a clip does.
        """
        if self._unanswered:
            raise ValueError(f"{self._unanswered} clips of this run have no answer yet")
        return {
            **{name: getattr(self, f"_{name}") for name in _COUNTERS},
            "crops_NHWC": np.stack(self._crops) if self._crops else np.zeros((0, 0, 0, 3), "u1"),
            "places_N": np.array([place for place, _ in self._points], np.int64),
            "values_NV": np.stack([v for _, v in self._points]) if self._points else np.zeros(0),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        for name in _COUNTERS:
            setattr(self, f"_{name}", state[name])
        self._crops = deque(np.array(crop) for crop in state["crops_NHWC"])
        self._points = deque(
            (int(place), np.array(values))
            for place, values in zip(state["places_N"], state["values_NV"], strict=True)
        )

    def _centre_clips(self) -> Iterator[Clip]:
        spec, step = self._spec, self._step
        centre_index = spec.answers[0]
        ahead = (spec.frames - 1 - centre_index) * step
        while self._next + ahead < self._length or (self._closed and self._asked < self._length):
            centre = min(self._next, self._length - 1)
            places = centre + step * (np.arange(spec.frames) - centre_index)
            yield Clip(self, self._cut(places), ((0, centre),))
            self._asked, self._next = centre + 1, centre + self._hop

    def _frame_clips(self) -> Iterator[Clip]:
        """Windows overlap; each answers for its middle, the first and last also for their ends."""
        step, span = self._step, self._span
        hop = self._hop * step
        lead = max(0, (span - hop) // 2)
        while self._next + span <= self._length:
            yield self._frame_clip(self._next, self._next + lead + hop)
            self._next += hop
        if self._closed and self._asked < self._length:
            yield self._frame_clip(max(0, self._length - span), self._length)

    def _frame_clip(self, start: int, end: int) -> Clip:
        end = min(end, self._length)
        answers: list[tuple[int, int]] = []
        for index, frame in enumerate(self._spec.answers):
            place = start + self._step * frame
            if place >= self._length:  # a run shorter than the clip: one answer for its end
                place = self._length - 1
            if self._asked <= place < end and (not answers or place > answers[-1][1]):
                answers.append((index, place))
        self._asked = max(self._asked, end)
        places_T = start + self._step * np.arange(self._spec.frames)
        return Clip(self, self._cut(places_T), tuple(answers))

    def _cut(self, places_T: np.ndarray) -> np.ndarray:
        inside_T = np.clip(places_T, 0, self._length - 1) - self._first
        return np.stack([self._crops[int(i)] for i in inside_T])

    def _forget(self) -> None:
        if self._spec.per_frame:
            needed = min(self._next, max(0, self._length - self._span))
        else:
            needed = max(0, self._next - self._spec.answers[0] * self._step)
            # A closing run asks about its last frame, which may lie before the next centre.
            needed = min(needed, max(0, self._length - 1 - self._spec.answers[0] * self._step))
        while self._first < needed and len(self._crops) > 1:
            self._crops.popleft()
            self._first += 1
