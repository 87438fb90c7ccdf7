"""CAER (Lee et al. 2019): scenes of television series, each with one of seven emotions.

Layout: `CAER/train/Anger/0001.avi`, with `validation` and `test` beside `train`; the folder is the
label (caer-dataset.github.io). Nobody says who is who, and no face boxes are given: the largest
face is followed, which need not be the one that the label is about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Film, Recording
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

EMOTIONS = facs.EMOTION_SETS["caer_s"]
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Options:
    """CAER has no options of its own."""


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    del options
    source = reading.require_folders(source, "train", "test", title="CAER")
    recordings = []
    for split, emotion, films in labelled_files(source, reading.FILMS, title="CAER"):
        for film in films:
            length = reading.film_length(film)
            path = reading.relative(source, film)
            recordings.append(
                Recording(
                    name=path,
                    subject="",
                    frames=Film(path, tuple(range(length))),
                    emotion_T=np.full(length, EMOTIONS.index(emotion)),
                    split=split,
                )
            )
    return Delivery(recordings, emotions=EMOTIONS, root=source)


def labelled_files(
    source: Path, suffixes: Sequence[str], *, title: str
) -> Iterator[tuple[str, str, list[Path]]]:
    """Yields (split, emotion, files) of folders like train/Happy, in order.

    Raises UserError where a folder is no emotion of the set, holds nothing, or is not there.
    """
    splits = [path for path in sorted(source.iterdir()) if path.name.lower() in SPLITS]
    missing = {"train", "test"} - {SPLITS[path.name.lower()] for path in splits}
    if missing:
        raise UserError(f"{source} lacks the folder {' and '.join(sorted(missing))} of {title}")
    for top in splits:
        folders = {canonical(path.name): path for path in sorted(top.iterdir()) if path.is_dir()}
        strange = sorted(set(folders) - set(EMOTIONS))
        if strange:
            raise UserError(
                f"{folders[strange[0]]} is none of the emotions of {title} ({', '.join(EMOTIONS)})"
            )
        for emotion in EMOTIONS:
            folder = folders.get(emotion)
            files = [] if folder is None else files_in(folder, suffixes)
            if not files:
                raise UserError(
                    f"{top} has nothing for {emotion}; {title} was copied in part, copy the rest"
                )
            yield SPLITS[top.name.lower()], emotion, files


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of a folder by number, then by name; names that begin with a dot are left out."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != ".")
    return sorted(found, key=lambda path: (reading.number_of(path), path.name))


BUILDER = Builder(
    name="caer",
    title="CAER",
    task="emotions in scenes of television series",
    labels="one of seven emotions for each film",
    subjects=0,
    licence="research only",
    obtain="free download: caer-dataset.github.io",
    citation="Lee et al., Context-Aware Emotion Recognition Networks, ICCV 2019",
    read=read,
    options=Options,
    layout="train/Anger/0001.avi, and validation and test alike",
    overlaps=("caer_s",),
)
