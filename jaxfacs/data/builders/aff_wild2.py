"""Aff-Wild2 (Kollias & Zafeiriou 2019), as the ABAW challenges deliver it: films off the web.

Layout: `6th ABAW Annotations/AU_Detection_Challenge/Train_Set/VIDEO.txt` and `Validation_Set`, and
so for `EXPR_…` (expressions) and `VA_…` (valence and arousal); first releases have `AU_Set`,
`EXPR_Set` and `VA_Set`. Row j below the header is frame j: 0 or 1 for 12 AUs, a number of the
header's expressions, or two values in [-1, 1]; -1 and, of valence and arousal, -5 are unknown.
`MTL_Challenge/train_set.txt` has rows "VIDEO/00001.jpg,valence,arousal,expression,12 AUs".
Pictures: `cropped_aligned/VIDEO/00001.jpg`, from 1, absent where no face was found; or the films in
`batch1`, `batch2`, `new_vids`. `VIDEO_left` and `VIDEO_right` are the two people of one film
(av-savchenko/face-emotion-recognition: src/ABAW; lingjivoo/OpenGraphAU: tool/dataset_process.py).

Nobody says who is who in several films; a film, or one side of it, is a subject here.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Film, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError

AUS = facs.DATASET_AUS["aff_wild2"]
EMOTIONS = facs.EMOTION_SETS["abaw_expr"]
FPS = 30.0  # most of the films; crops do not say
# What a folder holds by the beginning of its name: "AU_Detection_Challenge", "AU_Set".
TASKS = {"au": "AU", "expression": "EXPR", "valence-arousal": "VA", "mtl": "MTL"}
_TASK = re.compile(r"(AU|EXPR|VA|MTL)_(?:\w+_)?(?:Set|Challenge)", re.IGNORECASE)
SPLITS = {"train": "train", "training": "train", "validation": "validation", "val": "validation"}
SIDES = ("_left", "_right")
MTL_COLUMNS = ("image", "valence", "arousal", "expression")
DEEPEST = 4  # folders of annotations lie no deeper than this


@dataclass(frozen=True)
class Options:
    """What can be chosen for Aff-Wild2.

    Attributes:
      labels: au, expression or valence-arousal: one challenge with its own training and validation
        films; joined: all labels that a frame has (a film that one challenge trains on and another
        validates on is for validation); mtl: the multi-task files.
      pictures: cropped: the owners' aligned crops; films: the whole films; auto: crops if there.
      edition: part of the name of the folder of annotations, where several are there, as in 6th.
    """

    labels: Literal["au", "expression", "valence-arousal", "joined", "mtl"] = "au"
    pictures: Literal["auto", "cropped", "films"] = "auto"
    edition: str = ""


@dataclass(frozen=True, eq=False)
class Labels:
    """What is coded in a film.

    Attributes:
      split: train or validation.
      number_T: of the frames, from 1, ascending.
      occurrence_TA, emotion_T, affect_T2: None: not coded.
    """

    split: str
    number_T: np.ndarray
    occurrence_TA: np.ndarray | None = None
    emotion_T: np.ndarray | None = None
    affect_T2: np.ndarray | None = None


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(
        source, "*Annotations*", "*annotations*", "*_Challenge", "*_Set", title="Aff-Wild2"
    )
    tasks = _tasks(source, options.edition)
    wanted = tuple(tasks) if options.labels == "joined" else (options.labels,)
    if options.labels == "joined":
        wanted = tuple(task for task in wanted if task != "mtl")
    if not any(task in tasks for task in wanted):
        raise UserError(
            f"{source} has no folder {TASKS.get(options.labels, 'AU')}_…_Challenge or "
            f"{TASKS.get(options.labels, 'AU')}_Set; give other --labels, or copy the rest"
        )
    left_out: list[LeftOut] = []
    inputs: list[Path] = []
    notes: list[str] = []
    if options.labels == "mtl":
        labels = _multi_task(tasks["mtl"], inputs)
    else:
        labels = _by_film({task: tasks[task] for task in wanted}, inputs, left_out, notes)
    frames = sum(len(coded.number_T) for coded in labels.values())
    labels = {video: known for video, coded in labels.items() if (known := _known(coded))}
    if unknown := frames - sum(len(coded.number_T) for coded in labels.values()):
        notes.append(f"{unknown} frames whose labels are all unknown are left out")
    crops = _crops(source)
    films = options.pictures == "films" or (options.pictures == "auto" and not crops)
    recordings = (
        _from_films(source, labels, left_out)
        if films
        else _from_crops(crops, source, labels, notes)
    )
    return Delivery(
        list(recordings),
        aus=AUS if {"au", "mtl"} & {*wanted} else (),
        emotions=EMOTIONS if {"expression", "mtl"} & {*wanted} else (),
        inputs=inputs,
        left_out=left_out,
        notes=notes,
        root=source,
        faces=("haar",) if films else (),
    )


# Labels


def _tasks(source: Path, edition: str) -> dict[str, Path]:
    """task -> its folder. UserError where several editions of the challenge are there."""
    found: dict[Path, dict[str, Path]] = {}
    for top, folders, _ in os.walk(source):
        here = Path(top)
        folders[:] = sorted(name for name in folders if _may_hold_labels(name))
        if len(here.relative_to(source).parts) >= DEEPEST:
            folders.clear()
        if match := _TASK.fullmatch(here.name):
            task = next(task for task, word in TASKS.items() if word == match[1].upper())
            found.setdefault(here.parent, {})[task] = here
            folders.clear()
    names_of = {parent: reading.relative(source, parent) for parent in found}
    editions = {parent: tasks for parent, tasks in found.items() if edition in names_of[parent]}
    if len(editions) != 1:
        names = ", ".join(names_of[parent] for parent in editions or found)
        raise UserError(
            f"{source} holds {len(editions)} folders of annotations"
            f"{f' ({names}); choose one with --edition' if names else ''}"
        )
    return next(iter(editions.values()))


def _may_hold_labels(name: str) -> bool:
    """Not the folders of pictures: listing them takes minutes."""
    return not name.lower().startswith(("cropped", "batch", "new_vids", "."))


def _by_film(
    tasks: Mapping[str, Path], inputs: list[Path], left_out: list[LeftOut], notes: list[str]
) -> dict[str, Labels]:
    """video -> all that these challenges say of it. A damaged file leaves its film out."""
    coded: dict[str, dict[str, Labels]] = {}
    damaged: dict[str, UserError] = {}
    for task, folder in tasks.items():
        for split, path in _files(folder):
            inputs.append(path)
            video = path.stem.strip()
            if task in coded.get(video, {}):
                raise UserError(f"{path}: {video} is in both splits of {folder.name}; remove one")
            try:
                coded.setdefault(video, {})[task] = _READERS[task](path, split)
            except UserError as error:
                damaged[video] = error
    for video, error in damaged.items():
        coded.pop(video, None)
        left_out.append(LeftOut(video, None, f"unreadable labels: {error}"))
    if not coded:
        empty = UserError(f"{next(iter(tasks.values()))} holds no labels; copy it again")
        raise next(iter(damaged.values()), empty)
    torn = [v for v, by_task in coded.items() if len({c.split for c in by_task.values()}) > 1]
    if torn:
        notes.append(
            f"{len(torn)} films are in the training set of one challenge and the validation set of "
            "another; here they are for validation"
        )
    return {video: _joined([*by_task.values()]) for video, by_task in sorted(coded.items())}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields (split, label file). UserError where a split is not there."""
    seen = set()
    for top in sorted(path for path in folder.iterdir() if path.is_dir()):
        split = SPLITS.get(re.sub(r"[_\s]*set$", "", top.name.lower()))
        if split is not None:
            seen.add(split)
            yield from ((split, path) for path in sorted(top.glob("*.txt")))
    if missing := {"train", "validation"} - seen:
        raise UserError(
            f"{folder} lacks {' and '.join(f'{name.title()}_Set' for name in sorted(missing))}; "
            "copy the rest"
        )


def _numbers(table: reading.Table) -> np.ndarray:
    """Frame of each row: what stands in the line below the header is frame 1."""
    return np.array([line - 1 for line, _ in table.rows], np.int32)


def _aus(path: Path, split: str) -> Labels:
    table = reading.table(path)
    value_TA = table.numbers([table.column(f"AU{au}", f"AU0{au}") for au in AUS])
    return Labels(split, _numbers(table), occurrence_TA=reading.occurrence(value_TA))


def _expressions(path: Path, split: str) -> Labels:
    table = reading.table(path)
    names = [facs.emotions.canonical(name) for name in table.names]
    if strange := [name for name in names if name not in EMOTIONS]:
        raise UserError(f"{path}: {strange[0]!r} in the header is none of {', '.join(EMOTIONS)}")
    code_T = table.numbers([0])[:, 0]
    emotion_T = np.full(len(code_T), -1, np.int8)
    for code, name in enumerate(names):
        emotion_T[code_T == code] = EMOTIONS.index(name)
    return Labels(split, _numbers(table), emotion_T=emotion_T)


def _affect(path: Path, split: str) -> Labels:
    table = reading.table(path)
    value_T2 = table.numbers([table.column("valence"), table.column("arousal")])
    return Labels(split, _numbers(table), affect_T2=_in_range(value_T2))


_READERS: Mapping[str, Callable[[Path, str], Labels]] = {
    "au": _aus,
    "expression": _expressions,
    "valence-arousal": _affect,
}


def _in_range(value_T2: np.ndarray) -> np.ndarray:
    return np.where(np.abs(value_T2) <= 1, value_T2, np.nan).astype(np.float32)


def _multi_task(folder: Path, inputs: list[Path]) -> dict[str, Labels]:
    """video -> the rows of the multi-task files that are about it."""
    labels: dict[str, Labels] = {}
    seen = set()
    for path in sorted(folder.glob("*.txt")):
        split = SPLITS.get(re.split(r"[_\s]", path.stem.lower())[0])
        if split is None:
            continue
        seen.add(split)
        inputs.append(path)
        table = reading.table(path)
        places = [table.column(name) for name in MTL_COLUMNS]
        if places != [0, 1, 2, 3]:
            raise UserError(f"{path}: the header should begin with {','.join(MTL_COLUMNS)}")
        # The header names the AUs one by one, or all of them as "aus".
        value_N = table.numbers(range(1, len(MTL_COLUMNS) + len(AUS)))
        rows: dict[str, dict[int, int]] = {}
        for n, (line, cells) in enumerate(table.rows):
            video, _, picture = reading.inside(cells[0], file=path, line=line).rpartition("/")
            number = reading.number_of(Path(picture))
            if not video or not 1 <= number < reading.LONGEST_FILM:
                raise UserError(f"{path}, line {line}: {cells[0]!r} should be like video/00001.jpg")
            if number in rows.setdefault(video, {}):
                raise UserError(f"{path}, line {line}: {cells[0]} comes twice")
            rows[video][number] = n
        for video, places_of in rows.items():
            if video in labels:
                raise UserError(
                    f"{path}: {video} is in another split as well; copy the files again"
                )
            number_T = np.array(sorted(places_of), np.int32)
            value_TN = value_N[[places_of[number] for number in number_T.tolist()]]
            code_T = value_TN[:, 2]
            known_T = np.isin(code_T, range(len(EMOTIONS)))
            labels[video] = Labels(
                split,
                number_T,
                occurrence_TA=reading.occurrence(value_TN[:, 3:]),
                emotion_T=np.where(known_T, code_T, -1).astype(np.int8),
                affect_T2=_in_range(value_TN[:, :2]),
            )
    if seen != {"train", "validation"}:
        raise UserError(f"{folder} should hold train_set.txt and validation_set.txt")
    return dict(sorted(labels.items()))


def _joined(several: Sequence[Labels]) -> Labels:
    """All labels of one film on the frames that any of them has."""
    if len(several) == 1:
        return several[0]
    number_T = np.unique(np.concatenate([coded.number_T for coded in several]))

    def spread(name: str, unknown: float) -> np.ndarray | None:
        for coded in several:
            value_T = getattr(coded, name)
            if value_T is not None:
                out_T = np.full((len(number_T), *value_T.shape[1:]), unknown, value_T.dtype)
                out_T[np.searchsorted(number_T, coded.number_T)] = value_T
                return out_T
        return None

    return Labels(
        "validation" if any(coded.split == "validation" for coded in several) else "train",
        number_T,
        spread("occurrence_TA", -1),
        spread("emotion_T", -1),
        spread("affect_T2", np.nan),
    )


def _known(coded: Labels) -> Labels | None:
    """Those frames of which something is known; None where there are none."""
    known_T = np.zeros(len(coded.number_T), bool)
    if coded.occurrence_TA is not None:
        known_T |= (coded.occurrence_TA >= 0).any(1)
    if coded.emotion_T is not None:
        known_T |= coded.emotion_T >= 0
    if coded.affect_T2 is not None:
        known_T |= ~np.isnan(coded.affect_T2).all(1)
    return _at(coded, np.flatnonzero(known_T)) if known_T.any() else None


def _at(coded: Labels, places: np.ndarray) -> Labels:
    arrays = (coded.occurrence_TA, coded.emotion_T, coded.affect_T2)
    kept = (None if array is None else array[places] for array in arrays)
    return Labels(coded.split, coded.number_T[places], *kept)


# Pictures


def _crops(source: Path) -> dict[str, Path]:
    """video -> its folder, in cropped_aligned, cropped_aligned_new_50_vids and the like."""
    tops = [path for path in sorted(source.glob("cropped*")) if path.is_dir()]
    tops += [inner for top in tops for inner in sorted(top.glob("cropped*")) if inner.is_dir()]
    found: dict[str, Path] = {}
    for top in tops:
        for entry in os.scandir(top):
            if entry.is_dir() and not entry.name.startswith("cropped"):
                if entry.name in found:
                    raise UserError(f"{entry.path} and {found[entry.name]} are of one video")
                found[entry.name] = Path(entry.path)
    return found


def _from_crops(
    crops: Mapping[str, Path], source: Path, labels: Mapping[str, Labels], notes: list[str]
) -> Iterator[Recording]:
    absent = 0
    for video, coded in labels.items():
        if video not in crops:  # every frame is listed as missing
            paths = tuple(f"cropped_aligned/{video}/{n:05d}.jpg" for n in coded.number_T.tolist())
            yield _recording(video, coded, Pictures(paths))
            continue
        top = reading.relative(source, crops[video])
        # Not `reading.numbered`: 2.6 million Path objects take a minute.
        there = {
            int(name[:-4]): name
            for name in os.listdir(crops[video])
            if re.fullmatch(r"\d{1,8}\.jpg", name, re.IGNORECASE)
        }
        places = np.flatnonzero(np.isin(coded.number_T, list(there)))
        absent += len(coded.number_T) - len(places)
        coded = _at(coded, places)
        if len(places):
            paths = tuple(f"{top}/{there[n]}" for n in coded.number_T.tolist())
            yield _recording(video, coded, Pictures(paths))
    if absent:
        notes.append(f"{absent} labelled frames have no crop: no face was found in them")


def _from_films(
    source: Path, labels: Mapping[str, Labels], left_out: list[LeftOut]
) -> Iterator[Recording]:
    folders = [p for p in sorted(source.iterdir()) if p.is_dir() and "cropped" not in p.name]
    films: dict[str, Path] = {}
    for folder in (source, *folders):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in reading.FILMS:
                if path.stem in films:
                    raise UserError(f"{path} and {films[path.stem]} are of one video; remove one")
                films[path.stem] = path
    for video, coded in labels.items():
        if video.endswith(SIDES) and video not in films:
            # Which of the two faces is on the left of the person or the picture is not to be told.
            left_out.append(LeftOut(video, None, "two people in one film: take the crops"))
            continue
        path = reading.relative(source, films[video]) if video in films else f"batch1/{video}.mp4"
        yield _recording(video, coded, Film(path, tuple((coded.number_T - 1).tolist())))


def _recording(video: str, coded: Labels, frames: Pictures | Film) -> Recording:
    return Recording(
        name=video,
        subject=video,
        frames=frames,
        occurrence_TA=coded.occurrence_TA,
        emotion_T=coded.emotion_T,
        valence_arousal_T2=coded.affect_T2,
        place_T=coded.number_T,
        fps=FPS,
        split=coded.split,
    )


BUILDER = Builder(
    name="aff_wild2",
    title="Aff-Wild2",
    task="AUs, expressions, valence and arousal in films off the web",
    labels="12 AUs, one of eight expressions, valence and arousal, by frame",
    subjects=0,
    licence="end user agreement signed by academic staff; non-commercial research",
    obtain="e-mail to D. Kollias: ibug.doc.ic.ac.uk/resources/aff-wild2",
    citation="Kollias & Zafeiriou, Expression, Affect, Action Unit Recognition, BMVC 2019",
    read=read,
    options=Options,
    layout="… ABAW Annotations/AU_Detection_Challenge/Train_Set/VIDEO.txt, cropped_aligned/VIDEO/*",
    faces=("whole",),
    size=112,
)
