"""GFT, the Sayette Group Formation Task (Girard et al. 2017): 96 people talking in groups of three.

One minute of each person at 30 frames a second is coded: 172,800 frames (osf.io/7wcyz). The labels
are public, the films come after an agreement; both belong into one folder. No public code reads
them, so nothing is presumed of folders and names:

- a label file is any CSV with columns like AU01; its other columns do not matter, but for the
  frame's number where one is called frame. It holds intensities where its path says so (AU_INT,
  intensity), else occurrence, where all that is neither 0 nor 1 (−999, 9, blank, NaN) is unknown;
- a film belongs to the labels with the same name, apart from words such as AU or labels at its end;
- who is for training (78 people, it is said) and who for the test is read from folders or lists
  called train… and test…, if there are any.

What was found is told.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import bp4d, reading
from jaxfacs.data.delivery import Builder, Delivery, Film, Known, LeftOut, Recording
from jaxfacs.errors import UserError

AUS = facs.DATASET_AUS["gft"]
AU_COLUMN = re.compile(r"['\"\s]*AU?[\s_]?0*(\d{1,2})(?:[\s_].*)?['\"]?", re.IGNORECASE)
FRAME_COLUMN = re.compile(r"(?:base|video)?[\s_]?frames?(?:[\s_]?(?:number|no|nr|id|index))?", re.I)
INTENSITY = re.compile(r"int(?:ensit(?:y|ies))?", re.IGNORECASE)
SPLIT = re.compile(r"(?:^|[\W_])(train|test)", re.IGNORECASE)
OTHER = {"train": "test", "test": "train"}
# Words of a file's name that say what it holds, not whom it shows.
WORDS = frozenset(
    "au aus occ occurrence int intensity label labels annotation annotations facs coding codes "
    "frame frames video film".split()
)
FPS = 30.0


@dataclass(frozen=True)
class Options:
    """What can be chosen for GFT.

    Attributes:
      protocol: delivered: training and test people as folders or lists in the delivery name them;
        subjects: dealt out.
      numbering: rows: the first row is the film's first frame; film: the rows' numbers count the
        film's frames from 1.
    """

    protocol: Literal["delivered", "subjects"] = "delivered"
    numbering: Literal["rows", "film"] = "rows"


@dataclass(eq=False)
class Files:
    """What lies in a delivery, by the person's name in the files.

    Attributes:
      labels: "occurrence" or "intensity" -> name -> file.
      films: name -> film.
      lists: files called train… or test… that hold no labels.
      headers: of CSV files that are no labels, for a message.
    """

    labels: dict[str, dict[str, Path]] = field(
        default_factory=lambda: {"occurrence": {}, "intensity": {}}
    )
    films: dict[str, Path] = field(default_factory=dict)
    lists: list[Path] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Coded:
    """One person: int numbers_T of the frames, and AU -> int8 T and float32 T."""

    numbers_T: np.ndarray
    occurrence: Mapping[str, np.ndarray]
    intensity: Mapping[str, np.ndarray]


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    if not source.is_dir():
        raise UserError(f"--source {source} is not a folder")
    files = files_of(source)
    named = sorted({*files.labels["occurrence"], *files.labels["intensity"]})
    if not named:
        seen = f"; the columns of {files.headers[0]}" if files.headers else ""
        raise UserError(f"{source} has no CSV with columns like AU01: it is not GFT{seen}")
    coded: dict[str, Coded] = {}
    left_out: list[LeftOut] = []
    for name in named:
        try:
            coded[name] = _coded(files, name)
        except UserError as error:
            if len(left_out) + 1 == len(named):
                raise
            paths = [files.labels[kind].get(name) for kind in files.labels]
            damaged = next(path for path in paths if path and str(error).startswith(str(path)))
            left_out.append(bp4d.unreadable(source, damaged, error))
    split_of, notes = {}, []
    if options.protocol == "delivered":
        split_of, lost = splits(source, files, coded)
        left_out += lost
        people = Counter(split_of.values())
        notes.append(
            f"the delivery names {people['train']} people for training, {people['test']} for test"
            if split_of
            else "no folder or list called train… or test… was found: people are dealt out"
        )
    aus = _aus(coded)
    recordings = []
    for name, person in coded.items():
        if split_of and name not in split_of:
            left_out.append(LeftOut(name, None, "in neither list of people"))
            continue
        recordings.append(_recording(source, files, name, person, aus, options, split_of.get(name)))
    starts = Counter(int(person.numbers_T[0]) for person in coded.values())
    notes.append(
        f"found {len(coded)} people, {len(files.films)} films and the AUs {' '.join(aus)}; rows "
        f"are numbered from {', '.join(str(start) for start, _ in starts.most_common(3))}"
    )
    inputs = [*files.labels["occurrence"].values(), *files.labels["intensity"].values()]
    return Delivery(
        recordings,
        aus=aus,
        inputs=[*inputs, *files.lists],
        left_out=left_out,
        notes=notes,
        root=source,
    )


def files_of(source: Path) -> Files:
    """Every file by its name and header. UserError where two are for the same."""
    files = Files()

    def add(found: dict[str, Path], path: Path) -> None:
        name = person_of(path.stem)
        if name in found:
            raise UserError(f"{path} and {found[name]} are both for {name}; remove one of them")
        found[name] = path

    for path in reading.files_below(source):
        suffix = path.suffix.lower()
        if suffix in reading.FILMS:
            add(files.films, path)
        elif suffix in (".csv", ".txt"):
            header = _header(path) if suffix == ".csv" else []
            if any(AU_COLUMN.fullmatch(name) for name in header):
                words = re.split(r"[^A-Za-z]+", reading.relative(source, path))
                graded = any(INTENSITY.fullmatch(word) for word in words)
                add(files.labels["intensity" if graded else "occurrence"], path)
            elif SPLIT.search(path.stem):
                files.lists.append(path)
            elif header:
                files.headers.append(f"{path.name} are {', '.join(header[:6])}")
    return files


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return [cell.strip() for cell in file.readline(100_000).split(",")]


def person_of(stem: str) -> str:
    """Whom a file shows: its name in small letters without the words that say what it holds."""
    words = re.split(r"[\s_.\-]+", stem.lower())
    return "_".join(word for word in words if word not in WORDS) or stem.lower()


def _coded(files: Files, name: str) -> Coded:
    numbers_T: np.ndarray | None = None
    occurrence: dict[str, np.ndarray] = {}
    intensity: dict[str, np.ndarray] = {}
    for kind, columns in (("occurrence", occurrence), ("intensity", intensity)):
        if (path := files.labels[kind].get(name)) is None:
            continue
        table = reading.table(path)
        place = [c for c, header in enumerate(table.names) if FRAME_COLUMN.fullmatch(header)]
        rows_T = np.arange(1, len(table.rows) + 1)
        own_T = reading.frame_numbers(table, place[0]) if place else rows_T
        if not len(own_T):
            raise UserError(f"{path} has no rows; copy it again")
        numbers_T = own_T if numbers_T is None else numbers_T
        if not np.array_equal(own_T, numbers_T):
            raise UserError(f"{path} has other frames than {files.labels['occurrence'][name].name}")
        for c, header in enumerate(table.names):
            if match := AU_COLUMN.fullmatch(header):
                if match[1] in columns:
                    raise UserError(f"{path}: two columns are for AU {match[1]}")
                value_T = _lenient(table, c)
                known = reading.occurrence if kind == "occurrence" else reading.intensity
                columns[match[1]] = known(value_T)
    assert numbers_T is not None
    return Coded(numbers_T, occurrence, intensity)


def _lenient(table: reading.Table, column: int) -> np.ndarray:
    """float64 T; NaN for what is no number, as any such value is missing here."""
    value_T = np.full(len(table.rows), np.nan)
    for t, (line, cells) in enumerate(table.rows):
        if column >= len(cells):
            raise UserError(f"{table.path}, line {line}: only {len(cells)} cells; copy it again")
        try:
            value_T[t] = float(cells[column])
        except ValueError:
            continue
    return value_T


def _aus(coded: Mapping[str, Coded]) -> tuple[str, ...]:
    """The ten that are known to be coded, if they have a column, and what was seen besides."""
    found: set[str] = set()
    for person in coded.values():
        found |= {*person.intensity} | ({*person.occurrence} & {*AUS})
        found |= {au for au, value_T in person.occurrence.items() if 1 in value_T}
    return tuple(sorted(found & bp4d.CATALOGUE, key=int))


def _recording(
    source: Path,
    files: Files,
    name: str,
    person: Coded,
    aus: Sequence[str],
    options: Options,
    split: str | None,
) -> Recording:
    unknown_T = np.full(len(person.numbers_T), -1, np.int8)
    first = 1 if options.numbering == "film" else int(person.numbers_T[0])
    film = _film(source, files, name)
    return Recording(
        name=name,
        subject=name,
        frames=Film(reading.relative(source, film), tuple((person.numbers_T - first).tolist())),
        occurrence_TA=np.stack([person.occurrence.get(au, unknown_T) for au in aus], 1),
        intensity_TA=np.stack(
            [person.intensity.get(au, unknown_T).astype(np.float32) for au in aus], 1
        ),
        place_T=person.numbers_T,
        fps=FPS,
        split=split,
    )


def _film(source: Path, files: Files, name: str) -> Path:
    """The film of a person: of the same name, or the one whose name goes on behind it."""
    if name in files.films:
        return files.films[name]
    near = [key for key in files.films if key.startswith(f"{name}_") or name.startswith(f"{key}_")]
    if len(near) > 1:
        raise UserError(f"labels of {name} may belong to {' or '.join(near)}; rename the films")
    return files.films[near[0]] if near else source / f"{name}.mp4"


def splits(
    source: Path, files: Files, coded: Mapping[str, Coded]
) -> tuple[dict[str, str], list[LeftOut]]:
    """person -> train or test, and entries of lists that point to nobody.

    Lists count before folders. Nobody has a split where there is neither. UserError where somebody
    is in both.
    """
    found: dict[str, str] = {}
    lost: list[LeftOut] = []
    for path in files.lists:
        match = SPLIT.search(path.stem)
        split = match[1].lower() if match else ""
        for line, text in enumerate(reading.lines_of(path), start=1):
            entry = text.split(",")[0].strip().strip("\"'")
            name = person_of(Path(entry.replace("\\", "/")).stem)
            if not re.search(r"\d", entry):  # a header
                continue
            if name not in coded:
                file = reading.relative(source, path)
                lost.append(LeftOut(entry, None, "listed, but without labels", file, line))
            elif found.setdefault(name, split) != split:
                raise UserError(f"{path}, line {line}: {entry} is listed for training and for test")
    for name in () if found else coded:
        path = files.labels["occurrence"].get(name) or files.labels["intensity"][name]
        for part in path.relative_to(source).parts[:-1]:
            if match := SPLIT.search(part):
                found[name] = match[1].lower()
    if len(kinds := set(found.values())) == 1:  # one list says who is in the other
        found = {name: found.get(name, OTHER[min(kinds)]) for name in coded}
    return found, lost


BUILDER = Builder(
    name="gft",
    title="GFT (Sayette Group Formation Task)",
    task="spontaneous AUs of people who talk in groups of three",
    labels="occurrence of 10 AUs by frame; intensity where its files are there",
    subjects=96,
    licence="labels CC-BY 4.0; films by agreement with the University of Pittsburgh, research only",
    obtain="labels at osf.io/7wcyz; its wiki has the form for the films",
    citation="Girard et al., Sayette Group Formation Task (GFT) database, FG 2017, 581-588",
    read=read,
    options=Options,
    layout="CSV files with columns like AU01, and films of the same names",
    known=(Known("osf.io/7wcyz", {"subjects": 96, "frames": 172800}),),
)
