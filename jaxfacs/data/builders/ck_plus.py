"""CK+ (Lucey et al. 2010): 593 short sequences of 123 people, from neutral to a posed expression.

Layout and values (the owners' README, and cosanlab/py-feat's reader): pictures are
`cohn-kanade-images/S005/001/S005_001_00000011.png`, numbered from 1. Only the last one, the peak,
is coded: `FACS/S005/001/S005_001_00000011_facs.txt` has a row an AU that is present, "AU intensity"
in scientific notation, where 1-5 are A-E and 0 means present, intensity not given. The first
picture is neutral by the design of the set. `Emotion` has one number, 0-7, for 327 sequences;
`Landmarks` 68 rows "x y" a picture, taken for MATLAB's pixels, the middle of the first being
(1, 1); no source says so.

An onset ends and an offset begins nowhere in these labels: the peak is the apex of the AUs it
shows, the first picture is neutral, and of what is between nobody says anything.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import schema, splits
from jaxfacs.data.builders import reading
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

# CVI-SZU/ME-GraphAU: OpenGraphAU/tool/dataset_process.py. It counts an AU as present from intensity
# 2 on, and one without intensity as absent; that is not done here.
OPENGRAPHAU = {
    "train": (
        "S034 S147 S149 S502 S046 S061 S037 S115 S076 S506 S080 S067 S096 S134 S092 S137 S073 S086 "
        "S099 S104 S042 S129 S059 S139 S106 S110 S085 S111 S053 S113 S503 S103 S093 S077 S069 S094 "
        "S108 S074 S505 S131 S062 S116 S097 S151 S126 S101 S088 S075 S082 S127 S136 S130 S098 S044 "
        "S029 S045 S054 S057 S133 S999 S032 S072 S064 S135 S084 S117 S079 S078 S122 S091 S119 S022 "
        "S089 S014 S050 S125 S107"
    ).split(),
    "validation": ("S102 S895 S011 S056 S109 S026 S028 S051 S148 S055 S154 S128 S118 S504").split(),
    "test": (
        "S068 S060 S105 S070 S090 S157 S087 S156 S155 S095 S071 S066 S058 S160 S121 S501 S112 S035 "
        "S083 S005 S063 S120 S100 S124 S065 S158 S052 S138 S081 S132 S010 S114"
    ).split(),
}
OPENGRAPHAU_AUS = facs.DATASET_AUS["ck_plus"]
EMOTIONS = facs.EMOTION_SETS["ck_plus"]  # in the order of the file's numbers
NEUTRAL, APEX = schema.PHASES.index("neutral"), schema.PHASES.index("apex")
FPS = 30.0  # commonly said; no public code confirms it
FOLDS = 10
POINTS = 68


@dataclass(frozen=True)
class Options:
    """What can be chosen for CK+.

    Attributes:
      frames_of: peak: the coded picture alone; peak+neutral: the first one too, as a neutral face;
        sequence: whole sequences, AUs being unknown between the two.
      sequences: all, or those 327 that have an emotion.
      protocol: subjects: dealt out; opengraphau: its three sets of people; fold1 … fold10: people
        in ascending order, every tenth tested.
      test_subject: this person (S005) is the test split and all others train, whatever the
        protocol; empty: nobody alone.
      aus: all that are coded anywhere, or OpenGraphAU's 25.
      landmarks: read the owners' landmarks, where they are there.
    """

    frames_of: Literal["peak", "peak+neutral", "sequence"] = "peak"
    sequences: Literal["all", "emotion"] = "all"
    protocol: Literal[
        "subjects", "opengraphau", "fold1", "fold2", "fold3", "fold4", "fold5", "fold6", "fold7",
        "fold8", "fold9", "fold10",
    ] = "subjects"  # fmt: skip
    test_subject: str = ""
    aus: Literal["all", "opengraphau"] = "all"
    landmarks: bool = True


@dataclass(frozen=True)
class _Sequence:
    """One sequence with its labels.

    Attributes:
      subject, name: S005, 001.
      pictures: number -> path relative to the delivery, ascending; the peak's is there even where
        the file is not.
      peak: number of the coded picture.
      codes: AU -> intensity, −1 where it is not given; None: not coded.
      emotion: place in EMOTIONS, −1 unknown.
    """

    subject: str
    name: str
    pictures: Mapping[int, str]
    peak: int
    codes: Mapping[str, float] | None
    emotion: int

    def shown(self, frames_of: str) -> list[int]:
        """Numbers of the pictures that are wanted of it."""
        if frames_of == "sequence":
            return list(self.pictures)
        first = min(self.pictures)
        return [first, self.peak] if frames_of != "peak" and first != self.peak else [self.peak]


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(
        source, "cohn-kanade-images", "*/cohn-kanade-images", title="CK+"
    )
    found = reading.Found()
    sequences = _sequences(source, found)
    if options.sequences == "emotion":
        sequences = [sequence for sequence in sequences if sequence.emotion >= 0]
    if not sequences:
        raise found.first_error or UserError(f"{source} has no sequence with a label")
    split_of = _split_of(options, {sequence.subject for sequence in sequences})
    if split_of is not None:
        away = {s.subject for s in sequences} - set(split_of)
        found.notes.update(f"{s} is in no part of {options.protocol}; left away" for s in away)
        sequences = [sequence for sequence in sequences if sequence.subject in split_of]
    seen = {au for sequence in sequences for au in sequence.codes or ()}
    aus = tuple(sorted(seen | set(OPENGRAPHAU_AUS), key=int))
    recordings: list[Recording] = []
    for group in _groups(sequences, whole=options.frames_of == "sequence"):
        columns = [_labels(sequence, options.frames_of, aus) for sequence in group]
        labels: dict[str, np.ndarray | None] = {
            key: np.concatenate([column[key] for column in columns]) for key in columns[0]
        }
        places = [(sequence, n) for sequence in group for n in sequence.shown(options.frames_of)]
        labels["landmarks_TK2"] = _landmarks(source, places, found) if options.landmarks else None
        subject = group[0].subject
        split = None if split_of is None else split_of[subject]
        pictures = Pictures(tuple(sequence.pictures[number] for sequence, number in places))
        if options.frames_of == "sequence":
            recordings.append(
                Recording(
                    name=f"{subject}/{group[0].name}",
                    subject=subject,
                    frames=pictures,
                    place_T=np.array([number for _, number in places]),
                    fps=FPS,
                    split=split,
                    **labels,  # type: ignore[arg-type]
                )
            )
        else:
            recordings += reading.stills(subject, subject, pictures, split=split, **labels)
    delivery = Delivery(
        recordings,
        aus=aus,
        emotions=EMOTIONS,
        inputs=found.inputs,
        left_out=found.left_out,
        notes=found.told(),
        root=source,
    )
    return with_aus(delivery, OPENGRAPHAU_AUS if options.aus == "opengraphau" else ())


def _groups(sequences: Sequence[_Sequence], *, whole: bool) -> list[list[_Sequence]]:
    """Sequences by themselves, or those of one person together."""
    if whole:
        return [[sequence] for sequence in sequences]
    groups: dict[str, list[_Sequence]] = {}
    for sequence in sequences:
        groups.setdefault(sequence.subject, []).append(sequence)
    return list(groups.values())


def _labels(sequence: _Sequence, frames_of: str, aus: Sequence[str]) -> dict[str, np.ndarray]:
    """The labels of the wanted pictures of one sequence, fields of `Recording`."""
    numbers = sequence.shown(frames_of)
    first = min(sequence.pictures)
    occurrence_TA = np.full((len(numbers), len(aus)), -1, np.int8)
    intensity_TA = np.full((len(numbers), len(aus)), -1, np.float32)
    phase_TA = np.full((len(numbers), len(aus)), -1, np.int8)
    emotion_T = np.full(len(numbers), sequence.emotion)
    for t, number in enumerate(numbers):
        if number == sequence.peak:
            if sequence.codes is not None:
                grade_A = np.array([sequence.codes.get(au, 0) for au in aus])
                occurrence_TA[t], intensity_TA[t] = grade_A != 0, grade_A
                phase_TA[t] = np.where(grade_A != 0, APEX, NEUTRAL)
        elif number == first:
            occurrence_TA[t] = intensity_TA[t] = 0
            phase_TA[t] = NEUTRAL
            if frames_of != "sequence":  # a sequence's emotion is one, and it is not neutral
                emotion_T[t] = EMOTIONS.index("neutral")
    return {
        "occurrence_TA": occurrence_TA,
        "intensity_TA": intensity_TA,
        "phase_TA": phase_TA,
        "emotion_T": emotion_T,
    }


def _sequences(source: Path, found: reading.Found) -> list[_Sequence]:
    images, coding, emotion = (
        _top(source, name) for name in ("cohn-kanade-images", "FACS", "Emotion")
    )
    if images is None or coding is None:
        lacking = "cohn-kanade-images" if images is None else "FACS"
        raise UserError(f"{source} has no folder {lacking} with S005 and its like; unpack its zip")
    if emotion is None:
        found.notes["no folder Emotion with S005 and its like: emotions are unknown"] += 1
    pairs = {
        (person.name, folder.name)
        for top in (images, coding, emotion)
        if top is not None
        for person in top.glob("S[0-9][0-9][0-9]")
        for folder in person.glob("*/")
    }
    sequences = []
    for subject, name in sorted(pairs):
        there = {
            number: reading.relative(source, path)
            for number, path in reading.numbered(images / subject / name).items()
        }
        try:
            sequence = _sequence(source, (images, coding, emotion), subject, name, there, found)
        except UserError as error:
            found.damaged(reading.relative(source, images / subject / name), error)
            continue
        if sequence is not None:
            sequences.append(sequence)
        elif there:
            where = reading.relative(source, images / subject / name)
            found.left_out.append(LeftOut(where, None, "no label"))
    return sequences


def _sequence(
    source, tops, subject: str, name: str, there, found: reading.Found
) -> _Sequence | None:
    """None where nobody labelled it."""
    images, coding, emotion = tops
    coded = _one_file(coding / subject / name)
    named = None if emotion is None else _one_file(emotion / subject / name)
    numbers = [_number(path) for path in (coded, named) if path is not None]
    if not numbers:
        return None
    peak = numbers[0]
    if len(set(numbers)) > 1:
        found.notes["AUs and emotion name different pictures; that of the AUs is taken"] += 1
    last = max(there, default=peak)
    if peak != last:
        found.notes["the coded picture is not the last of its sequence"] += 1
    stem = f"{subject}_{name}_{peak:08d}"
    usual = reading.relative(source, images / subject / name / f"{stem}.png")
    pictures = dict(sorted({peak: usual, **there}.items()))
    codes = None if coded is None else codes_of(coded, found.notes)
    label = -1 if named is None else _emotion(named, found.notes)
    if codes is None and label < 0:
        return None
    found.inputs += [path for path in (coded, named) if path is not None]
    return _Sequence(subject, name, pictures, peak, codes, label)


def codes_of(path: Path, notes: Counter) -> dict[str, float]:
    """AU -> intensity 1-5, −1 where it is present and its intensity not given.

    Raises UserError for a row that is no AU and its intensity, and for an AU that has two.
    """
    codes: dict[str, float] = {}
    for line, number, grade in reading.coded_rows(path):
        if number not in facs.ACTION_UNITS:
            notes[f"FACS has no code {number:g}: left away"] += 1
            continue
        intensity = grade if 1 <= grade <= 5 else -1.0
        if codes.setdefault(str(int(number)), intensity) != intensity:
            raise UserError(f"{path}, line {line}: AU {number:g} has two intensities")
    return codes


def _emotion(path: Path, notes: Counter) -> int:
    text = " ".join(reading.lines_of(path)).strip()
    if not text:
        return -1
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{path}, line 1: {text[:40]!r} is no number of an emotion") from None
    if value not in range(len(EMOTIONS)):
        notes[f"emotion {value:g} is none of 0 to {len(EMOTIONS) - 1}: unknown"] += 1
        return -1
    return int(value)


def _one_file(folder: Path) -> Path | None:
    files = sorted(p for p in folder.glob("*.txt") if not p.name.startswith("."))
    if len(files) > 1:
        raise UserError(f"{folder} holds {files[0].name} and {files[1].name}; remove one of them")
    return files[0] if files else None


def _number(path: Path) -> int:
    match = re.search(r"_(\d+)_[a-z]+$", path.stem, re.IGNORECASE)
    if match is None:
        raise UserError(f"{path} is not named like S005_001_00000011_facs.txt")
    return int(match[1])


def _top(source: Path, name: str) -> Path | None:
    """The folder `name` that holds people; archives may put a folder of their own around it."""
    for folder in (source / name, *sorted(source.glob(f"*/{name}"))):
        if any(folder.glob("S[0-9][0-9][0-9]")):
            return folder
    return None


def _landmarks(
    source: Path, places: Sequence[tuple[_Sequence, int]], found: reading.Found
) -> np.ndarray | None:
    """float32 T×68×2 in our pixels, NaN where a picture has none."""
    top = _top(source, "Landmarks")
    if top is None:
        return None
    out = np.full((len(places), POINTS, 2), np.nan, np.float32)
    for row, (sequence, number) in zip(out, places, strict=True):
        stem = Path(sequence.pictures[number]).stem
        path = top / sequence.subject / sequence.name / f"{stem}_landmarks.txt"
        points = reading.points(path, POINTS)
        if points is None:
            found.notes["no readable landmarks of a picture"] += 1
        else:
            row[:] = points - 0.5
            found.inputs.append(path)
    return out


def _split_of(options: Options, people: set[str]) -> Mapping[str, str] | None:
    if options.test_subject:
        return splits.one_tested(options.test_subject, people)
    if options.protocol == "subjects":
        return None
    if options.protocol == "opengraphau":
        return {s: split for split, part in OPENGRAPHAU.items() for s in part}
    return splits.every_nth(people, fold=int(options.protocol.removeprefix("fold")), folds=FOLDS)


_SOURCE = "the owners' README and Lucey et al. 2010"
BUILDER = Builder(
    name="ck_plus",
    title="Extended Cohn-Kanade (CK+)",
    task="posed expressions: AUs and emotion at the peak",
    labels="all of FACS with intensity at the peak; 7 emotions; 68 landmarks",
    subjects=123,
    licence="signed agreement; research only",
    obtain="request form: jeffcohn.net/Resources",
    citation="Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010",
    read=read,
    options=Options,
    layout="cohn-kanade-images/S005/001/S005_001_00000011.png, FACS, Emotion, Landmarks",
    known=(
        Known(
            _SOURCE,
            {"subjects": 123, "frames": 593},
            when={"frames_of": "peak", "sequences": "all"},
        ),
        Known(_SOURCE, {"frames": 327}, when={"frames_of": "peak", "sequences": "emotion"}),
    ),
)
