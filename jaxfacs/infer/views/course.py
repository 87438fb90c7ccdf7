"""A table of results over time, read in constant memory: envelopes, sums and segments of each face.

A film of hours has more frames than a picture has columns. The frames are therefore put into at
most `bins` bins of as many successive frames each, and of every bin the lowest, highest and mean
value are kept. A film of fewer frames keeps every frame as it is.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer import tables

PRESENT = 0.5  # where the table says neither presence nor threshold
GONE = 0.7  # of the threshold: a probability that wavers about it is one segment
SHORTEST = 2  # frames with the AU: a single one may be an error of the network
MOST_FACES = 8
MOST_SEGMENTS = 2000  # of each face, an equal part for each AU: the longest and strongest
_CHUNK, _LINES = 2000, 50_000  # at once, of whole rows and of their frames and faces


@dataclass(frozen=True)
class Values:
    """Which of the K values of a row are what: slices of A, A, A, E, 2 and 4 values.

    Attributes:
      aus, emotions: the table's.
      p, r, c: probability, intensity and presence.
      emotion, affect, box: scores; valence and arousal; x, y, w, h in pixels.
      count: K.
    """

    aus: tuple[str, ...]
    emotions: tuple[str, ...]
    p: slice
    r: slice
    c: slice
    emotion: slice
    affect: slice
    box: slice
    count: int

    @classmethod
    def of(cls, aus: Sequence[str], emotions: Sequence[str]) -> "Values":
        """The layout for these labels."""
        ends = np.cumsum([len(aus), len(aus), len(aus), len(emotions), 2, 4]).tolist()
        p, r, c, emotion, affect, box = map(slice, [0, *ends[:-1]], ends)
        return cls(tuple(aus), tuple(emotions), p, r, c, emotion, affect, box, ends[-1])


@dataclass(frozen=True)
class Segment:
    """One AU from onset to offset, by the rule of `jaxfacs.infer.segments`.

    Attributes:
      au: label.
      onset_s, apex_s, offset_s: the first frame with it, the one of the highest level, the first
        without it; frame numbers where the table has no times.
      level: at the apex: intensity 0-5, or 5 × probability where there is none.
      begins, ends: whether onset and offset were seen; if not, the face came or went.
    """

    au: str
    onset_s: float
    apex_s: float
    offset_s: float
    level: float
    begins: bool
    ends: bool


@dataclass(frozen=True, eq=False)
class Face:
    """One face over B bins.

    Attributes:
      face_id: as in the table.
      rows_B: frames of the bin that have this face.
      low_BK, high_BK, mean_BK: over these, as `Values` has them; NaN unknown.
      present_A: share of its frames with the AU; NaN unknown.
      intensity_A: mean intensity 0-5 while it is present; NaN unknown.
      peak_s_A: when its probability (among equals, its intensity) was highest; NaN unknown.
      emotion_E: mean score of each emotion.
      segments: in order of onset; of each AU the longest and strongest, `MOST_SEGMENTS` in all, of
        the `num_segments` that there were.
    """

    face_id: int
    rows_B: np.ndarray
    low_BK: np.ndarray
    high_BK: np.ndarray
    mean_BK: np.ndarray
    present_A: np.ndarray
    intensity_A: np.ndarray
    peak_s_A: np.ndarray
    emotion_E: np.ndarray
    segments: tuple[Segment, ...]
    num_segments: int

    @property
    def frames(self) -> int:
        """In how many it was found."""
        return int(self.rows_B.sum())


@dataclass(frozen=True, eq=False)
class Course:
    """What a table says over time.

    Attributes:
      values: which value of a row is what.
      timed: whether times are seconds; else they are frame numbers.
      frame_B, start_s_B: number and time of each bin's first frame.
      end_s: where the last frame ends.
      frames, frames_with_face: how many.
      faces: of at most as many as were asked for, those of the most frames first.
      num_faces: how many the table has.
      measure: what `Values.p` is: "probability", or in tables without "intensity" (a fifth of it)
        or "presence".
    """

    values: Values
    timed: bool
    frame_B: np.ndarray
    start_s_B: np.ndarray
    end_s: float
    frames: int
    frames_with_face: int
    faces: tuple[Face, ...]
    num_faces: int
    measure: str

    @property
    def every_frame(self) -> bool:
        """Whether each bin is one frame."""
        return len(self.frame_B) == self.frames

    @property
    def edge_s_B1(self) -> np.ndarray:
        """Where the bins begin, and where the last one ends."""
        return np.append(self.start_s_B, self.end_s)


def read(
    path: str | Path,
    *,
    bins: int | Callable[[Values, int], int] = 1000,
    most_faces: int = MOST_FACES,
    face_id: int | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Course:
    """Reads a table twice: once for its frames and faces, once for their values.

    Memory: 60 bytes a row, and bins × K × 16 bytes for each face.

    Args:
      path: a table as `jaxfacs.infer.tables.read` takes it.
      bins: at most so many, or a function of the layout and the number of faces.
      most_faces: those of the most frames are kept.
      face_id: only this face.
      thresholds: of each AU, for tables without presence (0.5).

    Raises:
      UserError: no table, no row, no such face, a cell that is no number.
    """
    path = Path(path)
    frame_N, time_N, counts, with_face = _survey(path)
    timed = len(time_N) < 2 or bool((np.diff(time_N) > 0).all())  # NaN: False
    names = [face for face, _ in counts.most_common()]
    if face_id is not None and face_id not in counts:
        has = ", ".join(map(str, sorted(names)[:20])) or "none"
        raise UserError(f"{path} has no face {face_id}; it has: {has}")
    kept = names[:most_faces] if face_id is None else [face_id]
    axis_N = time_N if timed and not np.isnan(time_N).any() else frame_N.astype(float)
    gather: _Gather | None = None
    for table in tables.chunks(path, rows=_CHUNK):
        if gather is None:
            values = Values.of(table.aus, table.emotions)
            wanted = bins if isinstance(bins, int) else bins(values, len(kept))
            gather = _Gather(values, kept, frame_N, axis_N, min(wanted, len(frame_N)), thresholds)
        gather.add(table)
    assert gather is not None
    count = gather.bins
    start_B = (np.arange(count) * len(frame_N) + count - 1) // count
    step = (axis_N[-1] - axis_N[0]) / (len(axis_N) - 1) if len(axis_N) > 1 else 1.0
    return Course(
        gather.values,
        axis_N is time_N,
        frame_N[start_B],
        axis_N[start_B],
        float(axis_N[-1] + step),
        len(frame_N),
        with_face,
        tuple(gather.faces()),
        len(names),
        next((m for m in ("probability", "intensity") if m in gather.measures), "presence"),
    )


def _survey(path: Path) -> tuple[np.ndarray, np.ndarray, Counter[int], int]:
    """Frame numbers in order, their times, rows of each face, number of frames that have one."""
    number, time, faced = array("q"), array("d"), array("q")
    counts: Counter[int] = Counter()
    for table in tables.chunks(path, rows=_LINES, values=False):
        found = _found(table)
        number.extend(table.frame_N.tolist())
        time.extend(table.time_s_N.tolist())
        faced.extend(table.frame_N[found].tolist())
        counts.update(table.face_N[found].tolist())
    if not number:
        raise UserError(f"{path} has a header and no row; there is nothing to draw")
    frame_N, first_N = np.unique(np.array(number), return_index=True)
    return frame_N, np.array(time)[first_N], counts, len(np.unique(np.array(faced)))


def _found(table: tables.Table) -> np.ndarray:
    """Rows with a face; others may hold anything (OpenFace writes its last guess)."""
    return (table.face_N >= 0) & table.success_N


def rows(table: tables.Table, threshold_A: np.ndarray) -> np.ndarray:
    """The K values of each row, float32 (N, K).

    What is not told is filled from what is: presence by threshold, or from A (a trace) on;
    probability by intensity / 5, or by presence.
    """
    p_NA, c_NA, r_NA = table.probability_NA, table.presence_NA, table.intensity_NA
    graded_NA = np.where(np.isnan(r_NA), np.nan, r_NA >= 1)
    likely_NA = np.where(np.isnan(p_NA), graded_NA, p_NA >= threshold_A)
    c_NA = np.where(np.isnan(c_NA), likely_NA, c_NA)
    p_NA = np.where(np.isnan(p_NA), np.where(np.isnan(r_NA), c_NA, r_NA / 5), p_NA)
    parts = (p_NA, r_NA, c_NA, table.emotion_NE, table.valence_arousal_N2, table.boxes_N4)
    return np.concatenate([np.asarray(part, np.float32) for part in parts], axis=1)


class _Gather:
    """Sums of each kept face, as chunks of rows come by."""

    def __init__(
        self,
        values: Values,
        kept: Sequence[int],
        frame_N: np.ndarray,
        axis_N: np.ndarray,
        bins: int,
        thresholds: Mapping[str, float] | None,
    ):
        self.values, self.bins, self.frame_N, self.axis_N = values, max(1, bins), frame_N, axis_N
        self.threshold_A = np.array([(thresholds or {}).get(au, PRESENT) for au in values.aus])
        self.measures: set[str] = set()
        self.of_face = {
            face: _FaceSums(values, self.bins, axis_N, self.threshold_A) for face in kept
        }

    def add(self, table: tables.Table) -> None:
        found = _found(table)
        values_NK = rows(table, self.threshold_A)
        told = not np.isnan(table.probability_NA).all()
        self.measures |= {"probability"} if told else set()
        self.measures |= {"intensity"} if not np.isnan(table.intensity_NA).all() else set()
        at_N = np.searchsorted(self.frame_N, table.frame_N)
        for face in np.unique(table.face_N[found]).tolist():
            if face in self.of_face:
                mine = found & (table.face_N == face)
                at_M = at_N[mine]
                bin_M = at_M * self.bins // len(self.frame_N)
                self.of_face[face].add(values_NK[mine], at_M, bin_M, told=told)

    def faces(self) -> Iterator[Face]:
        for face, sums in self.of_face.items():
            yield sums.face(face)


class _FaceSums:
    def __init__(self, values: Values, bins: int, axis_N: np.ndarray, threshold_A: np.ndarray):
        shape, count = (bins, values.count), len(values.aus)
        self.values, self.axis_N = values, axis_N
        self.rows_B = np.zeros(bins, int)
        self.low_BK, self.high_BK = np.full(shape, np.nan, "f4"), np.full(shape, np.nan, "f4")
        self.sum_BK, self.known_BK = np.zeros(shape, "f4"), np.zeros(shape, "i4")
        self.while_A, self.graded_A = np.zeros(count), np.zeros(count)
        self.peak_A, self.peak_at_A = np.full(count, -1.0), np.zeros(count, int)
        self.segments = _Segments(values.aus, axis_N, threshold_A)

    def add(
        self, values_NK: np.ndarray, at_N: np.ndarray, bin_N: np.ndarray, *, told: bool
    ) -> None:
        """Args: told: whether the table has probabilities, which hold a segment together."""
        np.add.at(self.rows_B, bin_N, 1)
        # Rows of a bin lie together, unless a table is out of order: one reduction for each run.
        starts = np.flatnonzero(np.diff(bin_N, prepend=-1))
        at = bin_N[starts]
        np.fmin.at(self.low_BK, at, np.fmin.reduceat(values_NK, starts))
        np.fmax.at(self.high_BK, at, np.fmax.reduceat(values_NK, starts))
        np.add.at(self.sum_BK, at, np.add.reduceat(np.nan_to_num(values_NK), starts))
        np.add.at(self.known_BK, at, np.add.reduceat((~np.isnan(values_NK)).astype("i4"), starts))
        layout = self.values
        p_NA, r_NA, c_NA = (values_NK[:, part] for part in (layout.p, layout.r, layout.c))
        graded_NA = (c_NA >= 0.5) & ~np.isnan(r_NA)
        self.while_A += np.where(graded_NA, r_NA, 0).sum(0)
        self.graded_A += graded_NA.sum(0)
        score_NA = np.nan_to_num(p_NA, nan=-1.0) + 1e-4 * np.nan_to_num(r_NA)
        best_A = score_NA.argmax(0)
        high_A = np.take_along_axis(score_NA, best_A[None], 0)[0]
        higher_A = high_A > self.peak_A
        self.peak_A = np.where(higher_A, high_A, self.peak_A)
        self.peak_at_A = np.where(higher_A, at_N[best_A], self.peak_at_A)
        level_NA = np.where(np.isnan(r_NA), 5 * p_NA, r_NA)
        self.segments.add(p_NA if told else c_NA, c_NA, level_NA, at_N)

    def face(self, face_id: int) -> Face:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_BK = self.sum_BK / self.known_BK
            mean_K = self.sum_BK.sum(0, dtype=float) / self.known_BK.sum(0)
            intensity_A = self.while_A / self.graded_A
        return Face(
            face_id,
            self.rows_B,
            self.low_BK,
            self.high_BK,
            mean_BK,
            mean_K[self.values.c],
            intensity_A,
            np.where(self.peak_A > -1, self.axis_N[self.peak_at_A], np.nan),
            mean_K[self.values.emotion],
            self.segments.finish(),
            self.segments.count,
        )


@dataclass
class _Open:
    onset: int
    apex: int
    level: float
    begins: bool
    last: int  # its last frame with the AU
    frames: int  # so many with it


class _Segments:
    """Segments of one face's AUs, over chunks of its rows.

    As in `jaxfacs.infer.segments`: a segment begins with the first frame in which the AU is present
    and goes on until its probability is below 0.7 of the threshold, or the face is lost.
    """

    def __init__(self, aus: Sequence[str], axis_N: np.ndarray, threshold_A: np.ndarray):
        self.aus, self.axis_N, self.gone_A = aus, axis_N, GONE * threshold_A
        self.count = 0
        self._open: dict[int, _Open] = {}
        self._kept: list[list[tuple[float, int, Segment]]] = [[] for _ in aus]
        self._most = max(1, MOST_SEGMENTS // max(1, len(aus)))
        self._last = -2  # the frame of the row before
        self._absent_A = np.zeros(len(aus), bool)  # known not to be present in that row

    def add(
        self, p_NA: np.ndarray, c_NA: np.ndarray, level_NA: np.ndarray, at_N: np.ndarray
    ) -> None:
        present_NA, absent_NA = c_NA >= 0.5, c_NA < 0.5
        alive_NA = present_NA | (absent_NA & (p_NA >= self.gone_A))
        apart_N = np.diff(at_N, prepend=self._last) != 1  # frames between, without this face
        before_NA = np.vstack([self._absent_A, absent_NA[:-1]]) & ~apart_N[:, None]
        turn_NA = np.diff(alive_NA, axis=0, prepend=alive_NA[:1]) | apart_N[:, None]
        was_A = np.isin(np.arange(len(self.aus)), list(self._open))
        for a in np.flatnonzero(present_NA.any(0) | was_A).tolist():
            cuts = sorted({0, *np.flatnonzero(turn_NA[:, a]).tolist()})
            for first, after in pairwise([*cuts, len(at_N)]):
                if apart_N[first] or not alive_NA[first, a]:
                    before = int(at_N[first - 1]) if first else self._last
                    self._close(a, before, bool(absent_NA[first, a] and not apart_N[first]))
                if alive_NA[first, a]:
                    there = first + np.flatnonzero(present_NA[first:after, a])
                    self._go_on(a, at_N[there], level_NA[there, a], before_NA[there[:1], a])
        self._last, self._absent_A = int(at_N[-1]), absent_NA[-1]

    def finish(self) -> tuple[Segment, ...]:
        for a in list(self._open):
            self._close(a, self._last, False)
        kept = (segment for heap in self._kept for *_, segment in heap)
        return tuple(sorted(kept, key=lambda s: (s.onset_s, s.au)))

    def _go_on(self, a: int, at_T: np.ndarray, level_T: np.ndarray, begins_1: np.ndarray) -> None:
        """Frames with the AU, of one segment."""
        if not len(at_T):
            return
        first = int(at_T[0])
        run = self._open.setdefault(a, _Open(first, first, -1.0, bool(begins_1[0]), first, 0))
        best = int(np.nan_to_num(level_T, nan=-1.0).argmax())
        if level_T[best] > run.level:
            run.level, run.apex = float(level_T[best]), int(at_T[best])
        run.last, run.frames = int(at_T[-1]), run.frames + len(at_T)

    def _close(self, a: int, before: int, absent: bool) -> None:
        """Ends a segment after the frame `before`; `absent`: the next is known to be without it."""
        run = self._open.pop(a, None)
        if run is None or run.frames < SHORTEST:
            return
        ends = absent or run.last < before
        axis_N, after = self.axis_N, min(run.last + 1, len(self.axis_N) - 1)
        found = Segment(
            self.aus[a],
            float(axis_N[run.onset]),
            float(axis_N[run.apex]),
            float(axis_N[after if ends else run.last]),
            max(run.level, 0.0),
            run.begins,
            ends,
        )
        self.count += 1
        weight = run.frames * max(run.level, 0.1)
        heapq.heappush(self._kept[a], (weight, self.count, found))
        if len(self._kept[a]) > self._most:
            heapq.heappop(self._kept[a])
