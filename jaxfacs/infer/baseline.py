"""What a face shows at rest, taken out of its answers: a baseline that the user chooses.

    none            AUs as they are
    median          the running median of each face and AU: causal, nothing to give, and wrong for
                    one who smiles through half the film
    first:SECONDS   the median over the first seconds in which each face is seen. Offline these
                    frames wait for it, so that all frames are measured from one rest; live the
                    running median stands in until then
    image:PATH      a picture of the neutral face
    profile:PATH    a profile of `jaxfacs emotions neutral`: the same rest in every film

The formula is `emotion.person.minus_rest`, whatever the rest is from.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxfacs.emotion import person as profiles
from jaxfacs.emotion.person import HIGHEST_INTENSITY, Person, minus_rest
from jaxfacs.errors import UserError
from jaxfacs.infer.results import RawFace, RawFrame
from jaxfacs.infer.waiting import pack, unpack

if TYPE_CHECKING:
    from jaxfacs.infer.predictor import Predictor

KINDS = ("none", "median", "first", "image", "profile")
LONGEST_S = 600.0
RECENT_S = 30.0  # seconds that are kept for `from_last`
LEVELS = 500  # steps of a histogram: a median is known to half of one, 0.001 of a probability
MOST_FACES = 64  # whose medians are kept besides those of the newest frame
FASTEST_FPS = 240.0  # of films whose rate nobody knows: more frames, and their times stand still


@dataclass(frozen=True)
class Choice:
    """A baseline in words, taken apart: `kind` of KINDS, `seconds` of "first", `path` of a file."""

    kind: str
    seconds: float = 0.0
    path: str = ""


def parse(text: str) -> Choice:
    """What "first:5" and the like ask for.

    Raises:
      UserError: none of them.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("none", "median") and not colon:
        return Choice(kind)
    if kind in ("image", "profile") and rest:
        return Choice(kind, path=rest)
    if kind == "first":
        try:
            seconds = float(rest)
        except ValueError:
            seconds = 0.0
        if 0 < seconds <= LONGEST_S:
            return Choice(kind, seconds)
        raise UserError(f"baseline {text!r}: give seconds up to {LONGEST_S:g}, as in first:5")
    raise UserError(
        f"baseline {text!r} is none of: none, median, first:SECONDS, image:PATH, profile:PATH"
    )


def given_rest(text: str, predictor: "Predictor") -> Person | None:
    """The rest that "image:PATH" or "profile:PATH" names; None for what films show themselves."""
    choice = parse(text)
    if choice.kind == "image":
        return of_picture(predictor, choice.path)
    return profiles.load(Path(choice.path)) if choice.kind == "profile" else None


def of_picture(predictor: "Predictor", path: str | Path) -> Person:
    """A person's rest from a picture of their neutral face; of a film or folder, the median.

    Args:
      predictor: what will read the films.
      path: of the picture. Of several faces the largest counts.

    Raises:
      UserError: it cannot be read, or shows no face.
    """
    seen = [result.faces[0] for result in predictor.video(path) if result.faces]
    if not seen:
        raise UserError(
            f"{path} shows no face to take as neutral; give a picture of the face from the front"
        )

    def levels(name: str) -> dict[str, float]:
        median_A = np.median([getattr(face, name) for face in seen], axis=0)
        rounded = np.round(median_A, profiles.DIGITS).tolist()
        return dict(zip(predictor.aus, rounded, strict=True))

    name = Path(path).stem
    source = Path(path).name
    return Person(name, levels("probability_A"), levels("intensity_A"), len(seen), source)


@dataclass(eq=False)
class _Seen:
    """One face: since when, a histogram of its values (None once it is settled), and its rest."""

    first_s: float
    count_RL: np.ndarray | None
    frames: int = 0
    rest_R: np.ndarray | None = None

    def add(self, values_R: np.ndarray, highest_R: np.ndarray) -> None:
        if self.count_RL is None:
            return
        level_R = np.rint(np.clip(values_R / highest_R, 0, 1) * LEVELS).astype(int)
        self.count_RL[np.arange(level_R.size), level_R] += 1
        self.frames += 1

    def median(self, highest_R: np.ndarray) -> np.ndarray:
        assert self.count_RL is not None
        below_RL = self.count_RL.cumsum(axis=1)
        return (2 * below_RL >= self.frames).argmax(axis=1) / LEVELS * highest_R


class Baseline:
    """Takes the rest out of each face's values, frame after frame.

    Args:
      text: see the module.
      aus: labels of the A probabilities that values begin with.
      intensity: whether A intensities follow them; their rest is taken out as well.
      rest: of "image" and "profile".
      causal: every frame is answered at once; and the last seconds are kept for `from_last`.
      fps: of the film, where it is known.
    """

    def __init__(
        self,
        text: str,
        *,
        aus: Sequence[str],
        intensity: bool,
        rest: Person | None = None,
        causal: bool = False,
        fps: float | None = None,
    ):
        self._choice = parse(text)
        self._aus, self._causal = tuple(aus), causal
        highest = (1.0, HIGHEST_INTENSITY) if intensity else (1.0,)
        self._highest_R = np.repeat(highest, len(self._aus))
        fixed = self._choice.kind in ("image", "profile")
        if fixed and rest is None:
            raise ValueError(f"baseline {text} without its rest")
        self._rest_R = self._levels(rest) if fixed and rest is not None else None
        self._most = int(self._choice.seconds * max(FASTEST_FPS, 2 * (fps or 0.0))) + 1
        self._by_hand: dict[int, np.ndarray] | np.ndarray | None = None
        self._faces: dict[int, _Seen] = {}  # the one seen last at the end
        self._waiting: deque[RawFrame] = deque()
        self._recent: deque[tuple[float, int, np.ndarray]] = deque()

    def push(self, frames: Sequence[RawFrame]) -> list[RawFrame]:
        """Takes the next frames; returns those whose faces' rest is known, without it."""
        ready = []
        for frame in frames:
            self._learn(frame)
            self._waiting.append(frame)
            while self._waiting and self._known(self._waiting[0]):
                ready.append(self._without(self._waiting.popleft()))
        return ready

    def finish(self) -> list[RawFrame]:
        """Returns all frames that are left: what was seen so far is what there is."""
        for face in self._faces.values():
            self._settle(face)
        return [self._without(self._waiting.popleft()) for _ in range(len(self._waiting))]

    def set_rest(self, rest: Person | None) -> None:
        """From now on everybody's rest is this, whatever was chosen; None: as it was chosen."""
        self._by_hand = None if rest is None else self._levels(rest)

    def from_last(self, seconds: float) -> bool:
        """From now on each face's rest is its median over the last seconds (up to 30).

        Returns whether any face was there; else nothing changes. Faces that come later keep the
        baseline that was chosen.
        """
        newest_s = self._recent[-1][0] if self._recent else 0.0
        found: dict[int, list[np.ndarray]] = {}
        for time_s, face_id, values_R in self._recent:
            if time_s >= newest_s - seconds:
                found.setdefault(face_id, []).append(values_R)
        if not found:
            return False
        self._by_hand = {i: np.median(values, axis=0) for i, values in found.items()}
        return True

    def state(self) -> dict[str, Any]:
        """See `Answers.state`."""
        faces, by_hand = list(self._faces.values()), self._by_hand
        each = by_hand if isinstance(by_hand, dict) else {}
        everybody = [] if by_hand is None or isinstance(by_hand, dict) else [by_hand]
        return {
            "id_F": np.array(list(self._faces), np.int64),
            "first_s_F": np.array([f.first_s for f in faces], np.float64),
            "frames_F": np.array([f.frames for f in faces], np.int64),
            "counted_F": np.array([f.count_RL is not None for f in faces], bool),
            "settled_F": np.array([f.rest_R is not None for f in faces], bool),
            "count_CRL": _stacked(f.count_RL for f in faces if f.count_RL is not None),
            "rest_SR": _stacked(f.rest_R for f in faces if f.rest_R is not None),
            "by_hand_id_N": np.array(list(each), np.int64),
            "by_hand_NR": _stacked([*each.values(), *everybody]),
            "recent_s_N": np.array([t for t, _, _ in self._recent], np.float64),
            "recent_id_N": np.array([i for _, i, _ in self._recent], np.int64),
            "recent_NR": _stacked(v for _, _, v in self._recent),
            **pack(self._waiting, "waiting"),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Answers.restore`."""
        arrays = {name: np.asarray(value) for name, value in state.items()}
        counts, rests = iter(arrays["count_CRL"].copy()), iter(arrays["rest_SR"])
        self._faces = {
            int(face_id): _Seen(
                float(first_s),
                next(counts) if counted else None,
                int(frames),
                next(rests) if settled else None,
            )
            for face_id, first_s, frames, counted, settled in zip(
                *(arrays[f"{k}_F"] for k in ("id", "first_s", "frames", "counted", "settled")),
                strict=True,
            )
        }
        ids, levels_NR = arrays["by_hand_id_N"].tolist(), arrays["by_hand_NR"]
        if len(levels_NR) == 0:
            self._by_hand = None
        else:
            self._by_hand = dict(zip(ids, levels_NR, strict=True)) if ids else levels_NR[0]
        self._recent = deque(
            (float(time_s), int(face_id), values_R)
            for time_s, face_id, values_R in zip(
                *(arrays[k] for k in ("recent_s_N", "recent_id_N", "recent_NR")), strict=True
            )
        )
        self._waiting = deque(unpack(state, "waiting"))

    def _levels(self, rest: Person) -> np.ndarray:
        """A person's levels in the order of the values; 0 where the profile has none."""
        both = [rest.probability, rest.intensity][: self._highest_R.size // max(len(self._aus), 1)]
        return np.array([levels.get(au, 0.0) for levels in both for au in self._aus])

    def _learn(self, frame: RawFrame) -> None:
        size, kind = self._highest_R.size, self._choice.kind
        if self._causal:
            self._recent.extend(
                (frame.timestamp, r.face_id, r.values_V[:size]) for r in frame.faces
            )
            while self._recent and (
                self._recent[0][0] < frame.timestamp - RECENT_S
                or len(self._recent) > RECENT_S * FASTEST_FPS
            ):
                self._recent.popleft()
        if kind not in ("median", "first"):
            return
        for face in self._faces.values():
            late = frame.timestamp >= face.first_s + self._choice.seconds
            if kind == "first" and (late or face.frames >= self._most):
                self._settle(face)
        for raw in frame.faces:
            face = self._faces.pop(raw.face_id, None)
            if face is None:
                counts = np.zeros((size, LEVELS + 1), np.int32)
                face = _Seen(frame.timestamp, counts)
            self._faces[raw.face_id] = face
            face.add(raw.values_V[:size], self._highest_R)
        waiting = [f for f in self._waiting if f.faces] if len(self._faces) > MOST_FACES else []
        needed = {raw.face_id for f in (*waiting, frame) for raw in f.faces}
        for face_id in [i for i in self._faces if i not in needed][: -MOST_FACES or None]:
            del self._faces[face_id]

    def _settle(self, face: _Seen) -> None:
        if self._choice.kind == "first" and face.rest_R is None:
            face.rest_R, face.count_RL = face.median(self._highest_R), None

    def _known(self, frame: RawFrame) -> bool:
        if self._causal or self._choice.kind != "first" or len(self._waiting) > self._most:
            return True
        return all(self._faces[raw.face_id].rest_R is not None for raw in frame.faces)

    def _rest(self, face_id: int) -> np.ndarray | None:
        by_hand = self._by_hand
        if isinstance(by_hand, dict):
            by_hand = by_hand.get(face_id)
        if by_hand is not None:
            return by_hand
        if self._choice.kind not in ("median", "first"):
            return self._rest_R
        face = self._faces[face_id]
        return face.median(self._highest_R) if face.rest_R is None else face.rest_R

    def _without(self, frame: RawFrame) -> RawFrame:
        return replace(frame, faces=tuple(self._corrected(raw) for raw in frame.faces))

    def _corrected(self, raw: RawFace) -> RawFace:
        rest_R = self._rest(raw.face_id)
        if rest_R is None:
            return raw
        values_V = raw.values_V.copy()
        size = rest_R.size
        values_V[:size] = minus_rest(values_V[:size], rest_R, self._highest_R)
        return replace(raw, values_V=values_V)


def _stacked(arrays: Iterable[np.ndarray]) -> np.ndarray:
    listed = list(arrays)
    return np.stack(listed) if listed else np.zeros((0, 0))
