"""BP4D-Spontaneous (Zhang et al. 2014): 41 people in 8 tasks, AUs frame by frame.

Layout and values: `AUCoding/AU_OCC/F001_T1.csv` has a row a frame, the frame's number first, then
a column an AU, 0, 1 or 9 (not codable). The header names AUs by bare numbers; the frame's own
column is named 0, or 1 as well, so that column is known by its place alone (CVI-SZU/ME-GraphAU:
tool/BP4D_image_label_process.py). Intensities lie one AU a file, without a header (OpenFace:
extract_BP4D_labels_intensity.m). Pictures are numbered from 1 with padding that differs between
subjects; some deliveries hold films instead. One stretch of some 20 s of each task is coded.

BP4D+, EB+ and FERA 2015 have the same files; their builders use what is here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import splits
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import (
    Builder,
    Delivery,
    Film,
    Known,
    LeftOut,
    Pictures,
    Recording,
    with_aus,
)
from jaxfacs.errors import UserError

# CVI-SZU/ME-GraphAU: tool/BP4D_image_label_process.py; JAA-Net's and MDHR's lists are the same.
THREE_FOLD = {
    "part1": "F001 M007 F018 F008 F002 M004 F010 F009 M012 M001 F016 M014 F023 M008".split(),
    "part2": "M011 F003 M010 M002 F005 F022 M018 M017 F013 M016 F020 F011 M013 M005".split(),
    "part3": "F007 F015 F006 F019 M006 M009 F012 M003 F004 F021 F017 M015 F014".split(),
}
# forever208/FMAE-IAT: AU/AU_json_process.py; the three sets are used as the parts above.
FMAE_THREE_FOLD = {
    "part1": "M016 M015 F020 M003 F019 F021 F004 M017 M011 M006 M004 M014 F016 F008".split(),
    "part2": "F017 F012 F011 M001 M002 F013 M018 F015 F002 F018 M010 M012 M009 F001".split(),
    "part3": "M007 F022 M008 F003 F014 F006 M005 F023 F009 F005 F007 M013 F010".split(),
}
PEOPLE = tuple(subject for part in THREE_FOLD.values() for subject in part)
# fold k of ME-GraphAU tests part 3, 2, 1 for k = 1, 2, 3.
TESTED = {"fold1": "part3", "fold2": "part2", "fold3": "part1"}
# lingjivoo/OpenGraphAU: tool/dataset_process.py
OPENGRAPHAU = {
    "train": (
        "F001 M007 F018 F008 F002 M004 F009 M012 M001 F020 M014 F014 F023 M008 M010 M002 F005 F022 "
        "M018 M017 F013 M013"
    ).split(),
    "validation": "F003 M016 F011 M005 F016 M011".split(),
    "test": "F007 F015 F006 F019 M006 M009 F012 M003 F004 F021 F017 M015 F010".split(),
}
AUS = {
    "all": (),
    "occurrence": facs.DATASET_AUS["bp4d"],
    "intensity": facs.DATASET_AUS["bp4d_intensity"],
}
# Films are named by the number of the original task: forever208/FMAE-IAT, AU/BP4D_preprocess.py.
TASK_OF_FILM = {1: 1, 3: 2, 7: 3, 8: 4, 9: 5, 10: 6, 11: 7, 13: 8}
# Deliveries and papers keep the pictures in one of these.
PICTURE_FOLDERS = (
    *("", "Sequences_2D+3D", "2D+3D", "Sequences", "images"),
    *("BP4D-training", "BP4D/BP4D-training"),  # of FERA 2015
)
CATALOGUE = frozenset(str(number) for number in facs.ACTION_UNITS)
TASK = re.compile(r"([A-Z]+\d+)_(T\d+)")
GRADED = re.compile(r"([A-Z]+\d+)_(T\d+)_AU0*(\d+)")
Key = tuple[str, str]  # subject and task
FPS = 25.0  # the standard statement; no file of the delivery says so


@dataclass(frozen=True)
class Options:
    """What can be chosen for BP4D.

    Attributes:
      protocol: fold1, fold2, fold3 of ME-GraphAU (the common ones); fmae-fold1 … fmae-fold3;
        opengraphau; fera2015 (odd numbers train, even ones are for validation); subjects: dealt
        out.
      aus: all that are coded, the 12 of the occurrence protocol, or the 5 with intensity.
    """

    protocol: Literal[
        "fold1", "fold2", "fold3", "fmae-fold1", "fmae-fold2", "fmae-fold3", "opengraphau",
        "fera2015", "subjects",
    ] = "fold1"  # fmt: skip
    aus: Literal["all", "occurrence", "intensity"] = "all"


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "AUCoding", "AU_OCC", title="BP4D")
    coding = coded_tasks(source, title="BP4D")
    strangers = sorted({subject for subject, _ in coding.tasks} - set(PEOPLE))
    if strangers:
        raise UserError(
            f"{source} holds {', '.join(strangers[:3])}, who is not among the 41 people of BP4D; "
            "jaxfacs data build bp4d_plus or eb_plus reads the larger sets"
        )
    recordings = recordings_of(source, coding, split_of=split_of(options.protocol))
    return with_aus(delivery_of(source, coding, recordings), AUS[options.aus])


@dataclass(frozen=True, eq=False)
class Coding:
    """The label files and films of a Binghamton set.

    Attributes:
      aus: those that were coded.
      tasks: (subject, task) -> int numbers_T of its frames, int8 occurrence_TA, float32
        intensity_TA.
      films: (subject, task) -> film.
      inputs: files that were read.
      left_out: label files that could not be read.
      notes: for the person.
    """

    aus: tuple[str, ...]
    tasks: Mapping[Key, tuple[np.ndarray, np.ndarray, np.ndarray]]
    films: Mapping[Key, Path]
    inputs: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def delivery_of(source: Path, coding: Coding, recordings: Sequence[Recording]) -> Delivery:
    """What `read` returns, of the tasks that became recordings."""
    return Delivery(
        recordings,
        aus=coding.aus,
        inputs=coding.inputs,
        left_out=coding.left_out,
        notes=coding.notes,
        root=source,
    )


def coded_tasks(
    source: Path, *, title: str, coded: Sequence[str] = facs.DATASET_AUS["bp4d"]
) -> Coding:
    """Reads every AU_OCC and AU_INT file below `source`.

    The files have columns for AUs that nobody looked for: an AU that is never scored present in
    the whole delivery is taken for not coded, unless it is one of `coded`. A file that cannot be
    read is left out and listed; UserError where none can, or where two hold the same labels.
    """
    occurrence, graded, films = label_files(source)
    if not occurrence:
        raise UserError(f"{source} has no label file like AU_OCC/F001_T1.csv; is it {title}?")
    raw: dict[Key, tuple[np.ndarray, dict[str, np.ndarray]]] = {}
    left_out = []
    for key, path in occurrence.items():
        try:
            raw[key] = occurrence_file(path)
        except UserError as error:
            if len(left_out) + 1 == len(occurrence):
                raise
            left_out.append(unreadable(source, path, error))
    named = {au for _, columns in raw.values() for au in columns}
    seen = {au for _, columns in raw.values() for au, value_T in columns.items() if 1 in value_T}
    seen |= {au for key in raw for au in graded.get(key, {})} | (named & set(coded))
    aus = tuple(sorted(seen & CATALOGUE, key=int))
    if not aus:
        raise UserError(f"no label file of {source} has a column for an AU; is it {title}?")
    tasks, inputs = {}, list(occurrence.values())
    for key, (numbers_T, columns) in raw.items():
        unknown_T = np.full(len(numbers_T), -1, np.int8)
        occurrence_TA = np.stack([columns.get(au, unknown_T) for au in aus], 1)
        intensity_TA = np.full(occurrence_TA.shape, -1, np.float32)
        for au, path in graded.get(key, {}).items():
            inputs.append(path)
            try:
                intensity_TA[:, aus.index(au)] = graded_file(path, numbers_T)
            except UserError as error:
                left_out.append(unreadable(source, path, error))
        tasks[key] = numbers_T, occurrence_TA, intensity_TA
    never = sorted(map(int, named - set(aus)))
    runs = [never[first:end] for first, end in reading.consecutive(never)] if never else []
    shown = " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    notes = (f"columns never 1, taken for AUs that were not coded: {shown}",) if never else ()
    return Coding(aus, tasks, films, tuple(inputs), tuple(left_out), notes)


def unreadable(source: Path, path: Path, error: UserError) -> LeftOut:
    """The row of skipped.csv for a label file that is damaged."""
    file = reading.relative(source, path)
    told = str(error).removeprefix(str(path)).lstrip(" ,:")
    line = re.match(r"line (\d+)", told)
    return LeftOut(file, None, f"unreadable labels: {told}", file, int(line[1]) if line else None)


def label_files(
    source: Path,
) -> tuple[dict[Key, Path], dict[Key, dict[str, Path]], dict[Key, Path]]:
    """Occurrence files, intensity files by AU, and films, of each (subject, task).

    Folders of pictures (F001/T1), a million files, are not looked into. Raises UserError where two
    files hold the same.
    """
    occurrence: dict[Key, Path] = {}
    graded: dict[Key, dict[str, Path]] = {}
    films: dict[Key, Path] = {}

    def add(found: dict, key: object, path: Path) -> None:
        if key in found:
            raise UserError(f"{path} and {found[key]} hold the same; remove one of them")
        found[key] = path

    def enter(folder: Path) -> bool:
        pictures = re.fullmatch(r"T\d+", folder.name)
        return not (pictures and re.fullmatch(r"[A-Za-z]+\d+", folder.parent.name))

    for path in reading.files_below(source, enter=enter):
        suffix = path.suffix.lower()
        if suffix in reading.FILMS and (key := _task_of_film(path.stem)):
            add(films, key, path)
        elif suffix != ".csv":
            continue
        elif match := TASK.fullmatch(path.stem):
            add(occurrence, (match[1], match[2]), path)
        elif (match := GRADED.fullmatch(path.stem)) and match[3] in CATALOGUE:
            add(graded.setdefault((match[1], match[2]), {}), match[3], path)
    return occurrence, graded, films


def _task_of_film(stem: str) -> Key | None:
    """(subject, task) of the owners' name 2F01_01 or of F001_T1."""
    if match := re.fullmatch(r"2([FM])(\d{2})_(\d{2})", stem, re.IGNORECASE):
        task = TASK_OF_FILM.get(int(match[3]))
        return (f"{match[1].upper()}0{match[2]}", f"T{task}") if task else None
    match = TASK.fullmatch(stem.upper())
    return (match[1], match[2]) if match else None


def occurrence_file(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frame numbers and AU -> int8 occurrence of one AU_OCC file.

    Both forms are read: columns for the numbers 0-99, and one for each AU of a list. The first
    column is the frame's, whatever its name. A last column past all AUs (99) that is 1 marks a
    frame as occluded (OpenFace: extract_BP4D_labels.m): unknown.
    """
    table = reading.table(path)
    numbers_T = reading.frame_numbers(table)
    value_TC = table.numbers(range(1, len(table.names)))
    columns: dict[str, np.ndarray] = {}
    for name, value_T in zip(table.names[1:], value_TC.T, strict=True):
        au = reading.au_column(name)
        if au is None:
            raise UserError(f"{path}: the header should be numbers of AUs, not {name!r}")
        if au in columns:
            raise UserError(f"{path}: two columns are for AU {au}")
        columns[au] = reading.occurrence(value_T)
    if (occluded_T := columns.pop("99", None)) is not None:
        for value_T in columns.values():
            value_T[occluded_T == 1] = -1
    return numbers_T, columns


def graded_file(path: Path, numbers_T: np.ndarray) -> np.ndarray:
    """float32 intensity of the frames `numbers_T`; −1 where the file says 9 or nothing.

    The file has no header: a frame's number and its intensity in each row.
    """
    table = reading.table(path, header=False)
    known = reading.intensity(table.numbers((1,))[:, 0]).tolist()
    of_frame = dict(zip(reading.frame_numbers(table).tolist(), known, strict=True))
    return np.array([of_frame.get(number, -1) for number in numbers_T.tolist()], np.float32)


def recordings_of(
    source: Path, coding: Coding, *, split_of: Mapping[str, str] | None
) -> list[Recording]:
    """A recording a coded task, from its folder of pictures, or its film where there is none.

    Args:
      source: the delivery.
      coding: its labels and films.
      split_of: subject -> split; people who are not in it are left out. None: dealt out.
    """
    recordings = []
    for (subject, task), (numbers_T, occurrence_TA, intensity_TA) in coding.tasks.items():
        if split_of is not None and subject not in split_of:
            continue
        folder = _picture_folder(source, subject, task)
        film = None if folder.is_dir() else coding.films.get((subject, task))
        if film is None and not folder.is_dir():
            _refuse_archive(source, subject)
        recordings.append(
            Recording(
                name=f"{subject}/{task}",
                subject=subject,
                frames=Film(reading.relative(source, film), tuple((numbers_T - 1).tolist()))
                if film
                else Pictures(reading.pictures_of(source, folder, numbers_T.tolist())),
                occurrence_TA=occurrence_TA,
                intensity_TA=intensity_TA,
                place_T=numbers_T,
                fps=FPS,
                split=None if split_of is None else split_of[subject],
            )
        )
    return recordings


def _picture_folder(source: Path, subject: str, task: str) -> Path:
    folders = [source / top / subject / task for top in PICTURE_FOLDERS]
    return next((folder for folder in folders if folder.is_dir()), source / subject / task)


def _refuse_archive(source: Path, subject: str) -> None:
    for top in PICTURE_FOLDERS:
        archive = source / top / f"{subject}.zip"
        if archive.is_file():
            raise UserError(f"{archive} is packed; unpack it and its neighbours there")


def odd_even(people: Iterable[str]) -> dict[str, str]:
    """subject -> train (odd numbers) or validation (even ones), as FERA 2015 has it."""
    return {s: "train" if int(s[1:]) % 2 else "validation" for s in people}


def split_of(protocol: str) -> dict[str, str] | None:
    """subject -> split under one of the protocols of `Options`; None: dealt out."""
    if protocol == "subjects":
        return None
    if protocol == "opengraphau":
        return {s: split for split, people in OPENGRAPHAU.items() for s in people}
    if protocol == "fera2015":
        return odd_even(PEOPLE)
    parts = FMAE_THREE_FOLD if protocol.startswith("fmae-") else THREE_FOLD
    return splits.part_tested(parts, TESTED[protocol.removeprefix("fmae-")])


# Counted in CVI-SZU/MDHR, data/BP4D_dataset/BP4D_test_label_fold{1,2,3}.txt: frames, then positives
# of the 12 AUs in their order. Inverse rates of two parts are ME-GraphAU's weights to six digits.
PART_COUNTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "part1": (
        50631,
        (8322, 8172, 10085, 21055, 29862, 29183, 28277, 20274, 7664, 16080, 8023, 7076),
    ),
    "part2": (
        50182,
        (10223, 6568, 9870, 23312, 27651, 27954, 26187, 25762, 10024, 18379, 8657, 7867),
    ),
    "part3": (
        46034,
        (12497, 10370, 9800, 23309, 23103, 30133, 28066, 22339, 7181, 15947, 7608, 7286),
    ),
}
_COUNTED = "counted in CVI-SZU/MDHR, data/BP4D_dataset"


def _positives(parts: Iterable[str], ending: str = "") -> dict[str, int]:
    rows = [PART_COUNTS[part][1] for part in parts]
    counts = [sum(row) for row in zip(*rows, strict=True)]
    return {f"AU{au}{ending}": n for au, n in zip(AUS["occurrence"], counts, strict=True)}


_KNOWN = (
    Known(
        f"frames {_COUNTED}",
        {"subjects": 41, "frames": sum(frames for frames, _ in PART_COUNTS.values())},
    ),
    *(
        Known(f"positives {_COUNTED}", _positives(PART_COUNTS), {"aus": aus})
        for aus in ("all", "occurrence")
    ),
    *(
        Known(
            f"test part of {fold} {_COUNTED}",
            {"frames/test": PART_COUNTS[part][0], **_positives((part,), "/test")},
            {"protocol": fold, "aus": aus},
        )
        for fold, part in TESTED.items()
        for aus in ("all", "occurrence")
    ),
)

BUILDER = Builder(
    name="bp4d",
    title="BP4D-Spontaneous",
    task="spontaneous AUs in films of 8 tasks",
    labels="AU occurrence by frame; intensity of 6, 10, 12, 14 and 17",
    subjects=41,
    licence="signed agreement with Binghamton University; research only",
    obtain="request by a faculty member: cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
    citation="Zhang et al., BP4D-Spontaneous, Image and Vision Computing 32 (2014) 692-706",
    read=read,
    options=Options,
    layout="AUCoding/AU_OCC/F001_T1.csv, AU_INT files, F001/T1/*.jpg or 2F01_01.avi",
    people="bp4d",
    known=_KNOWN,
)
