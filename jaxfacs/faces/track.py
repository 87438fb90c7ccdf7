"""Following faces from frame to frame: stable ids, steady boxes, short gaps bridged."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from jaxfacs.faces.crop import crop
from jaxfacs.faces.detect import Detector, Face, largest_first, overlap

_MIN_OVERLAP = 0.25  # intersection over union of a face with its box one frame ago
# The same face must look alike: correlation of 24×24 grey crops whose mean and contrast are
# removed. Across expressions of one person it stays above 0.75; a cut to another scene gives < 0.5.
_SAME_PLACE_LIKENESS = 0.6
_RETURN_LIKENESS = 0.8
_RETURN_COLOUR = 0.6
_LIKENESS_PX = 24


@dataclass
class _Track:
    id: int
    face: Face  # with the smoothed box
    look: np.ndarray  # _LIKENESS_PX² grey, zero mean, unit norm
    colour: np.ndarray  # hue-saturation histogram, unit sum
    last_seen: int


class Tracker:
    """Gives every face an id that stays with it.

    A face keeps its id while its box overlaps the one before (or is the only one near it), over
    gaps of `max_gap` frames where the picture at its place still looks like it (those faces are
    reported with falling confidence, at most 0.5), and when it returns within `memory` frames and
    looks like the one that left. That is likeness, not recognition: two people who look alike and
    take turns may share an id.

    Boxes are smoothed causally: small shifts are the detector's jitter and are damped, large ones
    are motion and are followed.
    """

    def __init__(self, *, max_gap: int = 8, memory: int = 250):
        self._max_gap = max_gap
        self._memory = memory
        self._frame_index = -1
        self._next_id = 0
        self._active: list[_Track] = []
        self._lost: list[_Track] = []

    def boxes(self) -> list[np.ndarray]:
        """Where the followed faces were last, float32 (x, y, w, h) each."""
        return [t.face.box_4 for t in self._active]

    def update(self, faces: Sequence[Face], frame_HWC: np.ndarray) -> list[tuple[int, Face]]:
        """The faces of the next frame with their ids, largest first.

        Args:
          faces: what a detector found in this frame.
          frame_HWC: the frame, uint8 RGB; faces that the detector missed are looked for in it.
        """
        self._frame_index += 1
        free = list(faces)
        for track, face in self._matches(free):
            free = [f for f in free if f is not face]
            steady = replace(face, box_4=_smoothed(track.face.box_4, face.box_4))
            self._see(track, steady, frame_HWC)
        for face in free:
            self._open(face, frame_HWC)
        shown = []
        for track in list(self._active):
            face = self._shown(track, frame_HWC)
            if face is None:
                self._active.remove(track)
                self._lost.append(track)
            else:
                shown.append((track.id, face))
        oldest = self._frame_index - self._memory
        self._lost = [t for t in self._lost if t.last_seen >= oldest]
        order = {id(f): k for k, f in enumerate(largest_first([f for _, f in shown]))}
        return sorted(shown, key=lambda item: order[id(item[1])])

    def _matches(self, faces: Sequence[Face]) -> list[tuple[_Track, Face]]:
        """Pairs of followed and found faces, the best overlap first."""
        scored = []
        for track in self._active:
            for face in faces:
                score = overlap(track.face.box_4, face.box_4)
                if score >= _MIN_OVERLAP:
                    scored.append((score, track, face))
        pairs, taken = [], set()
        for _, track, face in sorted(scored, key=lambda item: (-item[0], item[1].id)):
            if not taken & {id(track), id(face)}:
                taken |= {id(track), id(face)}
                pairs.append((track, face))
        return pairs

    def _see(self, track: _Track, face: Face, frame_HWC: np.ndarray) -> None:
        track.face = face
        track.look, track.colour = _appearance(frame_HWC, face.box_4)
        track.last_seen = self._frame_index

    def _open(self, face: Face, frame_HWC: np.ndarray) -> None:
        look, colour = _appearance(frame_HWC, face.box_4)
        # A face that jumped (fast motion, dropped frames) is still active, one that left is lost.
        unseen = [t for t in self._active if t.last_seen < self._frame_index]
        best, best_likeness = None, _RETURN_LIKENESS
        for track in self._lost + unseen:
            likeness = float(np.vdot(track.look, look))
            colours = float(np.minimum(track.colour, colour).sum())
            if likeness >= best_likeness and colours >= _RETURN_COLOUR:
                best, best_likeness = track, likeness
        if best is None:
            best = _Track(self._next_id, face, look, colour, self._frame_index)
            self._next_id += 1
        else:
            best.face, best.look, best.colour = face, look, colour
            best.last_seen = self._frame_index
        self._lost = [t for t in self._lost if t is not best]
        if best not in self._active:
            self._active.append(best)

    def _shown(self, track: _Track, frame_HWC: np.ndarray) -> Face | None:
        missed = self._frame_index - track.last_seen
        if missed == 0:
            return track.face
        if missed > self._max_gap:
            return None
        look, _ = _appearance(frame_HWC, track.face.box_4)
        if float(np.vdot(track.look, look)) < _SAME_PLACE_LIKENESS:
            return None
        confidence = min(0.5, track.face.confidence) * 0.9**missed
        return Face(track.face.box_4, confidence, track.face.landmarks_5x2)


def follow(
    frames: Iterable[np.ndarray],
    detector: Detector,
    *,
    search_every: int = 8,
    max_gap: int = 8,
    memory: int = 250,
) -> Iterator[list[tuple[int, Face]]]:
    """The faces of every frame with stable ids, largest first; frame by frame, constant memory.

    Faces that are followed are searched around their last box only; the whole frame is searched
    every `search_every` frames, and in every frame while a face is missing. So somebody who joins
    others is noticed up to `search_every` - 1 frames late.
    """
    step = follower(detector, search_every=search_every, max_gap=max_gap, memory=memory)
    for frame in frames:
        yield step(frame)


def follower(detector: Detector, *, search_every: int = 8, max_gap: int = 8, memory: int = 250):
    """`follow` for callers who push: a function from the next frame to its (id, face) list."""
    tracker = Tracker(max_gap=max_gap, memory=memory)
    since_search = search_every

    def step(frame_HWC: np.ndarray) -> list[tuple[int, Face]]:
        nonlocal since_search
        near = tracker.boxes()
        faces = detector(frame_HWC, near) if near else []
        since_search += 1
        if since_search >= search_every or len(faces) < max(1, len(near)):
            since_search = 0
            known = [f.box_4 for f in faces]
            faces = faces + [
                f
                for f in detector(frame_HWC)
                if all(overlap(f.box_4, box) < _MIN_OVERLAP for box in known)
            ]
        return tracker.update(faces, frame_HWC)

    return step


def _smoothed(before_4: np.ndarray, now_4: np.ndarray) -> np.ndarray:
    """A step from the box before towards the box now: 30 % for jitter, all of it for motion.

    The Haar cascade's boxes of a still face jitter by 2-4 % of their side; a shift of a fifth of
    the side is believed at once.
    """
    shift = float(np.abs(now_4 - before_4).max() / max(float(before_4[2]), 1.0))
    weight = np.float32(min(1.0, 0.3 + 0.7 * (shift / 0.2) ** 2))
    return before_4 + weight * (now_4 - before_4)


def _appearance(frame_HWC: np.ndarray, box_4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    patch = crop(frame_HWC, box_4, size=_LIKENESS_PX, margin=0.0)
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey -= grey.mean()
    hsv = cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)
    colour = cv2.calcHist([hsv], [0, 1], None, [12, 8], [0, 180, 0, 256])
    return grey / max(float(np.linalg.norm(grey)), 1e-6), colour / colour.sum()
