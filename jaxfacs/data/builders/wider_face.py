"""WIDER FACE (Yang et al. 2016): boxes around all faces of 32,203 photographs.

`wider_face_split/wider_face_train_bbx_gt.txt` (and `…_val_…`) has for each picture its path below
`WIDER_train/images`, the number of faces, and a row a face: x, y, width, height, blur (0 clear to 2
heavy), expression (1 exaggerated), illumination (1 extreme), invalid, occlusion (0 none, 1 partial,
2 heavy), pose (1 atypical): the order of the owners' readme and of TensorFlow Datasets
(object_detection/wider_face.py); torchvision names the last three otherwise. A picture without
faces is followed by one row of zeros. The test pictures' boxes are not published.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Pictures
from jaxfacs.errors import UserError

ROW = (
    "x", "y", "width", "height", "blur", "expression", "illumination", "invalid", "occlusion",
    "pose",
)  # fmt: skip
INVALID = ROW.index("invalid")
ATTRIBUTES = tuple(name for name in ROW[4:] if name != "invalid")
MOST_FACES = 10_000  # of one picture; the largest has 1968
LARGEST = 1_000_000  # number in a list; larger ones are no pixels


@dataclass(frozen=True)
class Options:
    """What can be chosen for WIDER FACE.

    Attributes:
      min_size: faces narrower or lower than this many pixels are left out.
      measured: what the owners' validation pictures are for: their boxes are the only ones left to
        measure with.
    """

    min_size: int = 1
    measured: Literal["validation", "test"] = "validation"


def read(source: Path, options: Options) -> Delivery:
    """Every face in `source`; see the module for what is expected."""
    if options.min_size < 1:
        raise UserError("--min-size must be at least 1: boxes without a width show nothing")
    source = reading.require_folders(source, "wider_face_split", "WIDER_*", title="WIDER FACE")
    recordings, inputs, notes = [], [], []
    for part, split in (("train", "train"), ("val", options.measured)):
        file = source / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt"
        if not file.is_file():
            notes.append(f"no {file.name}: nothing of that part is built")
            continue
        inputs.append(file)
        paths, row_NF, line_N = _faces(file, f"WIDER_{part}/images")
        small_N = row_NF[:, 2:4].min(1) < options.min_size
        bad_N = row_NF[:, INVALID] == 1
        notes += [
            f"{part}: {count} faces left out, {why}"
            for count, why in (
                (int(bad_N.sum()), "marked invalid"),
                (int((small_N & ~bad_N).sum()), f"smaller than {options.min_size} pixels"),
            )
            if count
        ]
        kept_N = ~(small_N | bad_N)
        row_NF = row_NF[kept_N]
        recordings += reading.stills(
            part,
            "",
            Pictures(tuple(path for path, kept in zip(paths, kept_N, strict=True) if kept)),
            file.name,
            split=split,
            line_T=line_N[kept_N],
            box_T4=row_NF[:, :4].astype(np.float32),
            attributes_TK=row_NF[:, [ROW.index(name) for name in ATTRIBUTES]].astype(np.float32),
        )
    if not inputs:
        raise UserError(f"{source / 'wider_face_split'} has no wider_face_train_bbx_gt.txt")
    return Delivery(recordings, attributes=ATTRIBUTES, inputs=inputs, notes=notes, root=source)


def _faces(file: Path, folder: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The picture of each face, its ten numbers, N×10, and its line in a list file."""
    lines = reading.lines_of(file)
    paths: list[str] = []
    rows: list[list[int]] = []
    found_in: list[int] = []
    seen: dict[str, int] = {}
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        path = f"{folder}/{reading.inside(lines[at], file=file, line=at + 1)}"
        if path in seen:
            raise UserError(f"{file}, line {at + 1}: {path} stands in line {seen[path]} already")
        seen[path] = at + 1
        count = _numbers(file, lines, at + 1, columns=1)[0]
        if count > MOST_FACES:
            raise UserError(f"{file}, line {at + 2}: {count} faces of one picture; copy it again")
        at += 2
        if count == 0 and at < len(lines) and set(lines[at].split()) == {"0"}:
            at += 1
        for _ in range(count):
            rows.append(_numbers(file, lines, at, columns=len(ROW)))
            paths.append(path)
            at += 1
            found_in.append(at)
    return paths, np.array(rows, np.int64).reshape(-1, len(ROW)), np.array(found_in, np.int64)


def _numbers(file: Path, lines: list[str], at: int, *, columns: int) -> list[int]:
    words = lines[at].split() if at < len(lines) else []
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != columns or max(map(abs, numbers)) > LARGEST or numbers[-1] < 0:
        found = repr(lines[at].strip()[:60]) if at < len(lines) else "the end of the file"
        what = "the number of faces" if columns == 1 else f"{columns} numbers of a face"
        raise UserError(f"{file}, line {at + 1}: expected {what}, found {found}; copy it again")
    return numbers


BUILDER = Builder(
    name="wider_face",
    title="WIDER FACE",
    task="where faces are, in photographs of crowds",
    labels="a box a face; blur, expression, illumination, occlusion, pose",
    subjects=0,
    licence="research only, not commercial",
    obtain="download: shuoyang1213.me/WIDERFACE",
    citation="Yang et al., WIDER FACE: A Face Detection Benchmark, CVPR 2016",
    read=read,
    options=Options,
    layout="wider_face_split/wider_face_train_bbx_gt.txt and WIDER_train/images/0--Parade/*.jpg",
    frames=1,
    faces=("boxes", "box:0.1"),
)
