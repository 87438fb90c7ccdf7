"""BP4D-Spontaneous (Zhang et al. 2014): 41 people in 8 tasks, AUs frame by frame.

Layout and values: `AUCoding/AU_OCC/F001_T1.csv` has a row a frame, the frame's number first, then
a column an AU, 0, 1 or 9 (not codable). The header names AUs by bare numbers; the frame's own
column is named 0, or 1 as well, so columns are read by position (CVI-SZU/ME-GraphAU:
tool/BP4D_image_label_process.py). Intensities lie one AU a file, without a header. Pictures are
numbered from 1 with padding that differs between subjects; some deliveries hold films instead.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import (
    Builder,
    Delivery,
    Film,
    Known,
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
PICTURE_FOLDERS = ("", "Sequences_2D+3D", "2D+3D", "Sequences", "BP4D-training", "images")
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
    split_of = _split_of(options.protocol)
    recordings = recordings_of(source, coding, split_of=split_of, films=_films(source))
    delivery = Delivery(
        recordings, aus=coding.aus, inputs=coding.inputs, notes=coding.notes, root=source
    )
    return with_aus(delivery, AUS[options.aus])


@dataclass(frozen=True, eq=False)
class Coding:
    """The label files of a Binghamton set.

    Attributes:
      aus: those that were scored present at least once.
      tasks: (subject, task) -> numbers_T of its frames, occurrence_TA, intensity_TA.
      inputs: files that were read. notes: for the person.
    """

    aus: tuple[str, ...]
    tasks: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]]
    inputs: tuple[Path, ...]
    notes: tuple[str, ...]


def coded_tasks(source: Path, *, title: str) -> Coding:
    """Reads every AU_OCC and AU_INT file below `source`.

    An AU that is never scored present in the whole delivery is taken for not coded: the files have
    columns for AUs that nobody looked for. Raises UserError for a damaged file, with its line.
    """
    occ = sorted(p for p in source.rglob("*.csv") if re.fullmatch(r"[FM]\d{3}_T\d+", p.stem))
    if not occ:
        raise UserError(f"{source} has no label file like AU_OCC/F001_T1.csv; is it {title}?")
    graded = intensity_files(source)
    raw = {_subject_task(path): occurrence_file(path) for path in occ}
    seen = {au for _, columns in raw.values() for au, value_T in columns.items() if 1 in value_T}
    seen |= {au for files in graded.values() for au in files}
    aus = tuple(sorted(seen & {str(n) for n in facs.ACTION_UNITS}, key=int))
    never = {au for _, columns in raw.values() for au in columns} - set(aus)
    tasks, inputs = {}, list(occ)
    for key, (numbers_T, columns) in raw.items():
        unknown_T = np.full(len(numbers_T), -1, np.int8)
        occurrence_TA = np.stack([columns.get(au, unknown_T) for au in aus], 1)
        intensity_TA = np.full(occurrence_TA.shape, -1, np.float32)
        for au, path in graded.get(key, {}).items():
            inputs.append(path)
            intensity_TA[:, aus.index(au)] = _graded(path, numbers_T)
        tasks[key] = numbers_T, occurrence_TA, intensity_TA
    notes = [f"AUs never scored present, taken for not coded: {' '.join(sorted(never, key=int))}"]
    return Coding(aus, tasks, tuple(inputs), tuple(notes if never else ()))


def occurrence_file(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frame numbers and AU -> int8 occurrence of one AU_OCC file.

    Both forms are read: columns for the numbers 0-99, and the 34 AUs of BP4D+. A last column past
    all AUs (99) that is 1 marks a frame as occluded (OpenFace: extract_BP4D_labels.m): unknown.
    """
    table = reading.table(path)
    try:
        names = [str(int(float(name))) for name in table.names]
    except ValueError as error:
        raise UserError(f"{path}: the header should be numbers of AUs ({error})") from error
    value_TC = table.numbers(range(len(names)))
    numbers_T = value_TC[:, 0].astype(int)
    wrong = np.flatnonzero(np.diff(numbers_T) <= 0)
    if len(wrong):
        line = table.rows[int(wrong[0]) + 1][0]
        number = numbers_T[wrong[0] + 1]
        raise UserError(f"{path}, line {line}: frame {number} comes twice or out of order")
    columns: dict[str, np.ndarray] = {}
    for c, name in enumerate(names[1:], start=1):
        if name in columns:
            raise UserError(f"{path}: two columns are for AU {name}")
        columns[name] = reading.occurrence(value_TC[:, c])
    if (occluded_T := columns.pop("99", None)) is not None:
        for value_T in columns.values():
            value_T[occluded_T == 1] = -1
    return numbers_T, columns


def intensity_files(source: Path) -> dict[tuple[str, str], dict[str, Path]]:
    """(subject, task) -> AU -> file, of names like F001_T1_AU06.csv."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for path in sorted(source.rglob("*_AU*.csv")):
        match = re.fullmatch(r"([FM]\d{3})_(T\d+)_AU0*(\d+)", path.stem)
        if match:
            files = found.setdefault((match[1], match[2]), {})
            if match[3] in files:
                raise UserError(f"{path} and {files[match[3]]} hold the same labels; remove one")
            files[match[3]] = path
    return found


def _graded(path: Path, numbers_T: np.ndarray) -> np.ndarray:
    """float32 intensity of the frames `numbers_T`; −1 where the file says 9 or nothing."""
    value_T2 = reading.table(path, header=False).numbers((0, 1))
    of_frame = dict(zip(value_T2[:, 0].astype(int), reading.intensity(value_T2[:, 1]), strict=True))
    if len(of_frame) < len(value_T2):
        raise UserError(f"{path}: a frame has two rows; copy the file again")
    return np.array([of_frame.get(number, -1) for number in numbers_T.tolist()], np.float32)


def recordings_of(
    source: Path,
    coding: Coding,
    *,
    split_of: Mapping[str, str] | None,
    films: Mapping[tuple[str, str], Path],
) -> list[Recording]:
    """A recording a coded task, from its film or its folder of pictures.

    Args:
      source: the delivery.
      coding: its labels.
      split_of: subject -> split; people who are not in it are left out. None: dealt out.
      films: (subject, task) -> film, where there are films.
    """
    recordings = []
    for (subject, task), (numbers_T, occurrence_TA, intensity_TA) in coding.tasks.items():
        if split_of is not None and subject not in split_of:
            continue
        film = films.get((subject, task))
        recordings.append(
            Recording(
                name=f"{subject}/{task}",
                subject=subject,
                frames=Film(reading.relative(source, film), tuple((numbers_T - 1).tolist()))
                if film
                else Pictures(_pictures(source, subject, task, numbers_T.tolist())),
                occurrence_TA=occurrence_TA,
                intensity_TA=intensity_TA,
                place_T=numbers_T,
                fps=FPS,
                split=None if split_of is None else split_of[subject],
            )
        )
    return recordings


def _pictures(source: Path, subject: str, task: str, numbers: Sequence[int]) -> tuple[str, ...]:
    folders = [source / top / subject / task for top in PICTURE_FOLDERS]
    folder = next((f for f in folders if f.is_dir()), source / subject / task)
    return reading.pictures_of(source, folder, numbers)


def _films(source: Path) -> dict[tuple[str, str], Path]:
    """(subject, task) -> film, of the owners' names 2F01_01.avi and of F001_T1.mp4."""
    found = {}
    for stem, path in reading.files_by_stem(source, reading.FILMS).items():
        if match := re.fullmatch(r"2([fm])(\d{2})_(\d{2})", stem):
            if int(match[3]) in TASK_OF_FILM:
                task = TASK_OF_FILM[int(match[3])]
                found[f"{match[1].upper()}0{match[2]}", f"T{task}"] = path
        elif match := re.fullmatch(r"([fm]\d{3})_(t\d+)", stem):
            found[match[1].upper(), match[2].upper()] = path
    return found


def _subject_task(path: Path) -> tuple[str, str]:
    subject, task = path.stem.split("_")
    return subject, task


def folded(parts: Mapping[str, Sequence[str]], fold: str) -> dict[str, str]:
    """subject -> train or test, of one of the three folds."""
    return {s: "test" if part == TESTED[fold] else "train" for part in parts for s in parts[part]}


def _split_of(protocol: str) -> dict[str, str] | None:
    if protocol == "subjects":
        return None
    if protocol == "opengraphau":
        return {s: split for split, people in OPENGRAPHAU.items() for s in people}
    if protocol == "fera2015":
        everyone = [s for part in THREE_FOLD.values() for s in part]
        return {s: "train" if int(s[1:]) % 2 else "validation" for s in everyone}
    parts = FMAE_THREE_FOLD if protocol.startswith("fmae-") else THREE_FOLD
    return folded(parts, protocol.removeprefix("fmae-"))


# Counted in CVI-SZU/MDHR: data/BP4D_dataset/BP4D_test_label_fold*.txt, all three parts.
_POSITIVES = dict(
    zip(
        AUS["occurrence"],
        (31042, 25110, 29755, 67676, 80616, 87270, 82530, 68375, 24869, 50406, 24288, 22229),
        strict=True,
    )
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
    known=(
        Known(
            "frames and positives counted in CVI-SZU/MDHR, data/BP4D_dataset",
            {
                "subjects": 41,
                "frames": 146847,
                **{f"AU{au}": count for au, count in _POSITIVES.items()},
            },
        ),
    ),
)
