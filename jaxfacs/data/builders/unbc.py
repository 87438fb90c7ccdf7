"""UNBC-McMaster (Lucey et al. 2011): 25 people with a painful shoulder move it; AUs and pain.

Layout and values: `Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt` has a row an
AU that is present: AU, intensity and two further numbers, apart by blanks. An empty file is a face
without any AU, not a missing label (OpenFace: extract_UNBC_labels.m reads four numbers a row and
takes the first two). Pictures, landmarks (66 rows of x and y, `_aam.txt`) and the pain of each
frame (`Frame_Labels/PSPI`) have the same names in folders of their own. `Sequence_Labels` has a
number a sequence: VAS, told by the patient, OPR by an observer, and AFF and SEN of the same kind.

AU 43 is scored 0 or 1, so its intensity is unknown. AU 27, which the paper lists, has a column if a
file names it. Landmarks are the points of iBUG 68 without the inner corners of the mouth; they are
taken for MATLAB's pixels, the middle of the first being (1, 1); no source says so.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import splits
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError

# By the number in front of a person's folder, "042-ll042". FERGI's configuration; fold k tests
# the k-th. OpenFace's development people (timobaumann/OpenFace: find_UNBC.m, every fifth) are the
# first.
FOLDS = {
    "fold1": "042 052 092 103 115".split(),
    "fold2": "043 059 095 106 120".split(),
    "fold3": "047 064 096 107 121".split(),
    "fold4": "048 066 097 108 123".split(),
    "fold5": "049 080 101 109 124".split(),
}
CODED = facs.DATASET_AUS["unbc"]
LISTED_TOO = "27"
BINARY = "43"
SCALES = ("vas", "opr", "sen", "aff")  # folders of Sequence_Labels, in capitals there
ATTRIBUTES = ("pspi", *SCALES)
FPS = 25.0  # commonly said; no public code confirms it
POINTS = 66


@dataclass(frozen=True)
class Options:
    """What can be chosen for UNBC-McMaster.

    Attributes:
      protocol: fold1 … fold5, of FERGI; openface: its five people for validation, the others
        train; subjects: dealt out.
      test_subject: this person (042-ll042) is the test split and all others train, whatever the
        protocol; empty: nobody alone.
      landmarks: read the owners' landmarks, where they are there.
    """

    protocol: Literal["fold1", "fold2", "fold3", "fold4", "fold5", "openface", "subjects"] = "fold1"
    test_subject: str = ""
    landmarks: bool = True


@dataclass(eq=False)
class _Found:
    """What is noticed while the files are read."""

    inputs: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    zero: int = 0
    without: Counter = field(default_factory=Counter)
    compared: int = 0
    differing: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Sentences for the person."""
        told = []
        if self.others:
            counts = ", ".join(f"{au} ({n} rows)" for au, n in sorted(self.others.items()))
            told.append(f"AUs that the paper does not list have no column: {counts}")
        if self.zero:
            told.append(f"{self.zero} rows name an AU with intensity 0; both are taken for unknown")
        if self.differing:
            told.append(
                f"PSPI differs from the AUs' in {len(self.differing)} of {self.compared} frames, "
                f"the first {self.differing[0]}; the owners' number is kept"
            )
        told += [f"{count} × no {what}" for what, count in sorted(self.without.items())]
        return told


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "Frame_Labels/FACS", title="UNBC-McMaster")
    sequences = [
        (person.name, folder.name)
        for person in sorted((source / "Frame_Labels/FACS").iterdir())
        if person.is_dir() and not person.name.startswith(".")
        for folder in sorted(person.iterdir())
        if folder.is_dir()
    ]
    split_of = _split_of(options, {person for person, _ in sequences})
    found = _Found()
    read_in: list[tuple[str, str, _Sequence]] = []
    for person, name in sequences:
        if split_of is not None and person not in split_of:
            found.without[f"place in protocol {options.protocol} for {person}; left away"] += 1
        elif (sequence := _sequence(source, person, name, found)) is not None:
            read_in.append((person, name, sequence))
    if not read_in:
        first = next(
            (row.reason for row in found.left_out), "no file like ll042t1aaaff001_facs.txt"
        )
        raise UserError(f"{source / 'Frame_Labels/FACS'} holds no labels that can be read: {first}")
    seen = {au for _, _, sequence in read_in for frame in sequence.codes for au in frame}
    aus = tuple(sorted({*CODED, *(seen & {LISTED_TOO})}, key=int))
    recordings = []
    for person, name, sequence in read_in:
        occurrence_TA, intensity_TA = labels(sequence.codes, aus)
        pspi_T = _pspi(source, sequence, occurrence_TA, intensity_TA, aus, found)
        scales = [
            _number(source / f"Sequence_Labels/{s.upper()}/{person}/{name}.txt", found, s)
            for s in SCALES
        ]
        recordings.append(
            Recording(
                name=f"{person}/{name}",
                subject=person,
                frames=Pictures(sequence.pictures),
                occurrence_TA=occurrence_TA,
                intensity_TA=intensity_TA,
                place_T=np.array(sequence.numbers),
                attributes_TK=np.column_stack(
                    [pspi_T, *(np.full(len(pspi_T), value) for value in scales)]
                ).astype(np.float32),
                landmarks_TK2=_landmarks(source, person, name, sequence, found)
                if options.landmarks
                else None,
                fps=FPS,
                split=None if split_of is None else split_of[person],
            )
        )
    return Delivery(
        recordings,
        aus=aus,
        attributes=ATTRIBUTES,
        inputs=found.inputs,
        left_out=found.left_out,
        notes=found.notes(),
        root=source,
    )


@dataclass(frozen=True)
class _Sequence:
    """The frames of a sequence whose labels can be read.

    Attributes:
      numbers: of the frames. files: of their labels. codes: AU -> intensity as written.
      pictures: relative to the delivery.
    """

    numbers: list[int]
    files: list[Path]
    codes: list[dict[str, float]]
    pictures: tuple[str, ...]


def _sequence(source: Path, person: str, name: str, found: _Found) -> _Sequence | None:
    files = _numbered(source / "Frame_Labels/FACS" / person / name, "_facs")
    folder = source / "Images" / person / name
    there = reading.numbered(folder)
    found.left_out += [
        LeftOut(reading.relative(source, path), number, "no label")
        for number, path in there.items()
        if number not in files
    ]
    numbers, kept, codes, pictures = [], [], [], []
    for number, path in files.items():
        picture = there.get(number, folder / f"{path.stem.removesuffix('_facs')}.png")
        try:
            frame = codes_of(path, found.others)
        except UserError as error:
            where = reading.relative(source, picture), number
            file = reading.relative(source, path)
            found.left_out.append(LeftOut(*where, f"unreadable labels: {error}", file))
            continue
        numbers.append(number)
        kept.append(path)
        codes.append(frame)
        pictures.append(reading.relative(source, picture))
        found.zero += sum(grade == 0 for grade in frame.values())
    found.inputs += kept
    return _Sequence(numbers, kept, codes, tuple(pictures)) if numbers else None


def codes_of(path: Path, others: Counter) -> dict[str, float]:
    """AU -> intensity as written, of one frame; counts in `others` the AUs without a column.

    Raises UserError for a row that is no AU and its intensity, and for an AU that has two.
    """
    codes: dict[str, float] = {}
    for line, number, grade in reading.coded_rows(path):
        if number not in facs.ACTION_UNITS or not 0 <= grade <= 5:
            raise UserError(f"{path}, line {line}: AU {number:g} with intensity {grade:g} is none")
        au = str(int(number))
        if au not in CODED and au != LISTED_TOO:
            others[au] += 1
        elif codes.setdefault(au, grade) != grade:
            raise UserError(f"{path}, line {line}: AU {au} has two intensities")
    return codes


def labels(codes: list[dict[str, float]], aus: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """int8 occurrence_TA and float32 intensity_TA: an AU that a frame's file does not name is
    absent, one that it names with intensity 0 unknown."""
    written_TA = np.array([[frame.get(au, np.nan) for au in aus] for frame in codes])
    named_TA = ~np.isnan(written_TA)
    occurrence_TA = np.where(~named_TA, 0, np.where(written_TA > 0, 1, -1)).astype(np.int8)
    intensity_TA = np.where(~named_TA, 0, np.where(written_TA > 0, written_TA, -1))
    intensity_TA[:, aus.index(BINARY)] = -1
    return occurrence_TA, intensity_TA.astype(np.float32)


def pspi(occurrence_TA: np.ndarray, intensity_TA: np.ndarray, aus: tuple[str, ...]) -> np.ndarray:
    """float64 Prkachin and Solomon's pain of each frame, 0-16; NaN where an AU is unknown."""
    total_T = np.zeros(len(occurrence_TA))
    for group in facs.emotions.PSPI_GROUPS:
        columns = [
            (occurrence_TA if au == BINARY else intensity_TA)[:, aus.index(au)] for au in group
        ]
        value_TA = np.stack(columns, 1).astype(np.float64)
        total_T += np.where((value_TA < 0).any(1), np.nan, value_TA.max(1))
    return total_T


def _pspi(source, sequence: _Sequence, occurrence_TA, intensity_TA, aus, found) -> np.ndarray:
    """The owners' number of each frame, compared with that of the AUs."""
    top = source / "Frame_Labels"
    told_T = np.array(
        [
            _number(top / "PSPI" / path.relative_to(top / "FACS"), found, "PSPI")
            for path in sequence.files
        ]
    )
    ours_T = pspi(occurrence_TA, intensity_TA, aus)
    both_T = ~np.isnan(told_T) & ~np.isnan(ours_T)
    found.compared += int(both_T.sum())
    wrong_T = both_T & (np.abs(told_T - np.nan_to_num(ours_T)) > 1e-6)
    found.differing += [
        f"{sequence.files[t].name} ({told_T[t]:g}, not {ours_T[t]:g})"
        for t in np.flatnonzero(wrong_T)
    ]
    return told_T


def _number(path: Path, found: _Found, what: str) -> float:
    """The first number of a file; NaN, and a note, where there is none."""
    try:
        value = float(reading.lines_of(path)[0].split()[0])
    except (UserError, ValueError, IndexError):
        found.without[f"readable {what.upper()} file"] += 1
        return np.nan
    found.inputs.append(path)
    return value if np.isfinite(value) else np.nan


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    """frame -> file, of names like ll042t1aaaff001_facs.txt."""
    found = {}
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
        match = re.search(r"(\d+)$", path.stem.removesuffix(suffix))
        if match is None or path.name.startswith("."):
            continue
        if int(match[1]) in found:
            raise UserError(f"{path} and {found[int(match[1])].name} are of one frame; remove one")
        found[int(match[1])] = path
    return dict(sorted(found.items()))


def _landmarks(
    source: Path, person: str, name: str, sequence: _Sequence, found: _Found
) -> np.ndarray | None:
    """float32 T×66×2 in our pixels, NaN where a frame has none."""
    files = _numbered(source / "AAM_landmarks" / person / name, "_aam")
    if not files:
        found.without["landmarks of a sequence"] += 1
        return None
    out = np.full((len(sequence.numbers), POINTS, 2), np.nan, np.float32)
    for row, number in zip(out, sequence.numbers, strict=True):
        points = None if number not in files else reading.points(files[number], POINTS)
        if points is None:
            found.without["readable landmarks of a frame"] += 1
        else:
            row[:] = points - 0.5
            found.inputs.append(files[number])
    return out


def _split_of(options: Options, people: set[str]) -> Mapping[str, str] | None:
    if options.test_subject:
        return splits.one_tested(options.test_subject, people)
    if options.protocol == "subjects":
        return None
    tested = FOLDS["fold1" if options.protocol == "openface" else options.protocol]
    away = "validation" if options.protocol == "openface" else "test"
    known = {number for fold in FOLDS.values() for number in fold}
    return {p: away if p[:3] in tested else "train" for p in people if p[:3] in known}


BUILDER = Builder(
    name="unbc",
    title="UNBC-McMaster Shoulder Pain Expression Archive",
    task="spontaneous pain: AUs, their intensity, pain scores",
    labels="intensity 0-5 of 9 AUs and eye closure by frame; PSPI, VAS, OPR, SEN, AFF; landmarks",
    subjects=25,
    licence="signed agreement with the University of Pittsburgh; research only",
    obtain="request by a faculty member to Jeffrey Cohn: jeffcohn.net/Resources",
    citation="Lucey et al., Painful Data, IEEE Face and Gesture 2011",
    read=read,
    options=Options,
    layout="Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt, Images, "
    "Frame_Labels/PSPI, Sequence_Labels, AAM_landmarks",
    known=(Known("abstract of Lucey et al. 2011", {"subjects": 25, "frames": 48398}),),
)
