"""EMOTIC (Kosti et al. 2019): people in their surroundings, 26 feelings, valence and arousal.

`Annotations/Annotations.mat` (of 2017: `CVPR17_Annotations.mat`) holds `train`, `val` and `test`, a
record a picture: filename, folder, image_size {n_col, n_row}, person: body_bbox [x1 y1 x2 y2],
annotations_categories {categories}, annotations_continuous {valence, arousal, dominance} from 1 to
10, gender, age. In `val` and `test` these are lists of several annotators, and combined_categories
and combined_continuous sum them up. Pictures: `mscoco/images/*.jpg` and so on, below `emotic` or
not (Tandon-A/emotic: mat2py.py). Boxes are of bodies, and some leave their picture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError

CATEGORIES = (
    "Affection", "Anger", "Annoyance", "Anticipation", "Aversion", "Confidence", "Disapproval",
    "Disconnection", "Disquietment", "Doubt/Confusion", "Embarrassment", "Engagement", "Esteem",
    "Excitement", "Fatigue", "Fear", "Happiness", "Pain", "Peace", "Pleasure", "Sadness",
    "Sensitivity", "Suffering", "Surprise", "Sympathy", "Yearning",
)  # fmt: skip
ATTRIBUTES = (
    *(name.lower().replace("/", "_") for name in CATEGORIES), "dominance", "age", "gender",
)  # fmt: skip
AGES = {"kid": 0.0, "teenager": 1.0, "adult": 2.0}
GENDERS = {"male": 0.0, "female": 1.0}
SPLITS = {"train": "train", "val": "validation", "test": "test"}
IMAGES = ("emotic", "cvpr_emotic")  # pictures lie in one of these, or at the top


@dataclass(frozen=True)
class Options:
    """What can be chosen for EMOTIC.

    Attributes:
      box: body: the given boxes, which are of whole people; none: no box, for a face detector
        (--faces haar). Pictures of several people are then left out: nobody says whose face it is.
    """

    box: Literal["body", "none"] = "body"


def read(source: Path, options: Options) -> Delivery:
    """Every person in `source`; see the module for what is expected."""
    source = reading.require_folders(
        source, "*nnotations*", "CVPR17_Annotations.mat", *IMAGES, title="EMOTIC"
    )
    file = _file(source)
    records = _records(file)
    there = [source / name for name in IMAGES if (source / name).is_dir()]
    top = there[0] if there else source
    recordings: list[Recording] = []
    left_out: list[LeftOut] = []
    notes: list[str] = []
    clipped = 0
    for part, split in SPLITS.items():
        paths, boxes, affects, values, places = [], [], [], [], []
        for number, record in enumerate(records.get(part, ()), start=1):
            where = f"{file}, {part}, record {number}"
            name = f"{_text(record, 'folder', where)}/{_text(record, 'filename', where)}"
            path = reading.relative(source, top / reading.inside(name, file=file, line=number))
            people = _list(_field(record, "person", where))
            if options.box == "none" and len(people) > 1:
                left_out.append(LeftOut(path, None, "several people", file.name, number))
                continue
            for person in people:
                box_4, outside = _box(record, person, where)
                clipped += outside
                if box_4 is None:
                    left_out.append(LeftOut(path, None, "no box in the picture", file.name, number))
                    continue
                affect_2, value_K = _labels(person, where)
                paths.append(path)
                boxes.append(box_4)
                affects.append(affect_2)
                values.append(value_K)
                places.append(number)
        if not paths:
            notes.append(f"{file.name} has no people in {part}")
            continue
        recordings += reading.stills(
            part,
            "",
            Pictures(tuple(paths)),
            file.name,
            split=split,
            line_T=np.array(places),
            valence_arousal_T2=np.stack(affects),
            attributes_TK=np.stack(values),
            box_T4=np.stack(boxes) if options.box == "body" else None,
        )
    if clipped:
        notes.append(f"{clipped} boxes left their picture and are cut off at its edge")
    return Delivery(
        recordings,
        attributes=ATTRIBUTES,
        inputs=(file,),
        left_out=left_out,
        notes=notes,
        root=source,
        faces=("haar",) if options.box == "none" else (),
    )


def _file(source: Path) -> Path:
    files = reading.files_below(source, enter=lambda folder: folder.name != "images")
    found = [path for path in files if path.name in ("Annotations.mat", "CVPR17_Annotations.mat")]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} are both annotations; remove one of them")
    if not found:
        raise UserError(f"{source} has no Annotations.mat; unpack the annotations there")
    return found[0]


def _records(file: Path) -> dict[str, list[Any]]:
    """part -> its records, as objects with a field each."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(
            f"{file.name} is a MATLAB file; pip install 'jaxfacs[datasets]' to read it"
        ) from error
    try:
        found = loadmat(file, struct_as_record=False, squeeze_me=True, variable_names=list(SPLITS))
    except Exception as error:  # scipy lets many kinds through, and no v7.3 file
        raise UserError(f"{file} is no readable MATLAB file ({error}); copy it again") from error
    parts = {part: _list(found[part]) for part in SPLITS if part in found}
    if not parts:
        raise UserError(f"{file} holds none of {', '.join(SPLITS)}; is it EMOTIC's?")
    return parts


def _list(value: Any) -> list[Any]:
    """MATLAB's arrays of one, of several and of none, alike."""
    return list(np.atleast_1d(np.asarray(value, object)).ravel())


def _field(record: Any, name: str, where: str) -> Any:
    if not hasattr(record, name):
        told = ", ".join(getattr(record, "_fieldnames", ())) or type(record).__name__
        raise UserError(f"{where}: no field {name}, it has {told}")
    return getattr(record, name)


def _text(record: Any, name: str, where: str) -> str:
    return str(_field(record, name, where)).strip()


def _box(record: Any, person: Any, where: str) -> tuple[np.ndarray | None, bool]:
    """float32 (x, y, w, h) within the picture, None if nothing is left; whether it was cut off."""
    try:
        corner_4 = np.asarray(_field(person, "body_bbox", where), np.float64).reshape(4)
        size = _field(record, "image_size", where)
        width, height = float(size.n_col), float(size.n_row)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{where}: body_bbox or image_size is damaged ({error})") from None
    inside_4 = np.clip(corner_4, 0, (width, height, width, height))
    side_2 = inside_4[2:] - inside_4[:2]
    if not np.isfinite(inside_4).all() or side_2.min() < 1:
        return None, False
    return np.array([*inside_4[:2], *side_2], np.float32), bool((inside_4 != corner_4).any())


def _labels(person: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 valence and arousal in [−1, 1], and the attributes; NaN unknown.

    1 to 10 becomes (v − 5.5) / 4.5; dominance likewise.
    """
    if hasattr(person, "combined_categories"):
        named, scales = person.combined_categories, getattr(person, "combined_continuous", None)
    else:
        told = _list(_field(person, "annotations_categories", where))
        named = told[0].categories if told and hasattr(told[0], "categories") else ()
        scales = getattr(person, "annotations_continuous", None)
    scale = next(iter(_list(scales)), None)
    valence, arousal, dominance = (
        _rescaled(getattr(scale, name, np.nan)) for name in ("valence", "arousal", "dominance")
    )
    words = [str(word).strip() for word in _list(named)]
    wrong = set(words) - set(CATEGORIES)
    if wrong:
        raise UserError(f"{where}: {wrong.pop()!r} is none of the 26 categories")
    category_C = [float(name in words) if words else np.nan for name in CATEGORIES]
    age = AGES.get(str(getattr(person, "age", "")).strip().lower(), np.nan)
    gender = GENDERS.get(str(getattr(person, "gender", "")).strip().lower(), np.nan)
    affect_2 = np.array([valence, arousal], np.float32)
    return affect_2, np.array([*category_C, dominance, age, gender], np.float32)


def _rescaled(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return np.nan
    return (number - 5.5) / 4.5 if 1 <= number <= 10 else np.nan


BUILDER = Builder(
    name="emotic",
    title="EMOTIC",
    task="what people in photographs feel, with their surroundings",
    labels="26 feelings, valence, arousal, dominance, age, gender a person; a box of the body",
    subjects=0,
    licence="signed form; research only",
    obtain="request: s3.sunai.uoc.edu/emotic",
    citation="Kosti et al., Context Based Emotion Recognition using EMOTIC, TPAMI 42 (2020)",
    read=read,
    options=Options,
    layout="Annotations/Annotations.mat and emotic/mscoco/images/*.jpg",
    frames=1,
    faces=("boxes", "box:0"),
    size=224,
)
