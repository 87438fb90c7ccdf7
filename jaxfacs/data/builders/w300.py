"""300-W (Sagonas et al. 2013): faces with 68 landmarks, of four older sets and a private test.

Each picture has a `.pts` file of its stem beside it: `version: 1`, `n_points: 68` (one blank or
two), `{`, 68 rows `x y`, `}`. Folders: `afw`, `helen/trainset`, `helen/testset`, `lfpw/trainset`,
`lfpw/testset`, `ibug`, and the private test `300W/01_Indoor`, `300W/02_Outdoor`. Coordinates are
taken as MATLAB's, the middle of the first pixel at (1, 1), which is how they are commonly read but
nowhere confirmed; half a pixel is taken off.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures
from jaxfacs.errors import UserError

POINTS = 68
FOLDERS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
    "private": ("300W/01_Indoor", "300W/02_Outdoor"),
}
# protocol -> part -> split; other parts are left out. Training pictures always train.
PROTOCOLS = {
    "full": {"common": "test", "challenging": "test"},
    "common": {"common": "test"},
    "challenging": {"challenging": "test"},
    "tuned": {"common": "validation", "challenging": "test"},
    "private": {"common": "train", "challenging": "train", "private": "test"},
}


@dataclass(frozen=True)
class Options:
    """What can be chosen for 300-W.

    Attributes:
      protocol: what is tested: the full set of 689 faces, its common or challenging part; tuned:
        common is for validation, challenging the test; private: the 600 faces of the contest, all
        others train.
    """

    protocol: Literal["full", "common", "challenging", "tuned", "private"] = "full"


def read(source: Path, options: Options) -> Delivery:
    """Every face of the protocol in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "afw", "helen", "lfpw", "ibug", "300W", title="300-W")
    split_of = {"train": "train", **PROTOCOLS[options.protocol]}
    recordings, inputs, left_out = [], [], []
    found: Counter[str] = Counter()
    mirrored = 0
    for part, split in split_of.items():
        for name in FOLDERS[part]:
            files, flipped = _files(source / name)
            mirrored += flipped
            pictures = _pictures(source / name)
            paths, points = [], []
            for file in files:
                try:
                    points.append(landmarks(file))
                except UserError as error:
                    reason = f"unreadable labels: {error}".replace(f"{source}/", "")
                    left_out.append(LeftOut(reading.relative(source, file), None, reason))
                    continue
                picture = pictures.pop(file.stem, file.with_suffix(".jpg"))
                paths.append(reading.relative(source, picture))
                inputs.append(file)
            left_out += [
                LeftOut(reading.relative(source, picture), None, "no label")
                for stem, picture in pictures.items()
                if not stem.endswith("_mirror") and not (source / name / f"{stem}.pts").is_file()
            ]
            found[name] = len(paths)
            if paths:
                recordings += reading.stills(
                    name, "", Pictures(tuple(paths)), split=split, landmarks_TK2=np.stack(points)
                )
    if not found.total():
        told = f" (the first: {left_out[0].reason})" if left_out else ""
        raise UserError(
            f"{source} has no readable .pts file of --protocol {options.protocol}{told}"
        )
    absent = [name for name, count in found.items() if not count]
    notes = ["landmarks are taken as MATLAB counts pixels, from 1: half a pixel is taken off"]
    notes += [f"nothing of {', '.join(absent)}"] if absent else []
    if mirrored:
        notes.append(f"{mirrored} mirrored copies (*_mirror.pts) are left out")
    return Delivery(recordings, inputs=inputs, left_out=left_out, notes=notes, root=source)


def landmarks(path: Path) -> np.ndarray:
    """float32 68×2 of a .pts file, the middle of the first pixel at (0.5, 0.5).

    Raises UserError where the file is no such list.
    """
    words = " ".join(reading.lines_of(path)).replace(":", " : ").replace("{", " { ").split()
    try:
        start, end = words.index("{") + 1, words.index("}")
        told = int(words[words.index("n_points") + 2])
        point_K2 = np.array(words[start:end], np.float64).reshape(-1, 2)
    except (ValueError, IndexError):
        raise UserError(f"{path} is no list of points (version, n_points, {{ x y … }})") from None
    if told != POINTS or len(point_K2) != POINTS or not np.isfinite(point_K2).all():
        raise UserError(f"{path} says {told} points and has {len(point_K2)}; {POINTS} are needed")
    return (point_K2 - 0.5).astype(np.float32)


def _files(folder: Path) -> tuple[list[Path], int]:
    """The .pts files of a folder, and how many mirrored copies some repackagings add."""
    every = sorted(folder.glob("*.pts"))
    kept = [path for path in every if not path.stem.endswith("_mirror")]
    return kept, len(every) - len(kept)


def _pictures(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in reading.PICTURES:
            continue
        if path.stem in found:
            raise UserError(
                f"{path} and {found[path.stem].name} share one .pts; remove one of them"
            )
        found[path.stem] = path
    return found


BUILDER = Builder(
    name="w300",
    title="300-W",
    task="68 landmarks in photographs",
    labels="68 landmarks (iBUG) a face",
    subjects=0,
    licence="research only, not commercial",
    obtain="download: ibug.doc.ic.ac.uk/resources/300-W",
    citation="Sagonas et al., 300 Faces in-the-Wild Challenge, ICCV Workshops 2013",
    read=read,
    options=Options,
    layout="afw/*.jpg and .pts, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset, ibug",
    frames=1,
    faces=("landmarks", "box:0.25"),
    size=224,
    known=(
        Known(
            "Sagonas et al. 2013: 3148 for training, 554 common, 135 challenging",
            {"frames": 3837, "frames/test": 689},
            {"protocol": "full"},
        ),
        Known(
            "Sagonas et al. 2013",
            {"frames/train": 3148, "frames/validation": 554, "frames/test": 135},
            {"protocol": "tuned"},
        ),
        Known("Sagonas et al. 2013", {"frames/test": 600}, {"protocol": "private"}),
    ),
)
