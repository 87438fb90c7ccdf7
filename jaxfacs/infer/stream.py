"""Frames in, answers out, in the order of the frames: whatever the network's clips look like."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jaxfacs.faces.detect import Face
from jaxfacs.infer.answers import Answers
from jaxfacs.infer.batches import Batches
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.crop_spec import CropSpec
from jaxfacs.infer.results import FrameResult, RawFace, RawFrame
from jaxfacs.infer.windows import Clip, Run


class Seen(NamedTuple):
    """A frame whose faces were found and cut out; `faces` holds (id, face, crop_HWC)."""

    number: int
    timestamp: float
    readable: bool
    faces: tuple[tuple[int, Face, np.ndarray], ...] = ()


@dataclass(eq=False)
class _Waiting:
    frame: int
    timestamp: float
    readable: bool
    faces: list[tuple[int, Face, Run, int]] = field(default_factory=list)  # id, face, run, place


class Stream:
    """Takes the frames of one film one by one and gives each one's result once it is known.

    A result waits for the clips that its faces are in, and those for a batch; so it comes some
    frames later (at most about `2·batch·hop` and a clip). Memory does not grow with the film: the
    crops of open clips are kept, frames are not.

    `push` and `finish` are all that one film needs. Where several films share their batches, one
    thread may `look` at a film's frames while another one does the rest: `add`, `take`, and in the
    end `close`, `take` until `unanswered` is 0, `last`.

    Args:
      batches: where clips go, and answers come from; its own, or shared with other films.
      follow: gives the (id, face) list of a frame.
      crop: cuts a face.
      answers: makes results of what the network answered, frame after frame.
      spec: what the network reads.
      step, hop: see `windows.Run`.
      still: frames have nothing to do with each other.
    """

    def __init__(
        self,
        *,
        batches: Batches,
        follow: Callable[[np.ndarray], list[tuple[int, Face]]],
        crop: CropSpec,
        answers: Answers,
        spec: InputSpec,
        step: int = 1,
        hop: int = 1,
        still: bool = False,
    ):
        self._batches, self._follow, self._crop = batches, follow, crop
        self._answers, self._spec = answers, spec
        self._step, self._hop, self._still = step, hop, still
        self.patience = 2 * batches.size * hop + spec.frames * step
        self.unanswered = 0  # clips that the network was or will be asked about
        self._number = 0
        self._runs: dict[int, Run] = {}
        self._waiting: deque[_Waiting] = deque()

    def push(
        self, frame_HWC: np.ndarray | None, timestamp: float, number: int | None = None
    ) -> Iterator[FrameResult]:
        """Takes the next frame (None: it did not decode); yields the results that became ready.

        `number` is the frame's in its film, from 1; None: one more than that of the one before.
        """
        self.add(self.look(frame_HWC, timestamp, number))
        yield from self.take()

    def finish(self) -> Iterator[FrameResult]:
        """Yields the results of all frames that are left."""
        self.close()
        self._batches.flush()
        self._batches.settle()
        yield from self.take()
        yield from self.last()

    def look(
        self, frame_HWC: np.ndarray | None, timestamp: float, number: int | None = None
    ) -> Seen:
        """Finds and cuts out the faces of the next frame; the rest of the stream is not touched."""
        self._number = self._number + 1 if number is None else number
        if frame_HWC is None:
            return Seen(self._number, timestamp, False)
        faces = tuple(
            (face_id, face, self._crop(frame_HWC, face.box_4, face.landmarks_5x2))
            for face_id, face in self._follow(frame_HWC)
        )
        return Seen(self._number, timestamp, True, faces)

    def add(self, seen: Seen) -> None:
        """Takes a frame that was looked at."""
        waiting = _Waiting(seen.number, seen.timestamp, seen.readable)
        self._waiting.append(waiting)
        if seen.readable:
            self._add_faces(seen, waiting)
        if len(self._waiting) > self.patience:
            self._batches.flush()
            self._batches.settle()

    def take(self) -> Iterator[FrameResult]:
        """Yields the results that became ready."""
        ready: list[RawFrame] = []
        while self._waiting:
            oldest = self._waiting[0]
            values = [run.value(place) for _, _, run, place in oldest.faces]
            known = [v for v in values if v is not None]
            if len(known) < len(values):
                break
            self._waiting.popleft()
            faces = tuple(
                RawFace(face_id, face, value)
                for (face_id, face, _, _), value in zip(oldest.faces, known, strict=True)
            )
            ready.append(RawFrame(oldest.frame, oldest.timestamp, faces, oldest.readable))
        yield from self._answers.push(ready)

    def close(self) -> None:
        """No frame will come any more."""
        for run in self._runs.values():
            self._close(run)
        self._runs = {}

    def last(self) -> Iterator[FrameResult]:
        """Yields what `take` held back; the stream is closed and every clip is answered."""
        yield from self._answers.finish()

    def state(self) -> dict[str, Any]:
        """Arrays and JSON values from which `restore` goes on; when no clip waits for its answer.

        Of what `look` has done nothing is in it: see `follow_state`.
        """
        runs = list(self._runs.values())
        places = {id(run): k for k, run in enumerate(runs)}
        for run in (run for waiting in self._waiting for _, _, run, _ in waiting.faces):
            if places.setdefault(id(run), len(runs)) == len(runs):
                runs.append(run)
        faces = [face for waiting in self._waiting for _, face, _, _ in waiting.faces]
        waiting = [
            (
                frame.frame,
                frame.timestamp,
                frame.readable,
                [(face_id, places[id(run)], place) for face_id, _, run, place in frame.faces],
            )
            for frame in self._waiting
        ]
        return {
            "open": list(self._runs),
            "runs": [run.state() for run in runs],
            "waiting": waiting,
            "faces": pack_faces(faces),
            "answers": self._answers.state(),
        }

    def follow_state(self) -> dict[str, Any] | None:
        """What `look` goes on from; None: it cannot."""
        if self._still:
            return {}
        state = getattr(self._follow, "state", None)
        return None if state is None else {"follow": state(), "number": self._number}

    def restore(self, state: Mapping[str, Any], follow_state: Mapping[str, Any]) -> None:
        """Goes on from what `state` and `follow_state` gave, in a stream with the same options."""
        runs = []
        for kept in state["runs"]:
            run = self._new_run()
            run.restore(kept)
            runs.append(run)
        self._runs = dict(zip((int(i) for i in state["open"]), runs, strict=False))
        faces = iter(unpack_faces(state["faces"]))
        self._waiting = deque(
            _Waiting(frame, timestamp, readable, [(i, next(faces), runs[r], p) for i, r, p in seen])
            for frame, timestamp, readable, seen in state["waiting"]
        )
        self._answers.restore(state["answers"])
        if follow_state:
            self._number = follow_state["number"]
            self._follow.restore(follow_state["follow"])  # type: ignore[attr-defined]

    def _add_faces(self, seen: Seen, waiting: _Waiting) -> None:
        present = {face_id for face_id, _, _ in seen.faces}
        for face_id in [i for i in self._runs if i not in present]:
            self._close(self._runs.pop(face_id))
        for face_id, face, crop_HWC in seen.faces:
            run = self._runs.get(face_id)
            if run is None:
                run = self._runs[face_id] = self._new_run()
            run.append(crop_HWC)
            waiting.faces.append((face_id, face, run, run.length - 1))
            self._ask(run)
        if self._still:
            for face_id in present:
                self._close(self._runs.pop(face_id))

    def _new_run(self) -> Run:
        return Run(self._spec, step=self._step, hop=self._hop)

    def _close(self, run: Run) -> None:
        run.close()
        self._ask(run)

    def _ask(self, run: Run) -> None:
        clips = list(run.clips())
        self.unanswered += len(clips)
        self._batches.add(clips, self._receive)

    def _receive(self, clip: Clip, values_KV: np.ndarray) -> None:
        self.unanswered -= 1
        clip.run.receive(clip, values_KV)


def pack_faces(faces: Iterable[Face]) -> dict[str, np.ndarray]:
    """Faces as arrays; see `unpack_faces`."""
    listed = list(faces)
    absent = np.full((5, 2), np.nan, np.float32)
    marks = [absent if f.landmarks_5x2 is None else f.landmarks_5x2 for f in listed]
    return {
        "box_N4": np.array([f.box_4 for f in listed], np.float32).reshape(-1, 4),
        "confidence_N": np.array([f.confidence for f in listed], np.float64),
        "landmarks_N52": np.array(marks, np.float32).reshape(-1, 5, 2),
        "marked_N": np.array([f.landmarks_5x2 is not None for f in listed], bool),
    }


def unpack_faces(state: Mapping[str, np.ndarray]) -> list[Face]:
    """The faces of `pack_faces`."""
    return [
        Face(np.array(box), float(confidence), np.array(marks) if marked else None)
        for box, confidence, marks, marked in zip(
            *(state[name] for name in ("box_N4", "confidence_N", "landmarks_N52", "marked_N")),
            strict=True,
        )
    ]
