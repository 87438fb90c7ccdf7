"""AffectNet (Mollahosseini et al. 2017): faces off the web, expression, valence and arousal.

Two releases. 2017: `Manually_Annotated_file_lists/training.csv` and `validation.csv` with columns
subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks (68 points
"x1;y1;…" in pixels of the picture), expression, valence, arousal; some copies lack the header.
Pictures below `Manually_Annotated_Images/`, with or without `Manually_Annotated/` around; alike
`Automatically_…` (radekd91/inferno: inferno/datasets/AffectNetDataModule.py). 2021: crops
`train_set/images/0.jpg` and `val_set`, labels `annotations/0_exp.npy`, `_val`, `_aro`, `_lnd`,
scalars that may be stored as strings (av-savchenko/face-emotion-recognition: src/affectnet).

Expressions 0-7 are emotions; 8 none, 9 uncertain and 10 no face are unknown here. Valence and
arousal are in [-1, 1]; -2 is unknown. The validation set is what papers test on. Boxes are what
public readers cut out of the picture; that points count from 0 at the middle of the first pixel is
taken for granted, at worst one pixel off.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError
from jaxfacs.progress import track

EMOTIONS = facs.EMOTION_SETS["affectnet"]
COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
)  # fmt: skip
OTHERS = (8, 9, 10)  # none, uncertain, no face
POINTS = 68
_FIRST_PIXEL = 0.5  # where its middle lies here; the owners' count is taken to begin at 0


@dataclass(frozen=True)
class Options:
    """What can be chosen for AffectNet.

    Attributes:
      release: 2017 (lists and whole pictures), 2021 (crops with a file a label), or what is found.
      annotation: of the release of 2017: by hand, by its owners' network (for training alone), or
        both.
      landmarks: read the 68 points as well; of the release of 2021 that is one file more each.
    """

    release: Literal["auto", "2017", "2021"] = "auto"
    annotation: Literal["manual", "automatic", "both"] = "manual"
    landmarks: bool = True


class Labelled(NamedTuple):
    """A picture and its labels; emotion −1 and NaN where they are unknown."""

    path: str
    emotion: int
    affect_2: tuple[float, float]
    box_4: tuple[float, ...] | None
    points_K2: np.ndarray | None


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    lists = ("Manually_Annotated*", "Automatically_[Aa]nnotated*")
    source = reading.require_folders(source, *lists, "train_set", "val_set", title="AffectNet")
    crops = (source / "train_set").is_dir() or (source / "val_set").is_dir()
    release = options.release if options.release != "auto" else "2021" if crops else "2017"
    return (_release_2021 if release == "2021" else _release_2017)(source, options)


def _release_2017(source: Path, options: Options) -> Delivery:
    kinds = {"manual": ("Manually",), "automatic": ("Automatically",)}.get(
        options.annotation, ("Manually", "Automatically")
    )
    recordings: list[Recording] = []
    inputs: list[Path] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    for kind in kinds:
        pictures = _pictures_below(source, kind)
        for path, split in _lists(source, kind):
            inputs.append(path)
            rows = _rows(path, pictures, notes, left_out, landmarks=options.landmarks)
            name = f"{kind.lower()}/{split}"
            ones = _once(list(rows), left_out, path.name)
            recordings += _recordings(name, split, ones, notes, path.name)
    return Delivery(
        recordings,
        emotions=EMOTIONS,
        inputs=inputs,
        left_out=left_out,
        notes=notes,
        root=source,
        faces=("boxes",),
    )


def _once(ones: Sequence[Labelled], left_out: list[LeftOut], file: str) -> list[Labelled]:
    """Each face once. Rows of one face that contradict each other are left out."""
    rows: dict[tuple, list[Labelled]] = {}
    for one in ones:
        rows.setdefault((one.path, one.box_4), []).append(one)
    kept = []
    for same in rows.values():
        if len({(one.emotion, str(one.affect_2)) for one in same}) > 1:
            left_out += [LeftOut(one.path, None, "label clash", file) for one in same]
        else:
            kept.append(same[0])
    return kept


def _lists(source: Path, kind: str) -> list[tuple[Path, str]]:
    """(list, split) of what was annotated in one way. UserError where one of them is not there."""
    wanted = {"training.csv": "train", "validation.csv": "test"}
    if kind == "Automatically":
        wanted = {"automatically_annotated.csv": "train"}
    # "Manually_Annotated_file_lists", "Automatically_annotated_file_list": the letter case varies.
    folders = [source, *(p for p in sorted(source.iterdir()) if p.is_dir())]
    folders = [p for p in folders if p == source or p.name.lower().startswith(kind.lower())]
    folders += [
        p for f in folders[1:] for p in sorted(f.iterdir()) if "file_list" in p.name.lower()
    ]
    found = []
    for name, split in wanted.items():
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            raise UserError(f"{source} has no {name} in {kind}_Annotated_file_lists; copy the rest")
        found.append((path, split))
    return found


def _pictures_below(source: Path, kind: str) -> str:
    """The folder of pictures relative to the delivery."""
    name = f"{kind}_Annotated_Images"
    tops = ("", f"{kind}_Annotated/", f"{kind}_Annotated_compressed/{kind}_Annotated/")
    found = (f"{top}{name}" for top in tops if (source / f"{top}{name}").is_dir())
    return next(found, f"{kind}_Annotated/{name}")


def _rows(
    path: Path, pictures: str, notes: list[str], left_out: list[LeftOut], *, landmarks: bool
) -> Iterator[Labelled]:
    """Pictures of a list. A damaged row is left out; UserError where there is no other."""
    at = list(range(len(COLUMNS)))
    good, bad = 0, ""
    for number, (line, cells) in enumerate(reading.rows_of(path)):
        if number == 0:
            if COLUMNS[0].lower() in (cell.lower() for cell in cells):
                table = reading.Table(path, cells, [])
                at = [table.column(name) for name in COLUMNS]
                continue
            notes.append(f"{path.name} has no header; its columns are taken in the usual order")
        try:
            row = _row([cells[c] for c in at], landmarks=landmarks)
        except (ValueError, IndexError) as error:
            bad = bad or f"{path}, line {line}: {error}"
            left_out.append(LeftOut(cells[0], None, "unreadable labels", path.name, line))
            continue
        good += 1
        yield row._replace(path=f"{pictures}/{reading.inside(row.path, file=path, line=line)}")
    if not good:
        raise UserError(f"{bad or f'{path} has no rows'}; copy the list again")


def _row(cells: Sequence[str], *, landmarks: bool) -> Labelled:
    """One row, its path as in the list. ValueError where a cell is no number."""
    name, *box, points, expression, valence, arousal = cells
    if not name:
        raise ValueError("no name of a picture")
    x, y, width, height = (_number(cell) for cell in box)
    points_K2 = None
    if landmarks:
        value_N = np.fromiter(map(float, points.split(";")), np.float32) if ";" in points else None
        points_K2 = _points(value_N)
    return Labelled(
        name,
        _emotion(float(expression)),
        _affect(_number(valence), _number(arousal)),
        (x, y, width, height) if width > 0 else (np.nan,) * 4,
        points_K2,
    )


def _release_2021(source: Path, options: Options) -> Delivery:
    recordings: list[Recording] = []
    left_out: list[LeftOut] = []
    notes: list[str] = []
    for folder, split in {"train_set": "train", "val_set": "test"}.items():
        if not (source / folder / "annotations").is_dir():
            raise UserError(f"{source} has no {folder}/annotations; copy the rest")
        ones = list(_crops(source, folder, left_out, landmarks=options.landmarks))
        recordings += _recordings(split, split, ones, notes, folder)
    return Delivery(recordings, emotions=EMOTIONS, left_out=left_out, notes=notes, root=source)


def _crops(
    source: Path, folder: str, left_out: list[LeftOut], *, landmarks: bool
) -> Iterator[Labelled]:
    """Pictures of `train_set` or `val_set` with their labels, by number.

    A folder has a million files: it is listed once, and nothing is looked for.
    """
    annotations = source / folder / "annotations"
    labelled = {name.removesuffix("_exp.npy") for name in os.listdir(annotations) if "_exp" in name}
    there = {
        Path(name).stem: name
        for name in (os.listdir(source / folder / "images") if labelled else ())
        if name.lower().endswith(reading.PICTURES) and not name.startswith(".")
    }
    left_out += [
        LeftOut(f"{folder}/images/{there[stem]}", None, "no label")
        for stem in sorted(set(there) - labelled)
    ]
    good, bad = 0, f"{annotations} holds no labels like 0_exp.npy"
    stems = sorted(labelled, key=lambda stem: (len(stem), stem))
    for stem in track(stems, label=f"reading labels of {folder}", unit="picture"):
        path = f"{folder}/images/{there.get(stem, f'{stem}.jpg')}"
        try:
            expression, valence, arousal = (
                _scalar(annotations / f"{stem}_{kind}.npy") for kind in ("exp", "val", "aro")
            )
            points_K2 = _points(_vector(annotations / f"{stem}_lnd.npy")) if landmarks else None
            emotion, affect_2 = _emotion(expression), _affect(valence, arousal)
        except ValueError as error:
            bad = f"{annotations / stem}_*.npy: {error}"
            left_out.append(LeftOut(path, None, f"unreadable labels: {error}"))
            continue
        good += 1
        yield Labelled(path, emotion, affect_2, None, points_K2)
    if not good:
        raise UserError(f"{bad}; copy AffectNet again")


def _scalar(path: Path) -> float:
    value = _loaded(path)
    if value.size != 1:
        raise ValueError(f"{path.name} holds {value.size} values, not one")
    return float(value.item())


def _vector(path: Path) -> np.ndarray:
    return _loaded(path).astype(np.float32).ravel()


def _loaded(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # numpy lets errors of Python's tokenizer and memory through
        raise ValueError(f"{path.name}: {error}") from error


def _points(value_N: np.ndarray | None) -> np.ndarray:
    """float32 68×2; NaN where nothing is given. ValueError for another number of points."""
    if value_N is None:
        return np.full((POINTS, 2), np.nan, np.float32)
    if len(value_N) != 2 * POINTS:
        raise ValueError(f"{len(value_N)} numbers are not {POINTS} landmarks")
    return value_N.reshape(POINTS, 2) + np.float32(_FIRST_PIXEL)


def _number(cell: str) -> float:
    return float("nan") if cell.lower() in ("", "-", "null", "nan") else float(cell)


def _emotion(code: float) -> int:
    if code in OTHERS or code == -1:
        return -1
    if code not in range(len(EMOTIONS)):
        raise ValueError(f"expression {code:g} is not 0 to 10")
    return int(code)


def _affect(valence: float, arousal: float) -> tuple[float, float]:
    """Both, or NaN: −2 marks what nobody could say, and nothing else outside [−1, 1] is a value."""
    known = abs(valence) <= 1 and abs(arousal) <= 1
    return (valence, arousal) if known else (float("nan"), float("nan"))


def _recordings(
    name: str, split: str, ones: Sequence[Labelled], notes: list[str], where: str
) -> list[Recording]:
    """Stills of those of which something is known."""
    kept = [one for one in ones if one.emotion >= 0 or not np.isnan(one.affect_2[0])]
    if len(kept) < len(ones):
        notes.append(
            f"{where}: {len(ones) - len(kept)} pictures of unknown expression, valence and arousal "
            "are left out"
        )
    if not kept:
        return []
    boxes = [one.box_4 for one in kept if one.box_4 is not None]
    points = [one.points_K2 for one in kept if one.points_K2 is not None]
    return reading.stills(
        name,
        "",
        Pictures(tuple(one.path for one in kept)),
        split=split,
        emotion_T=np.array([one.emotion for one in kept], np.int8),
        valence_arousal_T2=np.array([one.affect_2 for one in kept], np.float32),
        box_T4=np.array(boxes, np.float32) if boxes else None,
        landmarks_TK2=np.stack(points) if points else None,
    )


BUILDER = Builder(
    name="affectnet",
    title="AffectNet",
    task="emotions, valence and arousal of faces off the web",
    labels="one of eight emotions, valence and arousal; boxes (2017) and 68 landmarks",
    subjects=0,
    licence="research only",
    obtain="request by a faculty member: mohammadmahoor.com/affectnet",
    citation="Mollahosseini et al., AffectNet, IEEE Transactions on Affective Computing 10 (2019)",
    read=read,
    options=Options,
    layout="train_set/images/0.jpg and annotations/0_exp.npy, or Manually_Annotated_file_lists",
    frames=1,
    faces=("whole",),
    size=224,
    known=(
        Known(
            "forever208/FMAE-IAT: AU/AffectNet_peocess.py",
            {"frames": 287651 + 3999, "frames/test": 3999},
            when={"release": "2021"},
        ),
    ),
)
