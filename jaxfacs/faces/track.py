"""Following faces from frame to frame: stable ids, steady boxes, short gaps bridged.

Detecting is dear, so it is done in a few frames; in those between, a face moves along with its
picture (`drift`), and is detected at once where the picture no longer looks like it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from jaxfacs.faces import drift, looks
from jaxfacs.faces.detect import SHARED, Detector, Face, largest_first, overlap, shared
from jaxfacs.faces.drift import Anchor
from jaxfacs.faces.pairs import best_pairs

EVERY = 4  # frames from one detection of a followed face to the next
# Frames from one search of the whole frame to the next, by the detector's price.
_SEARCH_EVERY = {"haar": 24, "yunet": 16}

_MIN_OVERLAP = 0.25  # intersection over union of a face with its box, moved to this frame
# Correlation of a face's picture with that of its last detection. Across expressions of one person
# it stays above 0.75; a cut to another scene gives < 0.5.
_SAME_PLACE = 0.6
_STEADY = 0.8  # below it the face is detected again
# Of `looks.alikeness`. A face found where another one was, whose picture did not lead there, must
# look like it at least so much (half hidden faces look little like themselves), and so must one
# that comes out from behind another. One that comes back: so much near the place where it just was,
# so much anywhere, or after a cut.
_SAME_LOOK = 0.65
_RETURN_LOOK_NEAR, _RETURN_LOOK = 0.85, 1.08
_NEW_VIEW = 1.15  # a look less like the known ones is kept as another view of the person
_VIEWS = 8
_SAME_FACE = 0.5  # overlap of two detections of one face
_BESIDE = 0.02  # a face lost where it overlaps a found one so much may be behind it
_HIDDEN = 0.4  # a face missed under a found one's box, overlapping it so much, is behind it
_MOST_LOST = 100
_SOON, _NEAR = 48, 3.0  # frames, and sides of the face
# How far a box or landmark, in sides of the face, may lie from where it moved to, before it is
# believed at once.
_BOX_JUMP, _POINT_JUMP = 0.2, 0.08

# Of a small copy of the frame, 0 to 255.
_THUMB = (32, 18)
_CUT = 25.0  # mean change from one frame to the next
_CHANGE = 8.0  # of one pixel, since the whole frame was searched
_IDLE, _IDLE_STILL = 2, 8  # frames between searches without a face: in a changing, a still picture


@dataclass
class _Track:
    id: int
    anchor: Anchor  # where it is now
    views_KD: np.ndarray
    last_seen: int  # frame in which it was last detected, or moved along from there
    likeness: float = 1.0  # of its picture to that of its last detection
    hidden: bool = False  # it was lost beside another face, perhaps behind it

    @property
    def face(self) -> Face:
        return drift.face_of(self.anchor)


class Tracker:
    """Gives every face an id that stays with it.

    Faces move along with their picture. A found face gets the id whose box, moved to this frame,
    and whose looks fit it best, all pairs weighed together. A face keeps its id over gaps of
    `max_gap` frames where the picture still looks like it (those faces are reported with falling
    confidence, at most 0.5), and when it returns within `memory` frames and looks like one of the
    views of it that were seen. That is likeness, not recognition: two people who look alike and
    take turns may share an id.

    Boxes and landmarks are smoothed causally along the motion: small differences are the
    detector's jitter and are damped, large ones are believed.
    """

    def __init__(self, *, max_gap: int = 8, memory: int = 250):
        self._max_gap = max_gap
        self._memory = memory
        self._frame_index = -1
        self._next_id = 0
        self._active: list[_Track] = []
        self._lost: list[_Track] = []
        self._moved = False

    def boxes(self) -> list[np.ndarray]:
        """Where the followed faces are, float32 (x, y, w, h) each."""
        return [t.face.box_4 for t in self._active]

    def expects(self) -> bool:
        """Whether somebody is behind another face, and may come out any time."""
        return any(self._is_hidden(track) for track in self._lost)

    def move(self, frame_HWC: np.ndarray) -> bool:
        """Moves the followed faces to the next frame; whether all are surely still there."""
        self._frame_index += 1
        self._moved = True
        steady = True
        for track in self._active:
            track.anchor, track.likeness = drift.moved(track.anchor, frame_HWC)
            sure = track.likeness >= _STEADY and track.last_seen == self._frame_index - 1
            steady &= sure and _mostly_inside(track.face.box_4, frame_HWC)
        return steady

    def carry(self) -> list[tuple[int, Face]]:
        """The faces of the frame they were moved to, without a detection; as `update`."""
        self._moved = False
        for track in self._active:
            track.last_seen = self._frame_index
        return _largest_first([(t.id, t.face) for t in self._active])

    def update(
        self, faces: Sequence[Face], frame_HWC: np.ndarray, *, cut: bool = False
    ) -> list[tuple[int, Face]]:
        """The faces of the next frame (or of the one moved to) with their ids, largest first.

        Args:
          faces: what a detector found in this frame.
          frame_HWC: the frame, uint8 RGB; faces that the detector missed are looked for in it.
          cut: it shows another scene than the frame before: places tell nothing.
        """
        if not self._moved:
            self.move(frame_HWC)
        self._moved = False
        looks_N = [looks.look(frame_HWC, face.box_4) for face in faces]
        free = set(range(len(faces)))
        for track, n in self._matches(faces, looks_N, cut=cut):
            alone = all(overlap(f.box_4, faces[n].box_4) < 0.1 for f in faces if f is not faces[n])
            self._see(track, faces[n], looks_N[n] if alone else None, frame_HWC)
            free.remove(n)
        self._open([(faces[n], looks_N[n]) for n in sorted(free)], frame_HWC)
        shown = []
        found = [t.face.box_4 for t in self._active if t.last_seen == self._frame_index]
        for track in list(self._active):
            face = self._shown(track, found)
            if face is None:
                self._active.remove(track)
                track.hidden = not cut and self._beside(track, found)
                self._lost.append(track)
            else:
                shown.append((track.id, face))
        oldest = self._frame_index - self._memory
        self._lost = [t for t in self._lost if t.last_seen >= oldest][-_MOST_LOST:]
        return _largest_first(shown)

    def state(self) -> dict[str, Any]:
        """All it knows, as numbers and arrays; `restore` goes on from it exactly."""
        state: dict[str, Any] = {
            "frame_index": self._frame_index,
            "next_id": self._next_id,
            "active": len(self._active),
            "lost": len(self._lost),
        }
        for k, track in enumerate(self._active + self._lost):
            anchor = track.anchor
            points = anchor.face.landmarks_5x2
            places = [anchor.turn.real, anchor.turn.imag, anchor.shift.real, anchor.shift.imag]
            state |= {
                f"{k}.id": track.id,
                f"{k}.last_seen": track.last_seen,
                f"{k}.hidden": track.hidden,
                f"{k}.numbers": np.array([track.likeness, anchor.face.confidence, *places]),
                f"{k}.box": anchor.face.box_4,
                f"{k}.points": np.zeros((0, 2), np.float32) if points is None else points,
                f"{k}.patch": anchor.patch,
                f"{k}.views": track.views_KD,
            }
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self._frame_index, self._next_id = int(state["frame_index"]), int(state["next_id"])
        self._moved = False
        tracks = []
        for k in range(int(state["active"]) + int(state["lost"])):
            likeness, confidence, *turn = (float(v) for v in state[f"{k}.numbers"])
            points = np.asarray(state[f"{k}.points"], np.float32)
            box = np.asarray(state[f"{k}.box"], np.float32)
            face = Face(box, confidence, points if len(points) else None)
            anchor = Anchor(
                face,
                np.asarray(state[f"{k}.patch"], np.uint8),
                complex(*turn[:2]),
                complex(*turn[2:]),
            )
            views = np.asarray(state[f"{k}.views"], np.float32)
            last_seen = int(state[f"{k}.last_seen"])
            number, hidden = int(state[f"{k}.id"]), bool(state[f"{k}.hidden"])
            tracks.append(_Track(number, anchor, views, last_seen, likeness, hidden))
        self._active = tracks[: int(state["active"])]
        self._lost = tracks[int(state["active"]) :]

    def _matches(
        self, faces: Sequence[Face], looks_N: Sequence[np.ndarray], *, cut: bool
    ) -> list[tuple[_Track, int]]:
        """Pairs of followed and found faces."""
        enough = _RETURN_LOOK if cut else _SAME_LOOK
        score = np.zeros((len(self._active), len(faces)))
        for m, track in enumerate(self._active):
            box = track.face.box_4
            for n, (face, look) in enumerate(zip(faces, looks_N, strict=True)):
                near = overlap(box, face.box_4)
                if near < _MIN_OVERLAP:
                    continue
                alike = looks.alikeness(track.views_KD, look)
                if (track.likeness >= _SAME_PLACE and not cut) or alike >= enough:
                    score[m, n] = near + alike / looks.MOST
        return [(self._active[m], n) for m, n in best_pairs(score, 0.0)]

    def _see(
        self, track: _Track, face: Face, look_D: np.ndarray | None, frame_HWC: np.ndarray
    ) -> None:
        """Takes a found face for the followed one; `look_D` is kept if it is a new view."""
        led = track.likeness >= _SAME_PLACE
        track.anchor = drift.anchored(frame_HWC, _smoothed(track.face, face, led=led))
        track.last_seen, track.likeness = self._frame_index, 1.0
        if look_D is not None and looks.alikeness(track.views_KD, look_D) < _NEW_VIEW:
            track.views_KD = np.concatenate([track.views_KD, look_D[None]])
            if len(track.views_KD) > _VIEWS:  # the first is kept: it was seen for what it is
                track.views_KD = np.delete(track.views_KD, 1, 0)

    def _open(self, found: Sequence[tuple[Face, np.ndarray]], frame_HWC: np.ndarray) -> None:
        """Gives faces that nobody was followed to the id of one who left, or a new one."""
        # A face that jumped (fast motion, dropped frames) is still active, one that left is lost.
        known = self._lost + [t for t in self._active if t.last_seen < self._frame_index]
        score = np.array(
            [
                [
                    looks.alikeness(t.views_KD, look) - self._return_look(t, face)
                    for face, look in found
                ]
                for t in known
            ]
        ).reshape(len(known), len(found))
        returned = {n: known[m] for m, n in best_pairs(score, 0.0)}
        for n, (face, look) in enumerate(found):
            anchor = drift.anchored(frame_HWC, face)
            track = returned.get(n)
            if track is None:
                track = _Track(self._next_id, anchor, look[None], self._frame_index)
                self._next_id += 1
            track.anchor, track.last_seen, track.likeness = anchor, self._frame_index, 1.0
            self._lost = [t for t in self._lost if t is not track]
            if all(t is not track for t in self._active):
                self._active.append(track)

    def _return_look(self, track: _Track, face: Face) -> float:
        """How much a face must look like one who left to be that one."""
        before, now = track.face.box_4, face.box_4
        apart = np.linalg.norm(before[:2] + before[2:] / 2 - now[:2] - now[2:] / 2)
        if not self._is_hidden(track) or apart > _NEAR * before[2]:
            return _RETURN_LOOK
        found = [t.face.box_4 for t in self._active if t.last_seen == self._frame_index]
        half_out = any(overlap(now, box) > _BESIDE for box in found)
        return _SAME_LOOK if half_out else _RETURN_LOOK_NEAR

    def _is_hidden(self, track: _Track) -> bool:
        return track.hidden and track.last_seen >= self._frame_index - _SOON

    @staticmethod
    def _beside(track: _Track, found: Sequence[np.ndarray]) -> bool:
        return any(overlap(track.face.box_4, box) > _BESIDE for box in found)

    def _shown(self, track: _Track, found: Sequence[np.ndarray]) -> Face | None:
        missed, face = self._frame_index - track.last_seen, track.face
        if missed == 0:
            return face
        if missed > self._max_gap or track.likeness < _SAME_PLACE:
            return None
        if any(overlap(face.box_4, box) > _HIDDEN for box in found):
            return None
        return Face(face.box_4, min(0.5, face.confidence) * 0.9**missed, face.landmarks_5x2)


class Follower:
    """`follow` for callers who push: called with the next frame, gives its (id, face) list."""

    def __init__(
        self,
        detector: Detector,
        *,
        every: int = EVERY,
        search_every: int | None = None,
        max_gap: int = 8,
        memory: int = 250,
    ):
        if every < 1:
            raise ValueError(f"every is {every}; 1 or more frames lie between detections")
        self._detector = detector
        self._every = every
        self._search_every = search_every or _SEARCH_EVERY.get(detector.name, 16)
        self._tracker = Tracker(max_gap=max_gap, memory=memory)
        self._since_near = self._since_search = 1 << 20
        self._thumb: np.ndarray | None = None
        self._searched_thumb: np.ndarray | None = None

    def __call__(self, frame_HWC: np.ndarray) -> list[tuple[int, Face]]:
        tracker = self._tracker
        steady = tracker.move(frame_HWC)
        cut, changed = self._changes(frame_HWC)
        near = tracker.boxes()
        self._since_near += 1
        self._since_search += 1
        search = cut or self._since_search >= self._search_every
        if near and not search and steady and self._since_near < self._every:
            return tracker.carry()
        faces: list[Face] = []
        if near:
            faces = _each_once(self._detector(frame_HWC, near))
            self._since_near = 0
            search |= len(faces) < len(near) and self._since_search >= self._every
            search |= tracker.expects() and self._since_search >= 2 * self._every
        else:
            search |= self._since_search >= (_IDLE if changed else _IDLE_STILL)
        if search:
            faces = faces + self._others(frame_HWC, faces)
        return tracker.update(faces, frame_HWC, cut=cut)

    def state(self) -> dict[str, Any]:
        """All it knows of the frames so far, as numbers and arrays."""
        none = np.zeros((0, 0, 3), np.float32)
        return {
            "since_near": self._since_near,
            "since_search": self._since_search,
            "thumb": none if self._thumb is None else self._thumb,
            "searched_thumb": none if self._searched_thumb is None else self._searched_thumb,
        } | {f"tracker.{name}": value for name, value in self._tracker.state().items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave; the detector and the settings must be the same."""
        self._since_near, self._since_search = int(state["since_near"]), int(state["since_search"])
        thumbs = (np.asarray(state[name], np.float32) for name in ("thumb", "searched_thumb"))
        self._thumb, self._searched_thumb = (t if t.size else None for t in thumbs)
        inner = {
            k.removeprefix("tracker."): v for k, v in state.items() if k.startswith("tracker.")
        }
        self._tracker.restore(inner)

    def _others(self, frame_HWC: np.ndarray, faces: Sequence[Face]) -> list[Face]:
        self._since_search, self._searched_thumb = 0, self._thumb
        known = [f.box_4 for f in faces]
        found = self._detector(_without(frame_HWC, known))
        return [f for f in found if all(shared(f.box_4, box) <= SHARED for box in known)]

    def _changes(self, frame_HWC: np.ndarray) -> tuple[bool, bool]:
        """Whether the scene was cut, and whether anything changed since the last search."""
        before, self._thumb = self._thumb, _thumbnail(frame_HWC)
        if before is None or self._searched_thumb is None:
            return True, True
        cut = float(np.abs(self._thumb - before).mean()) > _CUT
        return cut, float(np.abs(self._thumb - self._searched_thumb).max()) > _CHANGE


def follow(
    frames: Iterable[np.ndarray],
    detector: Detector,
    *,
    every: int = EVERY,
    search_every: int | None = None,
    max_gap: int = 8,
    memory: int = 250,
) -> Iterator[list[tuple[int, Face]]]:
    """The faces of every frame with stable ids, largest first; frame by frame, constant memory.

    Args:
      every: a followed face is detected around its last box in each `every`-th frame, and at once
        where its picture changed; between, it moves along with its picture.
      search_every: the whole frame is searched so often, at a cut of the scene, and while a face is
        missing; so somebody who joins others is noticed up to so many frames late. None: as the
        detector's price suggests.
      max_gap: frames over which a face that is not detected is still reported.
      memory: frames for which a face that left is remembered.
    """
    step = follower(
        detector, every=every, search_every=search_every, max_gap=max_gap, memory=memory
    )
    for frame in frames:
        yield step(frame)


def follower(
    detector: Detector,
    *,
    every: int = EVERY,
    search_every: int | None = None,
    max_gap: int = 8,
    memory: int = 250,
) -> Follower:
    """A `Follower`; arguments as of `follow`."""
    return Follower(
        detector, every=every, search_every=search_every, max_gap=max_gap, memory=memory
    )


def _smoothed(before: Face, now: Face, *, led: bool) -> Face:
    """A step from the face moved along towards the one found: 30 % for jitter, all for motion.

    The Haar cascade's boxes of a still face jitter by 2-4 % of their side, YuNet's landmarks by
    1-2 %. Where its picture did not lead there (`led`), the landmarks found count.
    """
    side = max(float(before.box_4[2]), 1.0)
    box = _step(before.box_4, now.box_4, _BOX_JUMP * side)
    points = now.landmarks_5x2
    if points is not None and before.landmarks_5x2 is not None and led:
        points = _step(before.landmarks_5x2, points, _POINT_JUMP * side)
    return Face(box, now.confidence, points)


def _step(before: np.ndarray, now: np.ndarray, jump: float) -> np.ndarray:
    shift = float(np.abs(now - before).max()) / jump
    weight = np.float32(min(1.0, 0.3 + 0.7 * shift**2))
    return before + weight * (now - before)


def _each_once(faces: Sequence[Face]) -> list[Face]:
    """Two searches close to each other may find the same face."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.confidence):
        if all(overlap(face.box_4, k.box_4) < _SAME_FACE for k in kept):
            kept.append(face)
    return largest_first(kept)


def _without(frame_HWC: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """The frame with grey squares for faces: the Haar cascade takes most of its time for them."""
    if not boxes:
        return frame_HWC
    frame_HWC = frame_HWC.copy()
    for x, y, w, h in (np.round(box).astype(int) for box in boxes):
        frame_HWC[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 128
    return frame_HWC


def _mostly_inside(box_4: np.ndarray, frame_HWC: np.ndarray) -> bool:
    size = np.array(frame_HWC.shape[1::-1])
    low, high = np.maximum(box_4[:2], 0), np.minimum(box_4[:2] + box_4[2:], size)
    shown = np.maximum(high - low, 0).prod()
    return bool(shown >= 0.8 * box_4[2:].prod())


def _largest_first(shown: Sequence[tuple[int, Face]]) -> list[tuple[int, Face]]:
    order = {id(f): k for k, f in enumerate(largest_first([f for _, f in shown]))}
    return sorted(shown, key=lambda item: order[id(item[1])])


def _thumbnail(frame_HWC: np.ndarray) -> np.ndarray:
    step = max(1, min(frame_HWC.shape[:2]) // 90)
    part = np.ascontiguousarray(frame_HWC[::step, ::step])
    return cv2.resize(part, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
