"""CAER-S (Lee et al. 2019): stills of the films of CAER, each with one of seven emotions.

Layout: `CAER-S/train/Anger/0001.png` and `test` beside `train`; the folder is the label
(ndkhanh360/CAER: Baseline/data_loader/data_loaders.py). The pictures are whole frames and no face
boxes come with them. Neighbours are often of one scene: a validation split is dealt out in batches
of neighbours, not picture by picture.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxfacs.data.builders import caer, reading
from jaxfacs.data.delivery import Builder, Delivery, Pictures, Recording


@dataclass(frozen=True)
class Options:
    """CAER-S has no options of its own."""


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    del options
    source = reading.require_folders(source, "train", "test", title="CAER-S")
    recordings: list[Recording] = []
    for split, emotion, files in caer.labelled_files(source, reading.PICTURES, title="CAER-S"):
        paths = tuple(reading.relative(source, path) for path in files)
        label_T = np.full(len(paths), caer.EMOTIONS.index(emotion))
        name = f"{split}/{emotion}"
        recordings += reading.stills(name, "", Pictures(paths), split=split, emotion_T=label_T)
    return Delivery(recordings, emotions=caer.EMOTIONS, root=source)


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
    layout="train/Anger/0001.png, and test alike",
    frames=1,
    size=96,  # Masur 2022, section 5.4; configs/caers_*.py
    overlaps=("caer",),
)
