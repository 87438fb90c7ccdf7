"""FER2013 (Goodfellow et al. 2013): 35,887 grey faces of 48 px inside a CSV file.

Three forms of Kaggle's files are read (pytorch/vision: torchvision/datasets/fer2013.py):
`icml_face_data.csv` (emotion, Usage, pixels; with blanks in the column names), `fer2013.csv`
(emotion, pixels, Usage), and `train.csv` (emotion, pixels) without the test sets' labels. The
original paper's protocol: Training, PublicTest for validation, PrivateTest for the test.

FER+ (Barsoum et al. 2016, github.com/microsoft/FERPlus: fer2013new.csv) labels the same rows in the
same order by ten votes: Usage, Image name, eight emotions, unknown, NF (not a face).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pixels, Recording
from jaxfacs.errors import UserError

EMOTIONS = {"fer": facs.EMOTION_SETS["fer2013"], "fer_plus": facs.EMOTION_SETS["fer_plus"]}
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
FORMS = ("icml_face_data.csv", "fer2013.csv", "train.csv")
VOTES = (*facs.EMOTION_SETS["fer_plus"], "unknown", "not_a_face")
SIDE = 48
FEWEST_VOTES = 2  # a single vote is taken for an error: FERPlus, src/ferplus.py


@dataclass(frozen=True)
class Options:
    """What can be chosen for FER2013.

    Attributes:
      labels: fer: as Kaggle gave them; fer_plus: what more than half of FER+'s votes say (single
        votes apart), and the votes as attributes. Pictures that FER+ calls no face are left out.
    """

    labels: Literal["fer", "fer_plus"] = "fer"


class Face(NamedTuple):
    """One row: its number from 0, its label and its picture."""

    row: int
    emotion: int
    frame_HW: np.ndarray


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    path = _csv(source)
    left_out: list[LeftOut] = []
    faces: dict[str, list[Face]] = {}
    used: list[str] = []  # Usage by row
    for line, usage, emotion, pixels in _rows(path):
        row = len(used)
        used.append(usage)
        frame_HW = _picture(pixels)
        if frame_HW is None:
            left_out.append(LeftOut(path.name, row, "unreadable", path.name, line))
        else:
            faces.setdefault(usage, []).append(Face(row, emotion, frame_HW))
    if not faces:
        raise UserError(f"{path}: no row has {SIDE * SIDE} grey levels; copy it again")
    votes_NV = _votes(path, source, used) if options.labels == "fer_plus" else None
    recordings: list[Recording] = []
    for usage, ones in faces.items():
        if votes_NV is not None:
            # NF has most of the votes: no face to learn from.
            shown = [one for one in ones if votes_NV[one.row].argmax() < len(VOTES) - 1]
            left_out += [
                LeftOut(path.name, one.row, "not a face, as FER+ has it")
                for one in ones
                if votes_NV[one.row].argmax() == len(VOTES) - 1
            ]
            ones = shown
        rows_N = np.array([one.row for one in ones], int)
        emotion_N = np.array([one.emotion for one in ones], int)
        split = SPLITS.get(usage)
        recordings += reading.stills(
            split or "fer2013",
            "",
            Pixels(tuple(one.frame_HW for one in ones)),
            split=split,
            place_T=rows_N,
            emotion_T=emotion_N if votes_NV is None else majority(votes_NV[rows_N]),
            attributes_TK=None if votes_NV is None else votes_NV[rows_N].astype(np.float32),
        )
    return Delivery(
        recordings,
        emotions=EMOTIONS[options.labels],
        attributes=() if votes_NV is None else tuple(f"votes_{name}" for name in VOTES),
        inputs=[path] if votes_NV is None else [path, _fer_plus(path, source)],
        left_out=left_out,
        notes=("train.csv names no test set; the pictures are dealt out",) if "" in faces else (),
    )


def majority(votes_NV: np.ndarray) -> np.ndarray:
    """The emotion with more than half of the votes, those given once apart; −1 where none has."""
    counted_NV = np.where(votes_NV >= FEWEST_VOTES, votes_NV, 0)
    best_N = counted_NV.argmax(1)
    sure_N = counted_NV.max(1) > counted_NV.sum(1) / 2
    emotions = len(facs.EMOTION_SETS["fer_plus"])
    return np.where(sure_N & (best_N < emotions), best_N, -1)


def _csv(source: Path) -> Path:
    reading.require_folders(source, *FORMS, "fer2013/*.csv", title="FER2013")
    for form in FORMS:
        for folder in (source, *sorted(path for path in source.iterdir() if path.is_dir())):
            if (folder / form).is_file():
                return folder / form
    raise UserError(f"{source} holds none of {', '.join(FORMS)}; copy FER2013 again")


def _rows(path: Path) -> Iterator[tuple[int, str, int, str]]:
    """Yields (line, Usage or "", emotion, pixels). UserError for a row that says something else."""
    rows = reading.rows_of(path)
    header = next(rows, (0, []))[1]
    table = reading.Table(path, header, [])
    emotion_at, pixels_at = table.column("emotion"), table.column("pixels")
    usage_at = table.column("Usage") if path.name != "train.csv" or "Usage" in header else None
    emotions = len(EMOTIONS["fer"])
    for line, cells in rows:
        if len(cells) < len(header):
            raise UserError(f"{path}, line {line}: {len(cells)} columns; copy the file again")
        usage = "" if usage_at is None else cells[usage_at]
        if usage and usage not in SPLITS:
            raise UserError(f"{path}, line {line}: Usage {usage!r} is none of {', '.join(SPLITS)}")
        if cells[emotion_at] not in map(str, range(emotions)):
            raise UserError(
                f"{path}, line {line}: emotion {cells[emotion_at]!r} is not 0 to {emotions - 1}"
            )
        yield line, usage, int(cells[emotion_at]), cells[pixels_at]


def _picture(pixels: str) -> np.ndarray | None:
    """uint8 48×48; None where the numbers are too few, too many or no grey levels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # said of text that is no number
            level_N = np.fromstring(pixels, np.int64, sep=" ")  # a sixth of the time of split()
    except (ValueError, DeprecationWarning):
        return None
    if len(level_N) != SIDE * SIDE or level_N.min() < 0 or level_N.max() > 255:
        return None
    return level_N.astype(np.uint8).reshape(SIDE, SIDE)


def _fer_plus(path: Path, source: Path) -> Path:
    folders = (path.parent, source, source / "FERPlus", source / "FERPlus-master")
    found = [folder / "fer2013new.csv" for folder in folders]
    return next((file for file in found if file.is_file()), found[0])


def _votes(path: Path, source: Path, used: Sequence[str]) -> np.ndarray:
    """int64 N×10 votes. UserError where the rows of FER+ are not those of FER2013."""
    if "" in used:
        raise UserError(
            "FER+ labels the rows of fer2013.csv or icml_face_data.csv, of which train.csv is a "
            "part; add one of them"
        )
    table = reading.table(_fer_plus(path, source))
    usage_at = table.column("Usage")
    columns = [table.column(name) for name in (*VOTES[:-1], "NF")]
    if len(table.rows) != len(used):
        raise UserError(f"{table.path} has {len(table.rows)} rows, {path.name} {len(used)}")
    for (line, cells), usage in zip(table.rows, used, strict=True):
        if cells[usage_at] != usage:
            raise UserError(
                f"{table.path}, line {line}: {cells[usage_at]} where {path.name} has {usage}"
            )
    return table.numbers(columns).astype(np.int64)


BUILDER = Builder(
    name="fer2013",
    title="FER2013",
    task="emotions in grey faces of 48 px",
    labels="one of seven emotions; or FER+'s eight with their votes",
    subjects=0,
    licence="as Kaggle's competition has it; research",
    obtain="kaggle.com: Challenges in Representation Learning, Facial Expression Recognition",
    citation="Goodfellow et al., Challenges in Representation Learning, ICONIP 2013",
    read=read,
    options=Options,
    layout="icml_face_data.csv, fer2013.csv or train.csv; fer2013new.csv for FER+",
    frames=1,
    faces=("whole",),
    size=SIDE,
    known=(
        Known(
            "Goodfellow et al. 2013",
            {"frames": 35887, "frames/train": 28709, "frames/validation": 3589,
             "frames/test": 3589},
            when={"labels": "fer"},
        ),
    ),
)  # fmt: skip
