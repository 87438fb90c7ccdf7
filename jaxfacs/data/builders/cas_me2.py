"""CAS(ME)² (Qu et al. 2018): macro- and micro-expressions within long films.

`CAS(ME)^2code_final.xlsx` (or "…(Updated)") has three sheets without headers: codes (participant,
clip such as `disgusting1_1`, onset, apex, offset, AUs, emotion, `macro-expression` or
`micro-expression`, self-reported emotion), `naming rule1` (third column the participant, second the
person's id, as in `s15`) and `naming rule2` (four-digit code, stimulus `disgusting1`). Frames count
from 1: `rawpic/s15/15_0101disgustingteeth/img1.jpg`, `rawvideo/s15/15_0101disgustingteeth.avi`. An
offset of 0 is unknown, the apex stands for it; so is an apex of 0 (public readers of MEGC 2020).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import micro, reading
from jaxfacs.data.delivery import Builder, Delivery, Known
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

EMOTIONS = facs.EMOTION_SETS["cas_me2"]
KINDS = {"macro-expression": 0.0, "micro-expression": 1.0}
FPS = 30.0


@dataclass(frozen=True)
class Options:
    """What can be chosen for CAS(ME)².

    Attributes:
      pictures: rawpic: frames of the whole films; rawvideo: the films themselves; cropped: faces
        aligned by the owners.
      emotions: coded: positive, negative, surprise, other; reported: as the people named their own
        feeling; megc2019: negative, positive, surprise of the coded ones, the rest left out.
      around: so many frames before the onset and behind the offset are taken as well.
      protocol: subjects: dealt out; all: everything is for training.
      test_subject: this one person (such as s15) is the test, all others are for training.
    """

    pictures: Literal["rawpic", "rawvideo", "cropped"] = "rawpic"
    emotions: Literal["coded", "reported", "megc2019"] = "coded"
    around: int = 0
    protocol: Literal["subjects", "all"] = "subjects"
    test_subject: str = ""


def read(source: Path, options: Options) -> Delivery:
    """Every expression coded in `source`; see the module for what is expected."""
    pattern = "CAS(ME)^2code*.xlsx"
    source = reading.require_folders(
        source, pattern, "rawpic", "rawvideo", "cropped", title="CAS(ME)²"
    )
    book = micro.workbook(source, pattern, title="CAS(ME)²")
    codes, people, stimuli = _sheets(book)
    top = source / options.pictures
    if not top.is_dir():
        raise UserError(f"{top} is missing; copy it there, or choose other --pictures")
    emotions = _emotions(codes, options)
    sheet = micro.Sheet()
    unknown: set[str] = set()
    for line, cells in codes.rows:
        participant, clip, *numbers = (micro.cell(cells, c) for c in range(5))
        told = micro.cell(cells, 8 if options.emotions == "reported" else 6)
        emotion = canonical(told)
        if options.emotions == "megc2019":
            emotion = micro.MEGC_2019.get(emotion, "")
            if not emotion:
                continue
        unknown |= {emotion} - set(emotions) - {""}
        subject = people.get(participant)
        code = stimuli.get(clip.split("_")[0].strip().lower())
        if subject is None or code is None:
            what = f"participant {participant}" if subject is None else f"stimulus {clip}"
            sheet.leave(f"{participant}/{clip}", f"no name: {what}", (book.name, line))
            continue
        place = _place(top, subject, code, reading.inside(clip, file=book, line=line))
        onset, apex, offset = (micro.frame_number(number, least=1) for number in numbers)
        path = reading.relative(source, place)
        if onset is None or (offset or apex) is None:
            sheet.leave(
                path, "unreadable labels: no onset, or no offset and apex", (book.name, line)
            )
            continue
        sheet.add(
            micro.Expression(
                name=f"{subject}/{clip}",
                subject=subject,
                place=place,
                onset=onset,
                apex=apex,
                offset=offset or apex or onset,
                cell=micro.Cell.parse(micro.cell(cells, 5)),
                emotion=emotions.index(emotion) if emotion in emotions else -1,
                attributes=(KINDS.get(micro.cell(cells, 7).lower(), np.nan),),
                file=book.name,
                line=line,
            ),
            path=path,
        )
    if unknown:
        sheet.notes.append(f"emotions that are not known, left open: {', '.join(sorted(unknown))}")
    return micro.delivery(
        source,
        sheet,
        fps=FPS,
        around=options.around,
        protocol=options.protocol,
        test_subject=options.test_subject,
        emotions=emotions,
        attributes=("micro",),
        inputs=(book,),
        faces=("whole",) if options.pictures == "cropped" else (),
    )


def _sheets(book: Path) -> tuple[reading.Table, dict[str, str], dict[str, str]]:
    """The codes, participant -> "s15", and stimulus -> "0101"."""
    tables = reading.sheets(book)
    rules = {k.lower().replace(" ", ""): v for k, v in tables.items() if "rule" in k.lower()}
    codes = [table for name, table in tables.items() if "rule" not in name.lower()]
    if not {"namingrule1", "namingrule2"} <= set(rules) or not codes:
        raise UserError(
            f"{book} should have a sheet of codes, 'naming rule1' and 'naming rule2'; it has "
            f"{', '.join(tables)}"
        )
    people = {}
    for line, cells in rules["namingrule1"].rows:
        digits = re.sub(r"\D", "", micro.cell(cells, 1) or micro.cell(cells, 0))
        if not digits:
            raise UserError(f"{book}, naming rule1, line {line}: no person's number as in s15")
        people[micro.cell(cells, 2)] = f"s{digits}"
    stimuli = {}
    for _, cells in rules["namingrule2"].rows:
        code, name = micro.cell(cells, 0), micro.cell(cells, 1).lower()
        if re.fullmatch(r"\d+", name):  # a workbook with the two columns exchanged
            code, name = micro.cell(cells, 1), code.lower()
        stimuli[name] = code.zfill(4)  # Excel drops the leading zero of 0101
    return codes[0], people, stimuli


def _place(top: Path, subject: str, code: str, clip: str) -> Path:
    """The folder or film of a stimulus: it begins with person and code, `15_0101`."""
    number = subject.removeprefix("s")
    homes = [top / name for name in (subject, number) if (top / name).is_dir()]
    for home in homes:
        for path in sorted(home.iterdir()):
            if path.name.startswith(f"{number}_{code}") or path.name == clip:
                return path
    return (homes or [top / subject])[0] / f"{number}_{code}"


def _emotions(codes: reading.Table, options: Options) -> tuple[str, ...]:
    if options.emotions == "megc2019":
        return facs.EMOTION_SETS["smic"]
    if options.emotions == "coded":
        return EMOTIONS
    found = {canonical(micro.cell(cells, 8)) for _, cells in codes.rows}
    return tuple(sorted(found - {"", "/", "nan", "none"}))


BUILDER = Builder(
    name="cas_me2",
    title="CAS(ME)²",
    task="macro- and micro-expressions with AUs in long films",
    labels="AUs; onset, apex, offset; positive, negative, surprise or other; self-report",
    subjects=22,
    licence="signed agreement with the Institute of Psychology, CAS; research only",
    obtain="licence agreement at casme.psych.ac.cn",
    citation="Qu et al., CAS(ME)², IEEE Transactions on Affective Computing 9 (2018) 424-436",
    read=read,
    options=Options,
    layout="CAS(ME)^2code_final.xlsx and rawpic/s15/15_0101disgustingteeth/img1.jpg",
    people="cas_me2",
    known=(Known("Qu et al. 2018", {"subjects": 22}, {"emotions": "coded"}),),
)
