"""FERA 2015 (Valstar et al. 2015): the challenge's parts of BP4D and of SEMAINE.

The BP4D part has BP4D's label files (see `bp4d`) and pictures `BP4D-training/F001/T1/*.jpg`; odd
numbers train, even ones are the development set (TadasBaltrusaitis/FERA-2015: data
extraction/find_BP4D.m). The test people's labels were never given out.

The SEMAINE part has a folder a session, `SEMAINE-Sessions/rec1/` with a film and an ELAN file
(.eaf, XML), and beside it `rec1.txt` with two numbers: the first frame that was coded and the one
behind the last. In the ELAN file the tier AU12 holds the stretches in which AU 12 is present, in
milliseconds; a frame lasts 20 ms, and a stretch has both its frames of begin and end (the owners'
ParseSEMAINEAnnotations.m, as kept in that repository). Frame n is taken here to be the one that the
film shows at 20 n ms. Behind the last time that the file names nothing was coded: unknown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.parsers import expat

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import bp4d, reading
from jaxfacs.data.delivery import Builder, Delivery, Film, Known, LeftOut, Recording, with_aus
from jaxfacs.errors import UserError

# TadasBaltrusaitis/FERA-2015: data extraction/find_SEMAINE.m. Sessions 9, 50 and 56 are left out
# there "for now": their labels and their coded range do not fit.
SESSIONS = {
    "train": (1, 12, 14, 19, 23, 25, 37, 39, 43, 45, 48, 50, 52, 54, 56, 60),
    "validation": (9, 13, 15, 20, 24, 26, 38, 42, 44, 46, 49, 51, 53, 55, 58),
}
FAULTY = (9, 50, 56)
SEMAINE_AUS = facs.DATASET_AUS["fera2015_semaine"]
AUS = {
    "all": (),
    "occurrence": facs.DATASET_AUS["fera2015_bp4d"],
    "intensity": facs.DATASET_AUS["bp4d_intensity"],
}
# Counted in CVI-SZU/MDHR, data/BP4D_dataset, by the numbers of the people: frames, and positives of
# BP4D's 12 AUs in their order.
COUNTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "train": (
        75586,
        (17581, 13654, 17167, 34683, 39712, 45087, 42186, 39278, 13577, 24561, 12848, 12753),
    ),
    "validation": (
        71261,
        (13461, 11456, 12588, 32993, 40904, 42183, 40344, 29097, 11292, 25845, 11440, 9476),
    ),
}
FPS = 50.0  # of SEMAINE's films, as the owners' function says
MAX_XML_BYTES = 64 << 20  # a session's file has some thousand annotations: under 1 MB
MAX_FRAMES = 1_000_000  # 5 hours


@dataclass(frozen=True)
class Options:
    """What can be chosen for FERA 2015.

    Attributes:
      part: bp4d or semaine.
      protocol: official: the challenge's training set, and its development set as validation;
        subjects: dealt out (sessions of SEMAINE, as nobody says who is in them).
      aus: of the BP4D part: all that are coded, the 11 of the occurrence task, or the 5 of the
        intensity task. SEMAINE has its 6.
      faulty: keep sessions 9, 50 and 56 of SEMAINE, which OpenFace's authors leave out.
    """

    part: Literal["bp4d", "semaine"] = "bp4d"
    protocol: Literal["official", "subjects"] = "official"
    aus: Literal["all", "occurrence", "intensity"] = "all"
    faulty: bool = False


def read(source: Path, options: Options) -> Delivery:
    """The part of the delivery in `source`; see the module for what is expected."""
    if options.part == "semaine":
        return _semaine(source, options)
    inner = [source / name for name in ("BP4D", "bp4d", "BP4D/BP4D", "BP4D-training")]
    found = next((path for path in inner if (path / "AUCoding").is_dir()), source)
    root = reading.require_folders(
        found, "AUCoding", "AU_OCC", title="the BP4D part of FERA 2015 (--part bp4d)"
    )
    coding = bp4d.coded_tasks(root, title="FERA 2015", coded=facs.DATASET_AUS["fera2015_bp4d"])
    people = {subject for subject, _ in coding.tasks}
    if strangers := sorted(people - set(bp4d.PEOPLE)):
        raise UserError(f"{root} holds {strangers[0]}, who is none of the 41 people of FERA 2015")
    split_of = bp4d.odd_even(bp4d.PEOPLE) if options.protocol == "official" else None
    recordings = bp4d.recordings_of(root, coding, split_of=split_of)
    return with_aus(bp4d.delivery_of(root, coding, recordings), AUS[options.aus])


# SEMAINE


def _semaine(source: Path, options: Options) -> Delivery:
    inner = [source / top / "SEMAINE-Sessions" for top in ("", "semaine", "Semaine", "SEMAINE")]
    source = reading.require_folders(
        next((path for path in inner if path.is_dir()), source),
        "rec[0-9]*",
        title="the SEMAINE part of FERA 2015 (--part semaine)",
    )
    listed = {number: split for split, numbers in SESSIONS.items() for number in numbers}
    recordings: list[Recording] = []
    inputs: list[Path] = []
    left_out: list[LeftOut] = []
    notes: list[str] = []
    for number, folder in _sessions(source):
        name = folder.name
        if number in FAULTY and not options.faulty:
            left_out.append(LeftOut(name, None, "session left out; --faulty keeps it"))
            continue
        if number not in listed:
            left_out.append(LeftOut(name, None, "session of neither set, without public labels"))
            continue
        film, eaf, text = _files(source, folder)
        inputs += [path for path in (eaf, text) if path.is_file()]
        try:
            coded = elan(eaf)
            first, end = _range(text, coded)
            occurrence_TA = occurrence(coded, first, end)
        except UserError as error:
            named = text if str(error).startswith(str(text)) else eaf
            left_out.append(bp4d.unreadable(source, named, error))
            continue
        if end > coded.end:
            notes.append(f"{name}: the annotation ends at frame {coded.end}, the range at {end}")
        if lacking := [f"AU{au}" for au in SEMAINE_AUS if au not in coded.stretches]:
            notes.append(f"{name}: no tier for {', '.join(lacking)}, taken for not coded")
        recordings.append(
            Recording(
                name=name,
                subject="",
                frames=Film(reading.relative(source, film), tuple(range(first, end))),
                occurrence_TA=occurrence_TA,
                place_T=np.arange(first, end),
                fps=FPS,
                split=listed[number] if options.protocol == "official" else None,
            )
        )
    if not recordings and left_out:
        raise UserError(f"no session of {source} can be used: {left_out[-1].reason}")
    return Delivery(
        recordings,
        aus=SEMAINE_AUS,
        inputs=inputs,
        left_out=left_out,
        notes=notes,
        root=source,
    )


def _sessions(source: Path) -> Iterator[tuple[int, Path]]:
    """Yields (number, folder) of rec1, rec9, rec12 … in the order of their numbers."""
    found = [
        (int(match[1]), path)
        for path in source.iterdir()
        if path.is_dir() and (match := re.fullmatch(r"rec0*(\d+)", path.name))
    ]
    yield from sorted(found)


def _files(source: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Film, ELAN file and range of a session, which may be missing. UserError for two of a kind."""

    def one(suffixes: Sequence[str], missing: str) -> Path:
        found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes]
        # Some copies hold more cameras than the user's from the front.
        frontal = [p for p in found if "user" in p.name.lower() and "frontal" in p.name.lower()]
        found = frontal if len(frontal) == 1 else found
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise UserError(f"{folder} holds {names}; leave the one that was coded")
        return found[0] if found else folder / missing

    texts = [source / f"{folder.name}.txt", folder / f"{folder.name}.txt"]
    text = next((path for path in texts if path.is_file()), texts[0])
    return one(reading.FILMS, f"{folder.name}.avi"), one((".eaf",), f"{folder.name}.eaf"), text


@dataclass(eq=False)
class Elan:
    """What an ELAN file says of AUs.

    Attributes:
      path: of the file.
      time_ms: time slot -> milliseconds.
      stretches: AU -> (time slot of begin, time slot of end) of each stretch; an AU without a
        tier is not in it.
    """

    path: Path
    time_ms: dict[str, int] = field(default_factory=dict)
    stretches: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Number of the frame behind the last time of the file."""
        return _frame(max(self.time_ms.values())) + 1


def _frame(time_ms: int) -> int:
    return time_ms * int(FPS) // 1000


def elan(path: Path) -> Elan:
    """Reads an ELAN file. UserError, with the line, for one that is none, or that defines types.

    ELAN writes no document type; entities, which could grow without bound or name other files, need
    one. So it is refused.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; copy the delivery again")
    if path.stat().st_size > MAX_XML_BYTES:
        raise UserError(f"{path} is larger than {MAX_XML_BYTES >> 20} MiB: no session's file")
    found = Elan(path)
    tier: list[str | None] = [None]
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        line = parser.CurrentLineNumber
        raise UserError(f"{path}, line {line}: a document type, which ELAN never writes")

    def begin(name: str, attributes: Mapping[str, str]) -> None:
        if name == "TIME_SLOT" and "TIME_VALUE" in attributes:
            found.time_ms[attributes["TIME_SLOT_ID"]] = int(attributes["TIME_VALUE"])
        elif name == "TIER":
            tier[0] = _au_of_tier(attributes["TIER_ID"])
            if tier[0] is not None and tier[0] in found.stretches:
                raise ValueError(f"two tiers are for AU {tier[0]}")
            if tier[0] is not None:
                found.stretches[tier[0]] = []
        elif name == "ALIGNABLE_ANNOTATION" and tier[0] is not None:
            slots = attributes["TIME_SLOT_REF1"], attributes["TIME_SLOT_REF2"]
            found.stretches[tier[0]].append(slots)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = begin
    try:
        parser.Parse(path.read_bytes(), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        line = parser.CurrentLineNumber
        raise UserError(f"{path}, line {line}: no ELAN file ({error}); copy it again") from error
    if not found.time_ms or not found.stretches:
        names = " ".join(f"AU{au}" for au in SEMAINE_AUS)
        raise UserError(f"{path}: no times, or none of the tiers {names}")
    return found


def _au_of_tier(name: str) -> str | None:
    """AU12 -> 12, of the coded ones; tiers of intensity have longer names."""
    match = re.fullmatch(r"AU[ _]?0*(\d+)", name.strip(), re.IGNORECASE)
    return match[1] if match and match[1] in SEMAINE_AUS else None


def _range(text: Path, coded: Elan) -> tuple[int, int]:
    """First coded frame, and the one behind the last; all that is annotated where no file says."""
    first, end, where = 0, coded.end, f"{coded.path}"
    if text.is_file():
        words = " ".join(reading.lines_of(text)).replace(",", " ").split()
        if len(words) != 2 or not all(word.isdecimal() and len(word) < 10 for word in words):
            raise UserError(f"{text}, line 1: expected two numbers, as in 3000 6000")
        first, end, where = int(words[0]), int(words[1]), f"{text}, line 1"
    if not first < end <= MAX_FRAMES:
        raise UserError(f"{where}: the coded range {first} to {end} is none")
    if first >= coded.end:
        raise UserError(f"{where}: the range begins at {first}, the annotation ends at {coded.end}")
    return first, end


def occurrence(coded: Elan, first: int, end: int) -> np.ndarray:
    """int8 occurrence_TA of the frames from `first` to before `end`, over SEMAINE_AUS."""
    length = end - first
    occurrence_TA = np.full((length, len(SEMAINE_AUS)), -1, np.int8)
    for column, au in enumerate(SEMAINE_AUS):
        if au not in coded.stretches:
            continue
        change = np.zeros(length + 1, int)
        for slots in coded.stretches[au]:
            low, high = (_number(coded, au, slot) for slot in slots)
            if high < low:
                raise UserError(f"{coded.path}: a stretch of AU{au} ends before it begins: {slots}")
            change[min(max(low - first, 0), length)] += 1
            change[min(max(high + 1 - first, 0), length)] -= 1
        known = coded.end - first
        occurrence_TA[:known, column] = np.cumsum(change)[:-1][:known] > 0
    return occurrence_TA


def _number(coded: Elan, au: str, slot: str) -> int:
    if slot not in coded.time_ms:
        raise UserError(f"{coded.path}: AU{au} refers to {slot}, whose time is not set")
    return _frame(coded.time_ms[slot])


_KNOWN = tuple(
    Known(
        f"{split} set counted in CVI-SZU/MDHR, data/BP4D_dataset",
        {
            f"frames/{split}": frames,
            **{
                f"AU{au}/{split}": count
                for au, count in zip(facs.DATASET_AUS["bp4d"], positives, strict=True)
                if au in facs.DATASET_AUS["fera2015_bp4d"]
            },
        },
        {"part": "bp4d", "protocol": "official", "aus": aus},
    )
    for split, (frames, positives) in COUNTS.items()
    for aus in ("all", "occurrence")
)

BUILDER = Builder(
    name="fera2015",
    title="FERA 2015",
    task="the challenge's parts of BP4D and SEMAINE",
    labels="occurrence of 11 AUs and intensity of 5 (BP4D), occurrence of 6 (SEMAINE)",
    subjects=41,
    licence="BP4D's and SEMAINE's agreements; research only",
    obtain="BP4D from Binghamton University; SEMAINE with an account at semaine-db.eu",
    citation="Valstar et al., FERA 2015 - second facial expression challenge, FG 2015",
    read=read,
    options=Options,
    layout=(
        "AUCoding/F001_T1.csv and BP4D-training/F001/T1/*.jpg; with --part semaine "
        "SEMAINE-Sessions/rec1/*.eaf, rec1/*.avi and rec1.txt"
    ),
    people="bp4d",
    known=_KNOWN,
)
