"""The table of results: OpenFace's columns and decimals, so that its users' scripts go on working.

    frame,face_id,timestamp,confidence,success,AU01_r,…,AU01_c,…,AU01_p,…,valence,arousal,EMOTION,…

`_r` is the intensity 0-5, `_c` presence 0/1, `_p` the probability (which OpenFace does not give);
valence and arousal lie in [-1, 1]. Columns are there for what the network answers.
One row per face and frame; a frame without a face is a row with `success` 0, `face_id` -1 and empty
cells, since nothing is known there. Frames count from 1, timestamps are seconds.
"""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxfacs import facs
from jaxfacs.infer.answer import INTENSITY_DECIMALS, PROBABILITY_DECIMALS
from jaxfacs.infer.answers import AFFECT_DECIMALS, EMOTION_DECIMALS
from jaxfacs.infer.files import replacing
from jaxfacs.infer.results import FaceResult, FrameResult

AFFECT = ("valence", "arousal")
LEADING = ("frame", "face_id", "timestamp", "confidence", "success")


def columns(
    aus: tuple[str, ...], emotions: tuple[str, ...], *, valence_arousal: bool = False
) -> list[str]:
    """The header for networks with these labels."""
    return [
        *LEADING,
        *(facs.column(label, kind) for kind in "rcp" for label in aus),
        *(AFFECT if valence_arousal else ()),
        *emotions,
    ]


def rows(result: FrameResult, width: int) -> list[list[str]]:
    """The rows of one frame as text; `width` is the number of columns."""
    if not result.faces:
        leading = [str(result.frame), "-1", f"{result.timestamp:.3f}", "0.00", "0"]
        return [leading + [""] * (width - len(leading))]
    return [_row(result, face) for face in result.faces]


def _row(result: FrameResult, face: FaceResult) -> list[str]:
    affect = () if face.valence_arousal_2 is None else face.valence_arousal_2
    return [
        str(result.frame),
        str(face.face_id),
        f"{result.timestamp:.3f}",
        f"{face.confidence:.2f}",
        "1",
        *(f"{v:.{INTENSITY_DECIMALS}f}" for v in face.intensity_A),
        *(f"{v:.1f}" for v in face.present_A),
        *(f"{v:.{PROBABILITY_DECIMALS}f}" for v in face.probability_A),
        *(f"{v:.{AFFECT_DECIMALS}f}" for v in affect),
        *(f"{v:.{EMOTION_DECIMALS}f}" for v in face.emotion_E),
    ]


@contextmanager
def writing(
    path: Path,
    *,
    aus: tuple[str, ...],
    emotions: tuple[str, ...],
    valence_arousal: bool = False,
    names: tuple[str, ...] = (),
) -> Iterator[Callable[[FrameResult], None]]:
    """Gives a function that adds a frame's rows; on leaving, `path` is there, whole.

    Args:
      path: the .csv file.
      aus, emotions, valence_arousal: of the predictor.
      names: file names of the frames, for a folder of pictures: a last column `input`.
    """
    header = columns(aus, emotions, valence_arousal=valence_arousal)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*header, "input"] if names else header)

        def add(result: FrameResult) -> None:
            name = [names[result.frame - 1]] if names else []
            writer.writerows([*row, *name] for row in rows(result, len(header)))

        yield add
