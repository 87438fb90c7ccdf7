"""The columns of a table of results: OpenFace's, and py-feat's.

A layout knows its header, what kind of value each column holds, and the lines of a frame. Numbers
are written with a fixed number of decimals; a number that is not known is an empty cell.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxfacs import facs
from jaxfacs.errors import UserError
from jaxfacs.infer.answer import INTENSITY_DECIMALS, PROBABILITY_DECIMALS
from jaxfacs.infer.answers import AFFECT_DECIMALS, CONFIDENCE_DECIMALS, EMOTION_DECIMALS
from jaxfacs.infer.results import FaceResult, FrameResult

Kind = Literal["int", "flag", "number", "text"]
Column = tuple[str, Kind, int]  # name, what it holds, decimals

AFFECT = ("valence", "arousal")
LEADING = ("frame", "face_id", "timestamp", "confidence", "success")
BOX = ("box_x", "box_y", "box_w", "box_h")
BOX_DECIMALS = 1
TIME_DECIMALS = 3
UNKNOWN = math.nan

RECT = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
# py-feat's names of emotions in the order of its tables. Its reader takes a table that has valence
# and arousal for one of its second detector, and then looks for the second set of names.
PY_FEAT_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
PY_FEAT_2_EMOTIONS = {
    "neutral": "Neutral",
    "happiness": "Happy",
    "sadness": "Sad",
    "surprise": "Surprise",
    "fear": "Fear",
    "disgust": "Disgust",
    "anger": "Anger",
}


@dataclass(frozen=True)
class Layout:
    """How frames become lines.

    Attributes:
      name: "openface" or "py-feat".
      header: names of the columns.
      kinds: of each column: whole number, 0 or 1, number, text.
      lines: a frame -> its rows, CSV text without line ends.
    """

    name: str
    header: tuple[str, ...]
    kinds: tuple[Kind, ...]
    lines: Callable[[FrameResult], list[str]]

    @property
    def first_line(self) -> str:
        """The header as CSV text."""
        return ",".join(map(quoted, self.header))


def create(
    name: str,
    *,
    aus: Sequence[str],
    emotions: Sequence[str],
    valence_arousal: bool = False,
    names: Sequence[str] = (),
    source: str | None = None,
    boxes: bool = True,
) -> Layout:
    """The layout of that name; arguments as in `tables.writing`."""
    if name not in LAYOUTS:
        raise UserError(f"there is no layout {name!r}; choose one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name](tuple(aus), tuple(emotions), valence_arousal, names, source, boxes)


def openface(
    aus: tuple[str, ...],
    emotions: tuple[str, ...],
    affect: bool,
    names: Sequence[str],
    source: str | None,
    boxes: bool,
) -> Layout:
    """OpenFace's columns; then what it does not have: probabilities, affect, emotions, boxes."""
    del source
    columns: list[Column] = [
        *_columns(("frame", "face_id"), "int", 0),
        ("timestamp", "number", TIME_DECIMALS),
        ("confidence", "number", CONFIDENCE_DECIMALS),
        ("success", "flag", 0),
        *_columns((facs.column(a, "r") for a in aus), "number", INTENSITY_DECIMALS),
        *_columns((facs.column(a, "c") for a in aus), "flag", 1),
        *_columns((facs.column(a, "p") for a in aus), "number", PROBABILITY_DECIMALS),
        *_columns(AFFECT if affect else (), "number", AFFECT_DECIMALS),
        *_columns(emotions, "number", EMOTION_DECIMALS),
        *_columns(BOX if boxes else (), "number", BOX_DECIMALS),
        *_columns(("input",) if names else (), "text", 0),
    ]
    form = ",".join(f"%.{decimals}f" for _, kind, decimals in columns if kind != "text")
    blanks = "," * (len(columns) - len(LEADING))

    def lines(result: FrameResult) -> list[str]:
        end = f",{quoted(names[result.frame - 1])}" if names else ""
        if not result.faces:
            leading = f"{result.frame},-1,{result.timestamp:.{TIME_DECIMALS}f},0.00,0"
            return [leading + (blanks[1:] + end if names else blanks)]
        return [_cleaned(form % values(result, face)) + end for face in result.faces]

    def values(result: FrameResult, face: FaceResult) -> tuple[float, ...]:
        return (
            *(result.frame, face.face_id, result.timestamp, face.confidence, 1),
            *face.intensity_A.tolist(),
            *face.present_A.tolist(),
            *face.probability_A.tolist(),
            *(_affect(face) if affect else ()),
            *face.emotion_E.tolist(),
            *(face.box_4.tolist() if boxes else ()),
        )

    return _layout("openface", columns, lines)


def py_feat(
    aus: tuple[str, ...],
    emotions: tuple[str, ...],
    affect: bool,
    names: Sequence[str],
    source: str | None,
    boxes: bool,
) -> Layout:
    """py-feat's columns as far as they are known here; then our time in seconds."""
    del boxes  # py-feat's own columns hold them
    own = tuple(PY_FEAT_2_EMOTIONS) if affect else PY_FEAT_EMOTIONS
    own_names = tuple(PY_FEAT_2_EMOTIONS.values()) if affect else PY_FEAT_EMOTIONS
    other = tuple(e for e in emotions if facs.emotions.canonical(e) not in own)
    place = {facs.emotions.canonical(e): n for n, e in enumerate(emotions)}
    order = [place.get(e) for e in own] + [place[facs.emotions.canonical(e)] for e in other]
    columns: list[Column] = [
        ("frame", "int", 0),
        *_columns(RECT, "number", BOX_DECIMALS),
        ("FaceScore", "number", CONFIDENCE_DECIMALS),
        *_columns((facs.column(a, "p")[:-2] for a in aus), "number", PROBABILITY_DECIMALS),
        *_columns(own_names, "number", EMOTION_DECIMALS),
        *_columns(other, "number", EMOTION_DECIMALS),
        *_columns(AFFECT if affect else (), "number", AFFECT_DECIMALS),
        *_columns(("input", "approx_time", "Identity"), "text", 0),
        ("timestamp", "number", TIME_DECIMALS),
    ]
    form = ",".join(f"%.{d}f" for _, kind, d in columns[:-1] if kind != "text")
    blanks = "," * (form.count(",") - 1 - len(RECT))

    def lines(result: FrameResult) -> list[str]:
        minutes, seconds = divmod(max(int(result.timestamp), 0), 60)
        name = quoted(names[result.frame - 1] if names else source or "")
        middle = f",{name},{minutes:02d}:{seconds:02d},"
        end = f",{result.timestamp:.{TIME_DECIMALS}f}"
        if not result.faces:
            return [f"{result.frame - 1},,,,,0.00{blanks}{middle}{end}"]
        return [
            f"{_cleaned(form % values(result, face))}{middle}Person_{face.face_id}{end}"
            for face in result.faces
        ]

    def values(result: FrameResult, face: FaceResult) -> tuple[float, ...]:
        emotion = face.emotion_E.tolist()
        return (
            *(result.frame - 1, *face.box_4.tolist(), face.confidence),
            *face.probability_A.tolist(),
            *(UNKNOWN if n is None else emotion[n] for n in order),
            *(_affect(face) if affect else ()),
        )

    return _layout("py-feat", columns, lines)


LAYOUTS = {"openface": openface, "py-feat": py_feat}


def quoted(text: str) -> str:
    """A cell of a CSV: in quotation marks where it must be."""
    if any(mark in text for mark in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def _columns(names: Iterable[str], kind: Kind, decimals: int) -> list[Column]:
    return [(name, kind, decimals) for name in names]


def _layout(
    name: str,
    columns: Sequence[Column],
    lines: Callable[[FrameResult], list[str]],
) -> Layout:
    header = tuple(column for column, _, _ in columns)
    return Layout(name, header, tuple(kind for _, kind, _ in columns), lines)


def _affect(face: FaceResult) -> Sequence[float]:
    affect_2 = face.valence_arousal_2
    return (UNKNOWN, UNKNOWN) if affect_2 is None else affect_2.tolist()


def _cleaned(line: str) -> str:
    """Numbers only: what is not finite becomes an empty cell, and zero has no sign."""
    if "n" not in line and "-0." not in line:
        return line
    cells = line.split(",")
    for n, cell in enumerate(cells):
        if "n" in cell:
            cells[n] = ""
        elif cell.startswith("-0.") and not float(cell):
            cells[n] = cell[1:]
    return ",".join(cells)
