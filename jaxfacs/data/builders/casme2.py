"""CASME II (Yan et al. 2014): micro-expressions with AUs, at 200 frames a second.

`CASME2-coding-20140508.xlsx` has a row a clip: Subject, Filename, a blank column, OnsetFrame,
ApexFrame ("/" in 21 rows: unknown), OffsetFrame, a blank column, Action Units ("4+L10"; "?" is
unknown), Estimated Emotion. Pictures: `CASME2_RAW_selected/sub01/EP02_01f/img46.jpg`, aligned faces
`Cropped/sub01/EP02_01f/reg_img46.jpg`, numbered as in the sheet (tvaranka/meb:
meb/datasets/datasets.py). `CASME2-ObjectiveClasses.xlsx`, if it is there, gives classes by AUs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import micro, reading
from jaxfacs.data.delivery import Builder, Delivery, Known
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

EMOTIONS = facs.EMOTION_SETS["casme2"]
FIVE = ("happiness", "disgust", "repression", "surprise", "other")
CLASSES = {"own": EMOTIONS, "five": FIVE, "megc2019": facs.EMOTION_SETS["smic"]}
FPS = 200.0
ROWS = (255, 256)  # of the released sheets; repairs are for their rows
# Row below the header -> what tvaranka/meb puts there: an offset that the pictures contradict, and
# the missing apexes, estimated by them from optical flow.
OFFSET_REPAIRS: Mapping[int, int] = {60: 91}
APEX_REPAIRS: Mapping[int, int] = {
    29: 279, 35: 68, 43: 77, 45: 81, 51: 166, 53: 100, 60: 78, 117: 187, 118: 89, 126: 80, 136: 88,
    147: 134, 155: 231, 168: 53, 170: 329, 177: 111, 202: 91, 203: 103, 234: 98, 237: 153, 238: 98,
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What can be chosen for CASME II.

    Attributes:
      pictures: raw: whole views; cropped: faces aligned by the owners.
      emotions: own: the seven of the sheet; five: without sadness and fear; megc2019: negative,
        positive, surprise. Clips of other emotions are left out.
      repair: mend the cells that are known to be wrong, and missing apexes as estimated by others;
        each is told. no: apexes stay unknown.
      around: so many frames before the onset and behind the offset are taken as well.
      protocol: subjects: dealt out; all: everything is for training.
      test_subject: this one person (such as sub01) is the test, all others are for training.
    """

    pictures: Literal["raw", "cropped"] = "raw"
    emotions: Literal["own", "five", "megc2019"] = "own"
    repair: bool = True
    around: int = 0
    protocol: Literal["subjects", "all"] = "subjects"
    test_subject: str = ""


def read(source: Path, options: Options) -> Delivery:
    """Every clip coded in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "CASME2*", "Cropped*", "sub[0-9]*", title="CASME II")
    book = micro.workbook(source, "CASME2*cod*.xlsx", title="CASME II")
    table = micro.sheet_with(
        book, "Subject", "Filename", "OnsetFrame", "Action Units", filled="Filename"
    )
    sheet = micro.Sheet()
    if options.repair:
        sheet.notes += _repaired(table)
    subject_of = _subjects(source, options.pictures)
    objective, inputs = _objective(source)
    _read_rows(source, table, options, sheet, subject_of, objective)
    return micro.delivery(
        source,
        sheet,
        fps=FPS,
        around=options.around,
        protocol=options.protocol,
        test_subject=options.test_subject,
        emotions=CLASSES[options.emotions],
        attributes=("micro", "objective_class"),
        inputs=(book, *inputs),
        faces=("whole",) if options.pictures == "cropped" else (),
    )


def _read_rows(
    source: Path,
    table: reading.Table,
    options: Options,
    sheet: micro.Sheet,
    subject_of: Mapping[str, Path],
    objective: Mapping[tuple[str, str], int],
) -> None:
    book, classes = table.path, CLASSES[options.emotions]
    of = {name: table.column(name) for name in _COLUMNS}
    unknown: set[str] = set()
    for line, cells in table.rows:
        told = {name: micro.cell(cells, column) for name, column in of.items()}
        number = micro.frame_number(told["Subject"].lower().removeprefix("sub"))
        if number is None:
            raise UserError(f"{book}, line {line}: subject {told['Subject']!r} is no number")
        subject = f"sub{number:02d}"
        clip = reading.inside(told["Filename"], file=book, line=line)
        folder = _folder(subject_of.get(subject, source / subject), clip)
        emotion = canonical(told["Estimated Emotion"])
        if emotion not in EMOTIONS:
            unknown.add(emotion)
        if options.emotions == "megc2019":
            emotion = micro.MEGC_2019.get(emotion, "")
        if options.emotions != "own" and emotion not in classes:
            continue
        sheet.add_row(
            folder,
            source,
            [told[name] for name in ("OnsetFrame", "ApexFrame", "OffsetFrame")],
            row=(book.name, line),
            name=f"{subject}/{clip}",
            subject=subject,
            cell=micro.Cell.parse(told["Action Units"]),
            emotion=classes.index(emotion) if emotion in classes else -1,
            attributes=(1.0, float(objective.get((subject, clip.lower()), np.nan))),
        )
    if unknown:
        told = ", ".join(sorted(unknown))
        sheet.notes.append(f"emotions that are none of CASME II's, unknown: {told}")


_COLUMNS = (
    "Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units",
    "Estimated Emotion",
)  # fmt: skip


def _repaired(table: reading.Table) -> list[str]:
    """Mends the known cells where they still are as bad as they were, and says so."""
    if len(table.rows) not in ROWS:
        wanted = " or ".join(map(str, ROWS))
        return [f"the sheet has {len(table.rows)} rows, not {wanted}: no cell was mended"]
    notes = []
    for name, repairs in (("OffsetFrame", OFFSET_REPAIRS), ("ApexFrame", APEX_REPAIRS)):
        column = table.column(name)
        for row, value in repairs.items():
            line, cells = table.rows[row]
            was = micro.cell(cells, column)
            if (name == "ApexFrame" and micro.frame_number(was) is not None) or was == str(value):
                continue
            cells[column] = str(value)
            notes.append(f"mended, after tvaranka/meb: line {line}, {name} {was!r} -> {value}")
    return notes


def _subjects(source: Path, kind: str) -> dict[str, Path]:
    """sub01 -> its folder of the chosen kind of pictures."""
    mark = "crop" if kind == "cropped" else "raw"
    every = micro.folders(source, r"sub\d+")
    if not every:
        raise UserError(f"{source} has no folder sub01; copy CASME2_RAW_selected or Cropped there")

    def told(path: Path) -> str:
        return reading.relative(source, path.parent).lower()

    plain = not any("raw" in told(path) or "crop" in told(path) for path in every)
    chosen = [path for path in every if plain or mark in told(path)]
    # The whole films' frames lie beside the selected ones, under the same names.
    selected = [path for path in chosen if "selected" in told(path)]
    found: dict[str, Path] = {}
    for path in selected or chosen:
        subject = f"sub{reading.number_of(path):02d}"
        if subject in found:
            raise UserError(f"{path} and {found[subject]} are both {subject}; remove one of them")
        found[subject] = path
    if not found:
        raise UserError(f"{source} has no {kind} pictures; choose the other --pictures")
    return found


def _folder(subject: Path, clip: str) -> Path:
    """The clip's folder, whatever the case of its letters."""
    exact = subject / clip
    if exact.is_dir() or not subject.is_dir():
        return exact
    return next((p for p in sorted(subject.iterdir()) if p.name.lower() == clip.lower()), exact)


def _objective(source: Path) -> tuple[dict[tuple[str, str], int], tuple[Path, ...]]:
    """(subject, clip) -> class by AUs, 1–7, where the workbook is there."""
    books = micro.workbooks(source, "CASME2*Objective*.xlsx")
    if not books:
        return {}, ()
    table = micro.sheet_with(books[0], "Subject", "Filename")
    subject, clip = table.column("Subject"), table.column("Filename")
    kind = table.column("Objective Class", "Objective Classes", "ObjectiveClass")
    found = {}
    for _, cells in table.rows:
        who = re.sub(r"\D", "", micro.cell(cells, subject))
        number = micro.frame_number(micro.cell(cells, kind), least=1)
        if who and number is not None:
            found[f"sub{int(who):02d}", micro.cell(cells, clip).lower()] = number
    return found, (books[0],)


BUILDER = Builder(
    name="casme2",
    title="CASME II",
    task="micro-expressions with AUs, at 200 frames a second",
    labels="AUs of a clip, some with sides; onset, apex, offset; estimated emotion",
    subjects=26,
    licence="signed agreement with the Institute of Psychology, CAS; research only",
    obtain="licence agreement at casme.psych.ac.cn/casme/e2",
    citation="Yan et al., CASME II, PLoS ONE 9 (2014) e86041",
    read=read,
    options=Options,
    layout="CASME2-coding-20140508.xlsx and CASME2_RAW_selected/sub01/EP02_01f/img46.jpg",
    frames=64,
    people="casme2",
    known=(Known("Yan et al. 2014", {"subjects": 26}, {"emotions": "own"}),),
)
