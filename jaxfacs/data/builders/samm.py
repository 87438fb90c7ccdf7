"""SAMM (Davison et al. 2018): micro-movements at 200 frames a second; its long films as well.

`SAMM_Micro_FACS_Codes_v2.xlsx` has its header in row 14, below notes; frames lie in
`SAMM/006/006_1_2/006_05562.jpg`, their numbers those of the sheet (tvaranka/meb:
meb/datasets/datasets.py). AUs carry sides and grades ("L12", "R14A") and free words ("R12 or R15":
both unknown here). The long films (`SAMM_longvideos/006_1/006_1_0001.jpg`, from 1) are coded in
`SAMM_LongVideos_V*_Release.xlsx`, header in row 10, `Type` "Macro" or "Micro - 1/2"; an onset of 0
or less is unknown, and the apex stands for it (public readers of MEGC 2020 and 2021).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import micro, reading
from jaxfacs.data.delivery import Builder, Delivery
from jaxfacs.facs.emotions import canonical

EMOTIONS = facs.EMOTION_SETS["samm"]
CLASSES = {"own": EMOTIONS, "megc2019": facs.EMOTION_SETS["smic"]}
FPS = 200.0
ROWS = 159  # of the released sheet; repairs are for its rows
# Row below the header -> column -> what tvaranka/meb puts there: a wrong offset, AUs that are left
# open by "or", and apexes that are missing, the last two estimated by them from optical flow.
REPAIRS: Mapping[int, tuple[str, str]] = {
    15: ("Action Units", "R12 + R15"),
    18: ("Action Units", "R12 + R15"),
    41: ("Action Units", "L14"),
    56: ("Offset Frame", "5739"),
    64: ("Action Units", "R14"),
    125: ("Apex Frame", "1105"),
    132: ("Apex Frame", "4945"),
    133: ("Apex Frame", "5130"),
    154: ("Action Units", "R14A"),
}
# The long films end before these offsets (public readers of SAMM Long Videos): clip -> last frame.
LAST_FRAME = {"020_6_5": 5001, "036_7_4": 8201}


@dataclass(frozen=True)
class Options:
    """What can be chosen for SAMM.

    Attributes:
      part: clips: the micro-movements cut out; long: macro- and micro-movements in whole films.
      emotions: own: the estimated emotion; megc2019: negative, positive, surprise, the rest left
        out. The long films have none.
      repair: mend the cells that are known to be wrong or open, each told; no: they stay unknown.
      around: so many frames before the onset and behind the offset are taken as well.
      protocol: subjects: dealt out; all: everything is for training.
      test_subject: this one person (such as 006) is the test, all others are for training.
    """

    part: Literal["clips", "long"] = "clips"
    emotions: Literal["own", "megc2019"] = "own"
    repair: bool = True
    around: int = 0
    protocol: Literal["subjects", "all"] = "subjects"
    test_subject: str = ""


def read(source: Path, options: Options) -> Delivery:
    """Every movement coded in `source`; see the module for what is expected."""
    long = options.part == "long"
    pattern = "SAMM*Long*.xlsx" if long else "SAMM*FACS*.xlsx"
    source = reading.require_folders(source, pattern, "SAMM*", "[0-9][0-9][0-9]", title="SAMM")
    book = micro.workbook(source, pattern, title="SAMM")
    sheet = micro.Sheet()
    (_read_long if long else _read_clips)(source, book, options, sheet)
    return micro.delivery(
        source,
        sheet,
        fps=FPS,
        around=options.around,
        protocol=options.protocol,
        test_subject=options.test_subject,
        emotions=() if long else CLASSES[options.emotions],
        attributes=("micro",) if long else ("micro", "objective_class"),
        inputs=(book,),
    )


def _read_clips(source: Path, book: Path, options: Options, sheet: micro.Sheet) -> None:
    table = micro.sheet_with(
        book, "Subject", "Filename", "Onset Frame", "Action Units", filled="Filename"
    )
    if options.repair:
        sheet.notes += _repaired(table)
    of = {name: table.column(name) for name in _COLUMNS}
    folder_of = {p.name: p for p in micro.folders(source, r"\d{3}_\d+_\d+")}
    unknown: set[str] = set()
    for line, cells in table.rows:
        told = {name: micro.cell(cells, column) for name, column in of.items()}
        clip = reading.inside(told["Filename"], file=book, line=line)
        subject = clip.split("_")[0]
        folder = folder_of.get(clip, source / subject / clip)
        emotion = canonical(told["Estimated Emotion"])
        if options.emotions == "megc2019":
            if emotion not in micro.MEGC_2019:
                continue
            emotion = micro.MEGC_2019[emotion]
        classes = CLASSES[options.emotions]
        unknown |= {emotion} - set(classes)
        sheet.add_row(
            folder,
            source,
            [told[name] for name in ("Onset Frame", "Apex Frame", "Offset Frame")],
            row=(book.name, line),
            name=clip,
            subject=subject,
            cell=micro.Cell.parse(told["Action Units"]),
            emotion=classes.index(emotion) if emotion in classes else -1,
            attributes=(1.0, _class(told["Objective Classes"])),
        )
    if unknown:
        sheet.notes.append(
            f"emotions that are none of SAMM's, unknown: {', '.join(sorted(unknown))}"
        )


_COLUMNS = (
    "Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Action Units", "Estimated Emotion",
    "Objective Classes",
)  # fmt: skip


def _repaired(table: reading.Table) -> list[str]:
    """Mends the cells in `REPAIRS` that still are as bad as they were, and says so."""
    if len(table.rows) != ROWS:
        return [f"the sheet has {len(table.rows)} rows, not {ROWS}: no cell was mended"]
    notes = []
    for row, (name, value) in REPAIRS.items():
        line, cells = table.rows[row]
        column = table.column(name)
        was = micro.cell(cells, column)
        if _BAD[name](was, value):
            cells[column] = value
            notes.append(f"mended, after tvaranka/meb: line {line}, {name} {was!r} -> {value!r}")
    return notes


def _open(was: str, _: str) -> bool:
    cell = micro.Cell.parse(was)
    return bool(cell.doubtful) or not cell.complete


_BAD: Mapping[str, Callable[[str, str], bool]] = {
    "Action Units": _open,
    "Apex Frame": lambda was, _: micro.frame_number(was) is None,
    "Offset Frame": lambda was, value: was != value,
}


def _class(text: str) -> float:
    number = micro.frame_number(text, least=1)
    return np.nan if number is None else float(number)


def _read_long(source: Path, book: Path, options: Options, sheet: micro.Sheet) -> None:
    table = micro.sheet_with(book, "Filename", "Onset", "Offset", "Type", filled="Filename")
    of = {n: table.column(n) for n in ("Filename", "Onset", "Apex", "Offset", "Type")}
    aus = table.column("Action Units", "Action Unit")
    folder_of = {p.name: p for p in micro.folders(source, r"\d{3}_\d+")}
    for line, cells in table.rows:
        told = {name: micro.cell(cells, column) for name, column in of.items()}
        clip = reading.inside(told["Filename"], file=book, line=line)
        film = "_".join(clip.split("_")[:2])
        folder = folder_of.get(film, source / "SAMM_longvideos" / film)
        onset, apex, offset = (
            micro.frame_number(told[name], least=1) for name in ("Onset", "Apex", "Offset")
        )
        last = LAST_FRAME.get(clip)
        if options.repair and last is not None and offset is not None and offset > last:
            sheet.notes.append(f"mended: {clip} ends with its film at {last}, not at {offset}")
            offset = last
        onset, offset = onset or apex, offset or apex
        path = reading.relative(source, folder)
        if onset is None or offset is None:
            sheet.leave(path, "unreadable labels: no onset or offset", (book.name, line))
            continue
        kind = told["Type"].lower()
        sheet.add(
            micro.Expression(
                name=clip,
                subject=clip.split("_")[0],
                place=folder,
                onset=onset,
                apex=apex,
                offset=offset,
                cell=micro.Cell.parse(micro.cell(cells, aus)),
                attributes=(
                    1.0 if kind.startswith("mic") else 0.0 if kind.startswith("mac") else np.nan,
                ),
                file=book.name,
                line=line,
            ),
            path=path,
        )


BUILDER = Builder(
    name="samm",
    title="SAMM",
    task="micro-movements with AUs, at 200 frames a second",
    labels="AUs of a clip with sides, some graded; onset, apex, offset; estimated emotion",
    subjects=32,
    licence="signed agreement with Manchester Metropolitan University; research only",
    obtain="request: page of A. Davison and M. H. Yap, Manchester Metropolitan University",
    citation="Davison et al., SAMM, IEEE Transactions on Affective Computing 9 (2018) 116-129",
    read=read,
    options=Options,
    layout="SAMM_Micro_FACS_Codes_v2.xlsx and SAMM/006/006_1_2/006_05562.jpg",
    frames=64,
    people="samm",
)
