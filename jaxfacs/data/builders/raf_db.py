"""RAF-DB (Li et al. 2017): faces off the web, each labelled by about 40 people.

Layout, of `basic` and alike of `compound`: `EmoLabel/list_patition_label.txt` (so spelt) with rows
"train_00001.jpg 5", labels from 1; pictures `Image/aligned/train_00001_aligned.jpg` (100 px) and
`Image/original/train_00001.jpg`. Beside them, read where they are:
`Annotation/boundingbox/train_00001_boundingbox.txt` (left, top, right, bottom in one row) and
`Annotation/manual/train_00001_manu_attri.txt`: five rows of points (the person's right and left
eye, nose, right and left mouth corner), then sex (0 male, 1 female, 2 unsure), race (0 Caucasian,
1 African-American, 2 Asian) and age (0: 0-3, 1: 4-19, 2: 20-39, 3: 40-69, 4: 70 and older); several
public readers agree. Boxes and points are in pixels of the original pictures. Boxes are what those
readers cut out; that points count from 0 at the middle of the first pixel is taken for granted, at
worst one pixel off.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, Pictures, Recording
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

EMOTIONS = {
    "basic": facs.EMOTION_SETS["raf_db"],
    # The order in which public readers have the 11 classes. The paper and the label file have 11;
    # the owners' page says 12.
    "compound": facs.EMOTION_SETS["raf_db_compound"],
}
LIST = "EmoLabel/list_patition_label.txt"
SPLITS = ("train", "test")
ATTRIBUTES = ("sex", "race", "age_group")
MOST = (1, 2, 4)  # the largest code of each attribute; 2 of the first is "unsure"
POINTS = 5
_FIRST_PIXEL = 0.5  # where its middle lies here; the owners' count is taken to begin at 0


@dataclass(frozen=True)
class Options:
    """What can be chosen for RAF-DB.

    Attributes:
      part: basic: seven emotions; compound: eleven pairs of them.
      pictures: aligned: the owners' crops of 100 px; original: the whole pictures, with boxes and
        points where they were delivered.
    """

    part: Literal["basic", "compound"] = "basic"
    pictures: Literal["aligned", "original"] = "aligned"


class Row(NamedTuple):
    """A row of the list: a picture's name without its ending, its split, its label from 0."""

    stem: str
    split: str
    emotion: int


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    top = reading.require_folders(source, options.part, LIST, title="RAF-DB")
    source = top / options.part if (top / options.part).is_dir() else top
    listed = source / LIST
    rows = _rows(listed, options.part)
    emotions, notes = EMOTIONS[options.part], []
    if options.part == "compound":
        if source == top and max(row.emotion for row in rows) < len(EMOTIONS["basic"]):
            raise UserError(f"{listed} has the labels 1 to 7 alone: it is of the basic part")
        emotions, notes = _by_readme((source, source / "EmoLabel", top), emotions)
    annotation = source / "Annotation"
    box_N4 = points_N52 = None
    if options.pictures == "original" and (annotation / "boundingbox").is_dir():
        box_N4 = np.stack([_box(annotation / "boundingbox", row.stem) for row in rows])
    attributes_N3 = None
    if (annotation / "manual").is_dir():
        points_N52, attributes_N3 = map(
            np.stack, zip(*(_manual(annotation / "manual", row.stem) for row in rows), strict=True)
        )
    recordings: list[Recording] = []
    name = _namer(source, options.pictures)
    for split in SPLITS:
        places = [n for n, row in enumerate(rows) if row.split == split]
        given = options.pictures == "original"
        recordings += reading.stills(
            split,
            "",
            Pictures(tuple(name(rows[n].stem) for n in places)),
            split=split,
            emotion_T=np.array([rows[n].emotion for n in places]),
            attributes_TK=None if attributes_N3 is None else attributes_N3[places],
            box_T4=None if box_N4 is None else box_N4[places],
            landmarks_TK2=points_N52[places] if given and points_N52 is not None else None,
        )
    faces: tuple[str, ...] = ()
    if options.pictures == "original":
        faces = ("haar",) if box_N4 is None else ("boxes",)
    return Delivery(
        recordings,
        emotions=emotions,
        attributes=ATTRIBUTES if attributes_N3 is not None else (),
        inputs=[listed],
        notes=notes,
        root=source,
        faces=faces,
    )


def _rows(path: Path, part: str) -> list[Row]:
    """The list, in its order. UserError for a row that says something else, or a picture twice."""
    rows: list[Row] = []
    seen: dict[str, int] = {}
    classes = len(EMOTIONS[part])
    for line, text in enumerate(reading.lines_of(path), start=1):
        if not text.strip():
            continue
        name, *labels = text.split()
        label = " ".join(labels)
        stem, _, ending = reading.inside(name, file=path, line=line).rpartition(".")
        split = stem.partition("_")[0]
        if split not in SPLITS or not ending or "/" in stem:
            raise UserError(f"{path}, line {line}: {name!r} should be like train_00001.jpg")
        if label not in map(str, range(1, classes + 1)):
            raise UserError(
                f"{path}, line {line}: label {label!r} is not 1 to {classes}, "
                f"the classes of the {part} part"
            )
        if stem in seen:
            raise UserError(f"{path}, line {line}: {name} is in line {seen[stem]} already")
        seen[stem] = line
        rows.append(Row(stem, split, int(label) - 1))
    if not rows:
        raise UserError(f"{path} is empty; copy the delivery again")
    return rows


def _namer(source: Path, pictures: str) -> Callable[[str], str]:
    """How a picture's path follows from its stem; archives unpack into a folder of their own."""
    top = f"Image/{pictures}"
    if (source / top / pictures).is_dir():
        top = f"{top}/{pictures}"
    suffix = "_aligned.jpg" if pictures == "aligned" else ".jpg"
    return lambda stem: f"{top}/{stem}{suffix}"


def _box(folder: Path, stem: str) -> np.ndarray:
    """float32 (x, y, w, h); NaN where there is no file."""
    path = folder / f"{stem}_boundingbox.txt"
    if not path.is_file():
        return np.full(4, np.nan, np.float32)
    left, top, right, bottom = _numbers(path, reading.lines_of(path)[:1], 4)
    return np.array((left, top, right - left, bottom - top), np.float32)


def _manual(folder: Path, stem: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 5×2 points and 3 attributes; NaN where there is no file, or a coder was unsure."""
    path = folder / f"{stem}_manu_attri.txt"
    if not path.is_file():
        return np.full((POINTS, 2), np.nan, np.float32), np.full(3, np.nan, np.float32)
    lines = [line for line in reading.lines_of(path) if line.strip()]
    points = _numbers(path, lines[:POINTS], 2 * POINTS)
    codes = _numbers(path, lines[POINTS : POINTS + len(MOST)], len(MOST))
    known = [c if 0 <= c <= most else np.nan for c, most in zip(codes, MOST, strict=True)]
    points_52 = np.array(points, np.float32).reshape(POINTS, 2) + np.float32(_FIRST_PIXEL)
    return points_52, np.array(known, np.float32)


def _numbers(path: Path, lines: Sequence[str], count: int) -> list[float]:
    try:
        found = [float(word) for line in lines for word in line.split()]
    except ValueError as error:
        raise UserError(f"{path}: {error}; copy it again") from error
    if len(found) != count:
        raise UserError(f"{path}: {len(found)} numbers where {count} belong; copy it again")
    return found


def _by_readme(
    folders: Sequence[Path], emotions: tuple[str, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """The compound classes in the order of the delivery's own readme, where it has them."""
    files = [
        path
        for folder in folders
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if "readme" in path.name.lower() and path.suffix.lower() in ("", ".txt", ".md")
    ]
    wanted = "|".join(name.replace(" ", r"[\s_]+") for name in emotions)
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        pairs = re.findall(rf"(\d+)\s*[:.,)=-]*\s*({wanted})", text, re.IGNORECASE)
        told = {int(number): canonical(name) for number, name in pairs}
        if sorted(told) == list(range(1, len(emotions) + 1)) and set(told.values()) == {*emotions}:
            found = tuple(told[number] for number in sorted(told))
            agrees = "as public readers have it" if found == emotions else "unlike public readers"
            return found, [f"the order of the compound classes is that of {path.name}, {agrees}"]
    return emotions, [
        "no readme with the order of the compound classes was found; it is that of public readers"
    ]


_TEST = (329, 74, 160, 1185, 478, 162, 680)  # in the order of the labels

BUILDER = Builder(
    name="raf_db",
    title="RAF-DB",
    task="basic or compound emotions of faces off the web",
    labels="one of seven emotions, or of eleven compound ones; sex, race and age group",
    subjects=0,
    licence="non-commercial research",
    obtain="e-mail from an institution: whdeng.cn/RAF/model1.html",
    citation="Li, Deng & Du, Reliable Crowdsourcing and Deep Locality-Preserving Learning, CVPR "
    "2017",
    read=read,
    options=Options,
    layout="basic/EmoLabel/list_patition_label.txt, basic/Image/aligned/train_00001_aligned.jpg",
    frames=1,
    faces=("whole",),
    overlaps=("raf_au",),
    known=(
        Known(
            "Li et al. 2017, and counts of public readers",
            {
                "frames": 15339,
                "frames/test": 3068,
                **{
                    f"emotion {name}/test": count
                    for name, count in zip(EMOTIONS["basic"], _TEST, strict=True)
                },
            },
            when={"part": "basic"},
        ),
        Known(
            "public readers of the compound part",
            {"frames": 3954, "frames/test": 792},
            when={"part": "compound"},
        ),
    ),
)
