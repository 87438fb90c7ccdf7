"""DISFA+ (Mavadati et al. 2016): 9 of DISFA's people pose AUs and expressions, 12 AUs graded 0-5.

Layout and values: `Labels/SN001/A1_AU1_TrailNo_1/AU1.txt` (the owners' spelling) has two lines that
begin with "#", then a row a picture, "000.jpg     3"; the pictures are
`Images/SN001/A1_AU1_TrailNo_1/000.jpg`, beside a TimeStamp.txt whose form nobody describes
(cosanlab/py-feat: feat/evaluation/datasets.py). Folders of people are doubled in some copies
(SN001/SN001). The owners' landmarks belong to crops of their own inside the .mat files of
`FaceLandmarks`, not to these pictures; they are not read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import splits
from jaxfacs.data.builders import reading
from jaxfacs.data.builders.disfa import present
from jaxfacs.data.delivery import (
    Builder,
    Delivery,
    Known,
    LeftOut,
    Pictures,
    Recording,
    with_aus,
)
from jaxfacs.errors import UserError

AUS = {"all": facs.DATASET_AUS["disfa_plus"], "occurrence": facs.DATASET_AUS["disfa_8"]}
FPS = 20.0  # commonly said, of DISFA too; no public code confirms it
HEADER_LINES = 2


@dataclass(frozen=True)
class Options:
    """What can be chosen for DISFA+.

    Attributes:
      test_subject: this person is the test split and all others train (one of nine folds, as
        papers do); empty: everybody is dealt out.
      aus: all 12 that are coded, or the 8 of DISFA's occurrence protocol.
      present_from: intensity from which an AU counts as present; 2 as py-feat.
    """

    test_subject: str = ""
    aus: Literal["all", "occurrence"] = "all"
    present_from: Literal[1, 2, 3, 4, 5] = 2


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "Labels/SN*", title="DISFA+")
    trials = _trials(source)
    split_of = (
        splits.one_tested(options.test_subject, (subject for subject, _ in trials))
        if options.test_subject
        else None
    )
    recordings: list[Recording] = []
    left_out: list[LeftOut] = []
    first_error: UserError | None = None
    for (subject, trial), files in trials.items():
        pictures = f"Images/{subject}/{trial}"
        if not (source / pictures).is_dir() and (source / "Images" / subject / subject).is_dir():
            pictures = f"Images/{subject}/{subject}/{trial}"
        try:
            names, intensity_TA = _graded(files)
        except UserError as error:
            first_error = first_error or error
            left_out.append(LeftOut(pictures, None, f"unreadable labels: {error}"))
            continue
        for au in AUS["all"]:
            if au not in files:
                where = reading.relative(source, next(iter(files.values())).parent)
                left_out.append(LeftOut(f"{where}/AU{au}.txt", None, "missing"))
        left_out += _unlabelled(source, pictures, names)
        recordings.append(
            Recording(
                name=f"{subject}/{trial}",
                subject=subject,
                frames=Pictures(tuple(f"{pictures}/{name}" for name in names)),
                occurrence_TA=present(intensity_TA, options.present_from),
                intensity_TA=intensity_TA,
                place_T=np.array([reading.number_of(Path(name)) for name in names]),
                fps=FPS,
                split=None if split_of is None else split_of[subject],
            )
        )
    if first_error is not None and not recordings:
        raise first_error
    delivery = Delivery(
        recordings,
        aus=AUS["all"],
        inputs=[path for files in trials.values() for path in files.values()],
        left_out=left_out,
        root=source,
    )
    return with_aus(delivery, AUS[options.aus])


def _trials(source: Path) -> dict[tuple[str, str], dict[str, Path]]:
    """(subject, trial) -> AU -> label file."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for path in sorted((source / "Labels").rglob("*.txt")):
        match = re.fullmatch(r"AU(\d+)", path.stem, re.IGNORECASE)
        subject = path.relative_to(source / "Labels").parts[0]
        if match is None or match[1] not in AUS["all"] or not re.fullmatch(r"SN\d{3}", subject):
            continue
        files = found.setdefault((subject, path.parent.name), {})
        if match[1] in files:
            raise UserError(f"{path} and {files[match[1]]} hold the same labels; remove one")
        files[match[1]] = path
    if not found:
        raise UserError(f"{source / 'Labels'} has no file like SN001/A1_AU1_TrailNo_1/AU1.txt")
    return found


def _graded(files: Mapping[str, Path]) -> tuple[list[str], np.ndarray]:
    """Names of the pictures by their number, and their float32 intensity_TA."""
    columns = {au: _column(path) for au, path in files.items()}
    names: dict[int, str] = {}
    for au, column in columns.items():
        for name in column:
            other = names.setdefault(reading.number_of(Path(name)), name)
            if other != name:
                raise UserError(f"{files[au]}: {name} and {other} are the same frame")
    ordered = [names[number] for number in sorted(names)]
    intensity_TA = np.full((len(ordered), len(AUS["all"])), -1, np.float32)
    for au, column in columns.items():
        intensity_TA[:, AUS["all"].index(au)] = [column.get(name, -1) for name in ordered]
    return ordered, intensity_TA


def _column(path: Path) -> dict[str, float]:
    """picture -> intensity of one file; −1 where the number is none of 0-5."""
    column: dict[str, float] = {}
    for line, text in enumerate(reading.lines_of(path), start=1):
        cells = text.split()
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != 2 or not re.fullmatch(r"[^/\\]*\d+\.\w+", cells[0]):
            if line <= HEADER_LINES:
                continue
            raise UserError(f"{path}, line {line}: {text.strip()!r} is no picture and its grade")
        try:
            grade = float(cells[1])
        except ValueError:
            raise UserError(f"{path}, line {line}: {cells[1]!r} is no number") from None
        if cells[0] in column:
            raise UserError(f"{path}, line {line}: {cells[0]} comes twice; copy the file again")
        column[cells[0]] = float(reading.intensity(np.array(grade)))
    if not column:
        raise UserError(f"{path} holds no grades; copy it again")
    return column


def _unlabelled(source: Path, folder: str, names: list[str]) -> list[LeftOut]:
    there = [path.name for path in reading.numbered(source / folder).values()]
    return [
        LeftOut(f"{folder}/{name}", None, "no label") for name in there if name not in set(names)
    ]


BUILDER = Builder(
    name="disfa_plus",
    title="DISFA+",
    task="posed AUs and expressions, with their intensity",
    labels="intensity 0-5 of 12 AUs by frame",
    subjects=9,
    licence="signed agreement with the University of Denver; research only",
    obtain="with DISFA: mohammadmahoor.com/disfa-contact-form",
    citation="Mavadati, Sanger, Mahoor, Extended DISFA Dataset, CVPR Workshops 2016",
    read=read,
    options=Options,
    layout="Labels/SN001/A1_AU1_TrailNo_1/AU1.txt, Images/SN001/A1_AU1_TrailNo_1/000.jpg",
    people="disfa",
    known=(Known("people listed in FERGI's and py-feat's readers", {"subjects": 9}),),
)
