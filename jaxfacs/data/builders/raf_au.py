"""RAF-AU (Yan et al. 2020): 4,601 blended expressions off the web, AUs coded by experts.

Layout: `RAFAU_label.txt` with rows "0007.jpg 1+2+L12+R14": the AUs that are present, "L" and "R" on
one side only; "null" for none; some rows end in blanks. Pictures: `aligned/0007_aligned.jpg`, or
`original/0007.jpg`. RAF-CE, whose AUs are these, explains that "T" and "B" mean the upper and the
lower lip only (whdeng.cn/RAF/model4.html): the AU is present. No intensities are given.

An AU that is never named in the whole file is taken for not coded. `RAFAU_landmark.txt` is not
read: which pictures' pixels it counts is nowhere said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, with_aus
from jaxfacs.errors import UserError

LIST = "RAFAU_label.txt"
NONE = "null"
SIDES = ("L", "R")
LIPS = ("T", "B")
_TOKEN = re.compile(r"(?:A[UD])?([LRTB]?)(\d{1,2})", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """What can be chosen for RAF-AU.

    Attributes:
      aus: all that are named, or the 24 and 14 one-sided ones that OpenGraphAU reads.
      both_sides: what an AU without a side says of its sides. unknown; present: it is on both;
        absent: as OpenGraphAU counts, where L12 means on the left alone.
      null: what "null" says. absent: no AU is present; unknown: as OpenGraphAU, which leaves these
        pictures out.
      pictures: aligned: the owners' crops; original: the whole pictures.
    """

    aus: Literal["all", "opengraphau"] = "all"
    both_sides: Literal["unknown", "present", "absent"] = "unknown"
    null: Literal["absent", "unknown"] = "absent"
    pictures: Literal["aligned", "original"] = "aligned"


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, LIST, title="RAF-AU")
    listed = source / LIST
    notes: list[str] = []
    left_out: list[LeftOut] = []
    rows = _rows(listed, left_out)
    tokens = {token for _, named in rows.values() for token in named}
    strange = {token for token in tokens if int(token.lstrip("LRTB")) not in facs.ACTION_UNITS}
    if strange:
        notes.append(f"numbers that FACS does not have, not read: {' '.join(sorted(strange))}")
    lips = sorted(token for token in tokens if token[0] in LIPS)
    if lips:
        notes.append(f"upper or lower lip alone, read as present: {' '.join(lips)}")
    if (source / "RAFAU_landmark.txt").is_file():
        notes.append("RAFAU_landmark.txt is not read: which pictures it belongs to is not said")
    aus = _labels(tokens - strange)
    occurrence_NA = np.stack(
        [_occurrence(named - strange, aus, options) for _, named in rows.values()]
    )
    there = reading.numbered(_folder(source, options.pictures))
    paths = tuple(
        reading.relative(source, there[number])
        if number in there
        else f"{options.pictures}/{stem}{'_aligned' if options.pictures == 'aligned' else ''}.jpg"
        for number, (stem, _) in rows.items()
    )
    delivery = Delivery(
        reading.stills("raf_au", "", Pictures(paths), occurrence_TA=occurrence_NA),
        aus=aus,
        inputs=[listed],
        left_out=left_out,
        notes=notes,
        root=source,
        faces=("haar",) if options.pictures == "original" else (),
    )
    return with_aus(delivery, facs.DATASET_AUS["raf_au"] if options.aus == "opengraphau" else ())


def _rows(path: Path, left_out: list[LeftOut]) -> dict[int, tuple[str, frozenset[str]]]:
    """number of the picture -> its name without ending, and the AUs that are named."""
    rows: dict[int, tuple[str, frozenset[str]]] = {}
    lines: dict[int, int] = {}
    for line, text in enumerate(reading.lines_of(path), start=1):
        name, *rest = text.split() or [""]
        if not name:
            continue
        stem = Path(reading.inside(name, file=path, line=line)).stem
        number = reading.number_of(Path(name))
        if not stem.isdigit():
            raise UserError(f"{path}, line {line}: {name!r} should be like 0007.jpg")
        if number in rows:
            raise UserError(f"{path}, line {line}: {name} is in line {lines[number]} already")
        words = [] if rest == [NONE] else "".join(rest).split("+")
        matches = [_TOKEN.fullmatch(word) for word in words]
        if None in matches:
            bad = next(word for word, match in zip(words, matches, strict=True) if match is None)
            reason = f"unreadable labels: {bad or 'nothing'}"
            left_out.append(LeftOut(name, None, reason, path.name, line))
            continue
        tokens = frozenset(f"{m[1].upper()}{int(m[2])}" for m in matches if m is not None)
        rows[number], lines[number] = (stem, tokens), line
    if not rows:
        raise UserError(f"{path} has no row like '0007.jpg 1+2+L12'; copy it again")
    return rows


def _labels(tokens: set[str]) -> tuple[str, ...]:
    """AUs by number, then the sides of those that are coded on one."""
    numbers = sorted({int(token.lstrip("LRTB")) for token in tokens})
    sided = sorted(
        {int(t[1:]) for t in tokens if t[0] in SIDES and facs.ACTION_UNITS[int(t[1:])].sided}
    )
    return (*map(str, numbers), *(side + str(number) for number in sided for side in SIDES))


def _occurrence(named: frozenset[str], aus: Sequence[str], options: Options) -> np.ndarray:
    """int8 occurrence of each of `aus` where `named` are present.

    "L12" alone: 12 and L12 present, R12 absent. "12": see `Options.both_sides`.
    """
    if not named and options.null == "unknown":
        return np.full(len(aus), -1, np.int8)
    both = {"unknown": -1, "present": 1, "absent": 0}[options.both_sides]
    whole = {token.lstrip("TB") for token in named if token[0] not in SIDES}
    sides = {token for token in named if token[0] in SIDES}
    present = whole | {token[1:] for token in sides}

    def value(label: str) -> int:
        if label[0] not in SIDES:
            return int(label in present)
        if label in sides:
            return 1
        return both if label[1:] in whole else 0

    return np.array([value(label) for label in aus], np.int8)


def _folder(source: Path, pictures: str) -> Path:
    inner = source / pictures / pictures  # archives unpack into a folder of their own
    return inner if inner.is_dir() else source / pictures


BUILDER = Builder(
    name="raf_au",
    title="RAF-AU",
    task="AUs of blended expressions off the web",
    labels="AU occurrence with sides",
    subjects=0,
    licence="non-commercial research",
    obtain="e-mail from an institution: whdeng.cn/RAF/model3.html",
    citation="Yan et al., RAF-AU Database: In-the-Wild Facial Expressions, ACCV 2020",
    read=read,
    options=Options,
    layout="RAFAU_label.txt, aligned/0007_aligned.jpg",
    frames=1,
    faces=("whole",),
    overlaps=("raf_db",),
    known=(Known("rows of RAFAU_label.txt as a public report lists them", {"frames": 4601}),),
)
