"""JAFFE (Lyons et al. 1998): ten Japanese women posing seven expressions, 213 pictures.

Layout: files like `KA.AN1.39.tiff` in one folder: model, expression and its repeat, serial number
(Zenodo 3451524). Copies in circulation have stray blanks, doubled dots and misnamed files: blanks
and dots are forgiven, what does not say who and what is listed. The README has a table of mean
ratings by 60 people on scales of 1 to 5, "N HAP SAD SUR ANG DIS FEA PIC" with rows like
"1 2.87 2.52 2.10 1.97 1.97 2.06 KM-NE1"; where such a table is found, it becomes attributes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError

MODELS = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
CODES = ("NE", "HA", "SA", "SU", "AN", "DI", "FE")  # in the order of the emotions
EMOTIONS = facs.EMOTION_SETS["jaffe"]
RATED = {"HAP": "happiness", "SAD": "sadness", "SUR": "surprise", "ANG": "anger", "DIS": "disgust",
         "FEA": "fear"}  # fmt: skip
_NAME = re.compile(rf"({'|'.join(MODELS)})\.+({'|'.join(CODES)})(\d)\.+(\d+)\.*", re.IGNORECASE)
_RATING = re.compile(r"(\d+)((?:[\s,]+\d\.\d+){6})[\s,]+([A-Z]{2})[-.]([A-Z]{2})(\d)")


@dataclass(frozen=True)
class Options:
    """What can be chosen for JAFFE.

    Attributes:
      protocol: subjects: dealt out by model; loso: one model is the test; ten-fold: a tenth of the
        pictures of each expression is the test, the same models in both parts. The papers' folds
        are not published; here every tenth picture in order is one.
      fold: 1 to 10: which model in alphabetical order, or which tenth.
    """

    protocol: Literal["subjects", "loso", "ten-fold"] = "subjects"
    fold: int = 1


class Named(NamedTuple):
    """A picture and what its name says."""

    path: str
    model: str
    emotion: int
    repeat: int
    serial: int


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    if not 1 <= options.fold <= len(MODELS):
        raise UserError(f"--fold {options.fold} is not between 1 and {len(MODELS)}")
    source = reading.require_folders(source, "*.tiff", "*.tif", "*.TIF", "*.TIFF", title="JAFFE")
    left_out: list[LeftOut] = []
    pictures = _pictures(source, left_out)
    ratings, readme = _ratings(source)
    recordings: list[Recording] = []
    for (split, subject), ones in _parts(pictures, options).items():
        unknown = (np.nan,) * len(RATED)
        rated_TK = [ratings.get((p.model, p.emotion, p.repeat), unknown) for p in ones]
        recordings += reading.stills(
            "/".join(filter(None, (split, subject))),
            subject,
            Pictures(tuple(p.path for p in ones)),
            split=split,
            emotion_T=np.array([p.emotion for p in ones]),
            attributes_TK=np.array(rated_TK, np.float32) if ratings else None,
        )
    return Delivery(
        recordings,
        emotions=EMOTIONS,
        attributes=tuple(f"rating_{name}" for name in RATED.values()) if ratings else (),
        inputs=(readme,) if readme else (),
        left_out=left_out,
        notes=(f"mean ratings of {len(ratings)} pictures found in {readme.name}",)
        if readme
        else (),
        root=source,
    )


def _pictures(source: Path, left_out: list[LeftOut]) -> list[Named]:
    """Pictures whose names can be believed, in order; the others go to `left_out`."""
    found: dict[int, list[Named]] = {}
    for path in sorted(source.iterdir()):
        if path.suffix.strip().lower() not in (".tif", ".tiff") or path.name.startswith("."):
            continue
        where = reading.relative(source, path)
        match = _NAME.fullmatch(re.sub(r"\s", "", path.stem))
        if match is None:
            left_out.append(LeftOut(where, None, "name does not say who and what"))
            continue
        model, code = match[1].upper(), match[2].upper()
        picture = Named(where, model, CODES.index(code), int(match[3]), int(match[4]))
        found.setdefault(picture.serial, []).append(picture)
    kept = []
    for ones in found.values():  # a serial number is given once
        if len({one[1:] for one in ones}) > 1:
            left_out += [LeftOut(one.path, None, "label clash") for one in ones]
        else:
            kept.append(ones[0])
            left_out += [LeftOut(one.path, None, "copy of another file") for one in ones[1:]]
    if not kept:
        raise UserError(f"{source}: no picture has a name like KA.AN1.39.tiff; is it JAFFE?")
    return sorted(kept, key=lambda one: (one.model, one.emotion, one.repeat, one.serial))


def _parts(pictures: list[Named], options: Options) -> dict[tuple[str | None, str], list[Named]]:
    """(split, subject) -> pictures."""
    parts: dict[tuple[str | None, str], list[Named]] = {}
    of_emotion: dict[int, int] = {}
    for picture in pictures:
        if options.protocol == "ten-fold":
            place = of_emotion[picture.emotion] = of_emotion.get(picture.emotion, -1) + 1
            split = "test" if place % 10 == options.fold - 1 else "train"
            key: tuple[str | None, str] = (split, "")  # models are in both parts
        elif options.protocol == "loso":
            tested = picture.model == MODELS[options.fold - 1]
            key = ("test" if tested else "train", picture.model)
        else:
            key = (None, picture.model)
        parts.setdefault(key, []).append(picture)
    return parts


def _ratings(
    source: Path,
) -> tuple[Mapping[tuple[str, int, int], tuple[float, ...]], Path | None]:
    """(model, emotion, repeat) -> mean ratings, and the file that holds them, if any does."""
    for path in sorted(source.iterdir()):
        if path.suffix.lower() not in (".txt", ".csv", ""):
            continue
        if not path.is_file() or path.stat().st_size > 1 << 20 or path.name.startswith("."):
            continue
        lines = path.read_text(encoding="latin-1").splitlines()  # an old file, accents and all
        if not any(re.search(r"[\s,]+".join(RATED), line) for line in lines):
            continue
        rows = [match for line in lines if (match := _RATING.fullmatch(line.strip()))]
        ratings = {
            (row[3], CODES.index(row[4]), int(row[5])): tuple(map(float, re.findall(r"\S+",
             row[2].replace(",", " "))))
            for row in rows
            if row[3] in MODELS and row[4] in CODES
        }  # fmt: skip
        if ratings:
            return ratings, path
    return {}, None


BUILDER = Builder(
    name="jaffe",
    title="JAFFE",
    task="posed expressions",
    labels="one of seven expressions; mean ratings of six emotions where the README is there",
    subjects=10,
    licence="non-commercial research; no redistribution",
    obtain="request: zenodo.org/record/3451524",
    citation="Lyons et al., Coding Facial Expressions with Gabor Wavelets, FG 1998",
    read=read,
    options=Options,
    layout="KA.AN1.39.tiff and so on, and the README with the ratings",
    frames=1,
    known=(Known("Zenodo 3451524", {"frames": 213, "subjects": 10}),),
)
