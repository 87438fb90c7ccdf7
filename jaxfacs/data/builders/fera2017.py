"""FERA 2017 (Valstar et al. 2017): BP4D's faces rendered from nine sides; 6 is the front.

Names (ReaderFera2017 in the public code of C. Corneanu; the challenge's guidelines): films
`FERA17_TR_F001_T1_6.mp4` of the training and `FERA17_VA_…` of the validation set, whose last
number is the view; `FERA17_TR_F001_T1.csv` with a header of numbers, the frame's first, then 10
AUs, 0 or 1; `FERA17_TR_F001_T1_AU06_Int.csv` with frame and intensity 0-5. Folders are called
differently in every copy, so files are known by their names, wherever they lie. Each row is a frame
of the film, from its first on; that reader joins them so.

The training people are BP4D's, by BP4D's numbers. The validation people are of BP4D+, under numbers
of nobody knows which list: here they have names of their own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import bp4d, reading
from jaxfacs.data.delivery import Builder, Delivery, Film, LeftOut, Recording, with_aus
from jaxfacs.errors import UserError

SETS = {"TR": "train", "VA": "validation"}
AUS = facs.DATASET_AUS["fera2017"]
CHOSEN = {"occurrence": AUS, "intensity": facs.DATASET_AUS["fera2017_intensity"]}
NAME = re.compile(
    r"FERA17_(?P<set>TR|VA)_(?P<subject>[FM]\d+)_(?P<task>T\d+)"
    r"(?:_(?P<view>[1-9])|_AU0*(?P<au>\d+)(?:_Int)?)?",
    re.IGNORECASE,
)
FPS = 25.0  # BP4D's; the films' own times are used
Key = tuple[str, str, str]  # TR or VA, subject, task


@dataclass(frozen=True)
class Options:
    """What can be chosen for FERA 2017.

    Attributes:
      view: 1 to 9, where 6 is the front; all: nine recordings a task.
      protocol: official: the challenge's training and validation set; subjects: dealt out.
      aus: the 10 of the occurrence task, or the 7 of the intensity task.
      numbering: rows: the first row is the film's first frame; film: the rows' numbers count the
        film's frames from 1.
    """

    view: Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "all"] = "6"
    protocol: Literal["official", "subjects"] = "official"
    aus: Literal["occurrence", "intensity"] = "occurrence"
    numbering: Literal["rows", "film"] = "rows"


@dataclass(eq=False)
class Files:
    """What lies in a delivery.

    Attributes:
      occurrence: (set, subject, task) -> file. graded: the same -> AU -> file.
      films: the same -> view -> film.
    """

    occurrence: dict[Key, Path] = field(default_factory=dict)
    graded: dict[Key, dict[str, Path]] = field(default_factory=dict)
    films: dict[Key, dict[str, Path]] = field(default_factory=dict)


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    if not source.is_dir():
        raise UserError(f"--source {source} is not a folder")
    files = files_of(source)
    if not files.occurrence and not files.graded:
        raise UserError(
            f"{source} has no label file like FERA17_TR_F001_T1.csv; is it FERA 2017, unpacked?"
        )
    views = _views(source, files, options.view)
    recordings: list[Recording] = []
    left_out = [
        LeftOut(reading.relative(source, path), None, "no label")
        for key, films in files.films.items()
        if key not in files.occurrence and key not in files.graded
        for path in films.values()
    ]
    late = []
    inputs = [*files.occurrence.values()]
    inputs += [path for graded in files.graded.values() for path in graded.values()]
    for key in sorted({*files.occurrence, *files.graded}):
        try:
            numbers_T, occurrence_TA, intensity_TA = labels(files, key)
        except UserError as error:
            damaged = next((path for path in inputs if str(error).startswith(str(path))), source)
            left_out.append(bp4d.unreadable(source, damaged, error))
            continue
        first = 1 if options.numbering == "film" else int(numbers_T[0])
        if first > 1:
            late.append(numbers_T[0])
        numbers = tuple((numbers_T - first).tolist())
        for view in views:
            film = files.films.get(key, {}).get(view) or _missing(source, files, key, view)
            recordings.append(
                Recording(
                    name=f"{SETS[key[0]]}/{key[1]}/{key[2]}/{view}",
                    subject=key[1] if key[0] == "TR" else f"FERA17_VA_{key[1]}",
                    frames=Film(reading.relative(source, film), numbers),
                    occurrence_TA=occurrence_TA,
                    intensity_TA=intensity_TA,
                    place_T=numbers_T,
                    fps=FPS,
                    split=SETS[key[0]] if options.protocol == "official" else None,
                )
            )
    if not recordings:
        raise UserError(f"no label file of {source} can be read: {left_out[-1].reason}")
    notes = []
    if late:
        notes.append(
            f"labels of {len(late)} tasks begin at a frame like {late[0]}; their first row is the "
            "film's first frame (with --numbering film, their numbers count the film's frames)"
        )
    delivery = Delivery(
        recordings, aus=AUS, inputs=inputs, left_out=left_out, notes=notes, root=source
    )
    return with_aus(delivery, CHOSEN[options.aus])


def files_of(source: Path) -> Files:
    """Every file by its name. UserError where two have the same."""
    files = Files()

    def add(found: dict, key: object, path: Path) -> None:
        if key in found:
            raise UserError(f"{path} and {found[key]} hold the same; remove one of them")
        found[key] = path

    for path in reading.files_below(source):
        match = NAME.fullmatch(path.stem)
        if match is None:
            continue
        key = match["set"].upper(), match["subject"].upper(), match["task"].upper()
        if path.suffix.lower() == ".csv" and match["au"]:
            add(files.graded.setdefault(key, {}), match["au"], path)
        elif path.suffix.lower() == ".csv" and not match["view"]:
            add(files.occurrence, key, path)
        elif path.suffix.lower() in reading.FILMS and match["view"]:
            add(files.films.setdefault(key, {}), match["view"], path)
    return files


def labels(files: Files, key: Key) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int numbers_T of the frames, int8 occurrence_TA and float32 intensity_TA over AUS.

    Without an occurrence file occurrence is unknown: its task and that of intensity were coded
    apart. The frames are then those of the first intensity file.
    """
    graded = files.graded.get(key, {})
    columns: Mapping[str, np.ndarray] = {}
    if key in files.occurrence:
        numbers_T, columns = bp4d.occurrence_file(files.occurrence[key])
        if not set(columns) & set(AUS):
            named = " ".join(list(columns)[:12])
            raise UserError(f"{files.occurrence[key]}: none of the 10 AUs is in {named}")
    else:
        numbers_T = reading.frame_numbers(reading.table(graded[min(graded, key=int)], header=False))
    unknown_T = np.full(len(numbers_T), -1, np.int8)
    occurrence_TA = np.stack([columns.get(au, unknown_T) for au in AUS], 1)
    intensity_TA = np.full(occurrence_TA.shape, -1, np.float32)
    for au in set(graded) & set(AUS):
        intensity_TA[:, AUS.index(au)] = bp4d.graded_file(graded[au], numbers_T)
    return numbers_T, occurrence_TA, intensity_TA


def _views(source: Path, files: Files, view: str) -> tuple[str, ...]:
    there = sorted({view for films in files.films.values() for view in films})
    if not there:
        raise UserError(f"{source} has no film like FERA17_TR_F001_T1_6.mp4; put them beside")
    if view != "all" and view not in there:
        raise UserError(f"{source} has no film of view {view}; give --view {' or '.join(there)}")
    return tuple(there) if view == "all" else (view,)


def _missing(source: Path, files: Files, key: Key, view: str) -> Path:
    """Where a film would lie, beside the others of its set."""
    of_set = [other for other in files.films if other[0] == key[0]]
    # Test films may lie elsewhere: where there is a choice, beside one with labels.
    of_set.sort(key=lambda other: (other != key, other not in files.occurrence))
    folder = next(iter(files.films[of_set[0]].values())).parent if of_set else source
    return folder / f"FERA17_{'_'.join(key)}_{view}.mp4"


BUILDER = Builder(
    name="fera2017",
    title="FERA 2017",
    task="AUs of rendered faces from nine sides",
    labels="occurrence of 10 AUs by frame, intensity of 7",
    subjects=61,
    licence="BP4D's agreement and an account of the challenge; research only",
    obtain="the challenge's organisers (sspnet.eu/fera2017), with BP4D's agreement signed",
    citation="Valstar et al., FERA 2017 - addressing head pose, FG 2017, 839-847",
    read=read,
    options=Options,
    layout="FERA17_TR_F001_T1_6.mp4, FERA17_TR_F001_T1.csv, FERA17_TR_F001_T1_AU06_Int.csv",
    people="bp4d",
    overlaps=("bp4d_plus", "eb_plus"),
)
