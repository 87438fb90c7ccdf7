"""Reading tables of results: this package's, OpenFace's and py-feat's, told by their columns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.emotion import sheet
from jaxfacs.emotion.frames import NAMED_EMOTIONS
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical
from jaxfacs.infer.tables.layouts import AFFECT, BOX, LEADING, RECT

OPENFACE, PY_FEAT, OWN = "openface", "py-feat", "jaxfacs"
CHUNK_ROWS = 50_000
_TEXTS = ("input", "Identity")
_TIMES = ("timestamp", "approx_time")  # the latter in minutes:seconds
_WHOLE = ("frame", "face_id", "face", "success")
_PERSON = "Person_"
_FIXED = (*LEADING, *AFFECT)


@dataclass(frozen=True, eq=False)
class Table:
    """N rows, one a face and frame, or a frame without a face; what is not known is NaN.

    Attributes:
      kind: "jaxfacs" (OpenFace's layout, with more), "openface" or "py-feat".
      columns: the file's columns under its own names, float64 or text (dtype object).
    """

    kind: str
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def take(self, rows: np.ndarray | slice) -> "Table":
        """Some of the rows, by number, mask or slice."""
        return Table(self.kind, {name: values[rows] for name, values in self.columns.items()})

    @cached_property
    def aus(self) -> tuple[str, ...]:
        """AU labels, in the order of the columns."""
        return tuple(self._au_columns)

    @cached_property
    def frame_N(self) -> np.ndarray:
        """The frame's number from 1, int64 (py-feat's files count from 0); 1 in OpenFace's files of
        single pictures, which do not number them."""
        frame_N = self._first(("frame",), 0 if self.kind == PY_FEAT else 1)
        return np.nan_to_num(frame_N).astype(np.int64) + (self.kind == PY_FEAT)

    @cached_property
    def time_s_N(self) -> np.ndarray:
        """Seconds; whole ones where py-feat's `approx_time` is all there is."""
        return self._first(_TIMES, np.nan)

    @cached_property
    def success_N(self) -> np.ndarray:
        """Bool: there is a face, and it was found."""
        if self.kind == PY_FEAT:
            return ~np.isnan(self._first(("FaceRectX", "FaceScore"), np.nan))
        return self._first(("success",), 1) == 1

    @cached_property
    def confidence_N(self) -> np.ndarray:
        """The detector's, in [0, 1]."""
        return self._first(("confidence", sheet.PY_FEAT_MARK), np.nan)

    @cached_property
    def face_N(self) -> np.ndarray:
        """The face's number in its film, int64; -1 without a face, and where py-feat's `Identity`
        is "Unknown". In a py-feat file without identities, the face's place in its frame.
        """
        if self.kind != PY_FEAT:
            face_N = np.nan_to_num(self._first(("face_id", "face"), 0), nan=-1).astype(np.int64)
        elif "Identity" in self.columns:
            face_N = np.array([_person(text) for text in self.columns["Identity"]], np.int64)
        else:
            face_N = _within(list(zip(self.inputs_N, self.frame_N, strict=True)))
        return np.where(self.success_N, face_N, -1)

    @cached_property
    def probability_NA(self) -> np.ndarray:
        """Chance in [0, 1] that the AU is present; NaN for OpenFace, which does not tell."""
        return self._of_aus("probability")

    @cached_property
    def intensity_NA(self) -> np.ndarray:
        """0 to 5; NaN for py-feat, which does not tell."""
        return self._of_aus("intensity")

    @cached_property
    def presence_NA(self) -> np.ndarray:
        """0 or 1; NaN for py-feat, which does not tell."""
        return self._of_aus("occurrence")

    @cached_property
    def boxes_N4(self) -> np.ndarray:
        """(x, y, w, h) in pixels of the frame; NaN for OpenFace, which does not tell."""
        names = RECT if self.kind == PY_FEAT else BOX
        return np.stack([self._first((name,), np.nan) for name in names], axis=1)

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Canonical names of the emotions, in the order of the columns."""
        return tuple(canonical(name) for name in self._emotion_columns)

    @cached_property
    def emotion_NE(self) -> np.ndarray:
        """Scores in [0, 1] over `emotions`."""
        return self._stacked([self.columns[name] for name in self._emotion_columns])

    @cached_property
    def valence_arousal_N2(self) -> np.ndarray:
        """In [-1, 1]."""
        return self._stacked([self._first((name,), np.nan) for name in AFFECT])

    @cached_property
    def inputs_N(self) -> np.ndarray:
        """The picture or film of each row, text (dtype object); "" where the file does not say."""
        return self.columns.get("input", np.full(len(self), "", object))

    @cached_property
    def _au_columns(self) -> dict[str, dict[str, str]]:
        return _au_columns(tuple(self.columns), self.kind)

    @cached_property
    def _emotion_columns(self) -> tuple[str, ...]:
        return _emotion_columns(tuple(self.columns))

    def _first(self, names: Sequence[str], default: float) -> np.ndarray:
        found = (self.columns[name] for name in names if name in self.columns)
        return next(found, np.full(len(self), float(default)))

    def _of_aus(self, kind: str) -> np.ndarray:
        unknown_N = np.full(len(self), np.nan)
        found = [self.columns.get(of.get(kind, ""), unknown_N) for of in self._au_columns.values()]
        return np.where(self.success_N[:, None], self._stacked(found), np.nan)

    def _stacked(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0))


def read(path: str | Path, *, columns: Collection[str] | None = ()) -> Table:
    """Reads a table: CSV, JSON Lines or Parquet; of `jaxfacs predict`, OpenFace 1 or 2, py-feat.

    Args:
      path: the file.
      columns: further columns to keep (landmarks, gaze …), by name; None: all there are. A column
        of any other name is read as numbers, or as text where its first cells are none.

    Raises:
      UserError: no table of these, a row with too few or too many cells, a cell that is no number:
        with the line; Parquet without pyarrow.
    """
    path = Path(path)
    parts = list(_tables(path, columns))
    if parts:
        return _joined(parts)
    names = _kept(path, columns)
    return Table(_kind(path), {n: np.empty(0, object if n in _TEXTS else float) for n in names})


def chunks(
    path: str | Path,
    *,
    rows: int = CHUNK_ROWS,
    columns: Collection[str] | None = (),
    values: bool = True,
) -> Iterator[Table]:
    """As `read`, in parts of about `rows` rows, in constant memory; no frame is cut in two.

    Without `values`, only whose row it is: frame, face, time, success, confidence, box. That is
    several times as fast.
    """
    waiting: list[Table] = []
    for part in _tables(Path(path), columns, values=values):
        waiting.append(part)
        if sum(map(len, waiting)) <= rows:
            continue
        whole, start = _joined(waiting), 0
        for cut in _cuts(whole, rows):
            yield whole.take(slice(start, cut))
            start = cut
        waiting = [whole.take(slice(start, None))]
    if waiting:
        yield _joined(waiting)


def read_frame(path: str | Path) -> Any:
    """All columns of a table as a pandas DataFrame, under the file's own names without blanks.

    Frame, face and success are int64 where all are known; `attrs["kind"]` says whose table it is.

    Raises:
      UserError: as `read`; pandas is not installed (`read(path).columns` holds the same as arrays).
    """
    try:
        import pandas
    except ImportError:
        raise UserError(
            "a DataFrame needs pandas; install it with pip install 'jaxfacs[tables]', or use "
            "jaxfacs.infer.tables.read, which gives arrays"
        ) from None
    table = read(path, columns=None)
    whole = {
        name: values.astype(np.int64) if _is_whole(name, values) else values
        for name, values in table.columns.items()
    }
    frame = pandas.DataFrame(whole)
    frame.attrs["kind"] = table.kind
    return frame


def read_openface(path: str | Path) -> Any:
    """`read_frame` of a table in OpenFace's layout, this package's own among them."""
    return _read_kind(path, (OPENFACE, OWN), "OpenFace")


def read_pyfeat(path: str | Path) -> Any:
    """`read_frame` of a table in py-feat's layout, this package's own among them."""
    return _read_kind(path, (PY_FEAT,), "py-feat")


def _read_kind(path: str | Path, kinds: Sequence[str], name: str) -> Any:
    found = _kind(Path(path))
    if found not in kinds:
        raise UserError(f"{path} is no table of {name} but of {found}; read it with read_frame")
    return read_frame(path)


def _is_whole(name: str, values: np.ndarray) -> bool:
    return name in _WHOLE and bool((np.isfinite(values) & (values % 1 == 0)).all())


def _kind(path: Path) -> str:
    header = sheet.header(path)
    if "FaceRectX" in header or sheet.PY_FEAT_MARK in header:
        return PY_FEAT
    of_aus = _au_columns(header, OPENFACE).values()
    if "confidence" not in header or not (of_aus or {*LEADING[2:]} <= {*header}):
        raise UserError(
            f"{path} has not the columns of jaxfacs, OpenFace (confidence, AU12_r …) or py-feat "
            "(FaceScore, AU12 …); jaxfacs.emotion.frames.read reads other tables of AUs"
        )
    return OWN if BOX[0] in header or any("probability" in of for of in of_aus) else OPENFACE


def _au_columns(names: Sequence[str], kind: str) -> dict[str, dict[str, str]]:
    """Only names with AU in them: a column `12` of a tool's table would be something else."""
    bare = "probability" if kind == PY_FEAT else "occurrence"
    return sheet.au_columns([name for name in names if name.startswith("AU")], bare=bare)


def _emotion_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Known names; in this package's tables also what stands between AUs or affect and the box."""
    between: Sequence[str] = ()
    if BOX[0] in names:
        end = names.index(BOX[0])
        start = max(
            (n + 1 for n in range(end) if names[n] in _FIXED or names[n].startswith("AU")),
            default=0,
        )
        between = names[start:end]
    return tuple(name for name in names if name in between or canonical(name) in NAMED_EMOTIONS)


def _kept(path: Path, columns: Collection[str] | None, *, values: bool = True) -> list[str]:
    header = sheet.header(path)
    missing = next((name for name in columns or () if name not in header), None)
    if missing is not None:
        raise UserError(f"{path} has no column {missing!r}; its columns: {', '.join(header[:20])}")
    known = {*LEADING, *BOX, *RECT, *_TEXTS, *_TIMES, "face", sheet.PY_FEAT_MARK}
    if values:
        known |= {n for of in _au_columns(header, _kind(path)).values() for n in of.values()}
        known |= {*AFFECT, *_emotion_columns(header)}
    return [name for name in header if columns is None or name in columns or name in known]


def _tables(path: Path, columns: Collection[str] | None, *, values: bool = True) -> Iterator[Table]:
    kind, names = _kind(path), _kept(path, columns, values=values)
    # Of a column of another name, the first cells that are not empty tell what it holds.
    unsure = {*names} - {*_kept(path, ())}
    texts = {*_TEXTS}
    for part in sheet.parts(path, names, texts=(*_TEXTS, _TIMES[1])):
        told = {name for name in unsure if any(part.texts(name))}
        texts |= {name for name in told if _is_text(part, name)}
        unsure -= told
        yield Table(kind, {name: _values(part, name, texts) for name in names})


def _is_text(part: sheet.Part, name: str) -> bool:
    try:
        part.numbers(name)
    except UserError:
        return True
    return False


def _values(part: sheet.Part, name: str, texts: Collection[str]) -> np.ndarray:
    if name in texts:
        return np.array(part.texts(name), object)
    return part.seconds(name) if name in _TIMES else part.numbers(name)


def _joined(parts: Sequence[Table]) -> Table:
    names = parts[0].columns
    return Table(
        parts[0].kind, {n: _whole_column([part.columns[n] for part in parts]) for n in names}
    )


def _whole_column(values: Sequence[np.ndarray]) -> np.ndarray:
    if any(part.dtype == object for part in values):  # empty cells before the first text
        values = [v if v.dtype == object else np.full(len(v), "", object) for v in values]
    return np.concatenate(values)


def _cuts(table: Table, rows: int) -> list[int]:
    """Row numbers that part a table into about `rows` rows each, none within a frame."""
    inputs, frame_N = table.inputs_N, table.frame_N
    starts = 1 + np.flatnonzero((frame_N[1:] != frame_N[:-1]) | (inputs[1:] != inputs[:-1]))
    cuts, last = [], 0
    while len(table) - last > rows:
        n = int(np.searchsorted(starts, last + rows, side="right")) - 1
        if n < 0 or starts[n] <= last:
            n += 1  # a frame of more than `rows` faces
        if n == len(starts):
            break
        last = int(starts[n])
        cuts.append(last)
    return cuts


def _person(text: str) -> int:
    number = text.removeprefix(_PERSON)
    return int(number) if text != number and number.isascii() and number.isdigit() else -1


def _within(keys: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """How many equal keys came before each."""
    seen: dict[tuple[Any, ...], int] = {}
    before = []
    for key in keys:
        before.append(seen.get(key, 0))
        seen[key] = before[-1] + 1
    return np.array(before, np.int64)
