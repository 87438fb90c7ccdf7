"""CAER-S (Lee et al. 2019): stills of the films of CAER, each with one of seven emotions.

Layout: `CAER-S/train/Anger/0001.png` and `test` beside `train`; the folder is the label
(ndkhanh360/CAER: Baseline/data_loader/data_loaders.py). The pictures are whole frames, often of
several people, and no face boxes come with them. Those of larrylu0426/CAERS-Annotation are read
where its `train.txt` and `test.txt` were put beside the folders: rows like
"test/Sad/0157.png,5,191,109,293,211", left, top, right and bottom of the face that the label is
about, found by a detector and mended by hand; pictures without such a face are left out.

Neighbours are often of one scene: a validation split is dealt out in batches of neighbours, not
picture by picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxfacs.data.builders import caer, reading
from jaxfacs.data.delivery import Builder, Delivery, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Options:
    """What can be chosen for CAER-S.

    Attributes:
      boxes: read the boxes of larrylu0426/CAERS-Annotation, if its train.txt and test.txt are
        there.
    """

    boxes: bool = True


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "train", "test", title="CAER-S")
    lists = [source / f"{split}.txt" for split in SPLITS]
    boxed = options.boxes and any(path.is_file() for path in lists)
    box_of = _boxes(lists) if boxed else {}
    recordings: list[Recording] = []
    left_out: list[LeftOut] = []
    for split, emotion, files in caer.labelled_files(source, reading.PICTURES, title="CAER-S"):
        paths = [reading.relative(source, path) for path in files]
        if boxed:
            left_out += [
                LeftOut(path, None, "no face of its own, as CAERS-Annotation has it")
                for path in paths
                if path not in box_of
            ]
            paths = [path for path in paths if path in box_of]
        recordings += reading.stills(
            f"{split}/{emotion}",
            "",
            Pictures(tuple(paths)),
            split=split,
            emotion_T=np.full(len(paths), caer.EMOTIONS.index(emotion)),
            box_T4=np.array([box_of[path] for path in paths], np.float32) if boxed else None,
        )
    return Delivery(
        recordings,
        emotions=caer.EMOTIONS,
        inputs=lists if boxed else (),
        left_out=left_out,
        root=source,
        faces=("boxes", "box:0.1") if boxed else (),
    )


def _boxes(lists: list[Path]) -> Mapping[str, tuple[float, float, float, float]]:
    """picture -> (x, y, w, h). UserError for a row that is no box, or a picture twice."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for path in lists:
        table = reading.table(path, header=False)
        corner_N4 = table.numbers(range(2, 6)).tolist()
        for (line, cells), (left, top, right, bottom) in zip(table.rows, corner_N4, strict=True):
            picture = reading.inside(cells[0], file=path, line=line)
            if right <= left or bottom <= top:
                raise UserError(f"{path}, line {line}: the box has no width or height")
            if picture in found:
                raise UserError(f"{path}, line {line}: {picture} comes twice")
            found[picture] = left, top, right - left, bottom - top
    return found


BUILDER = Builder(
    name="caer_s",
    title="CAER-S",
    task="emotions in stills of television series",
    labels="one of seven emotions for each picture",
    subjects=0,
    licence="research only",
    obtain="free download: caer-dataset.github.io",
    citation="Lee et al., Context-Aware Emotion Recognition Networks, ICCV 2019",
    read=read,
    options=Options,
    layout="train/Anger/0001.png, and test alike; train.txt and test.txt of CAERS-Annotation",
    frames=1,
    size=96,  # Masur 2022, section 5.4; configs/caers_*.py
    overlaps=("caer",),
)
