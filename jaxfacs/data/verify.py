"""Reads a record set whole and says what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.data import records, schema
from jaxfacs.errors import UserError
from jaxfacs.progress import track


def verify(folder: Path) -> Iterator[str]:
    """Compares every digest, decodes every record and picture, and compares labels with the index.

    Yields a line for each split that is as it was written.

    Raises:
      UserError: naming the shard and the record of the first thing that is not.
    """
    opened = records.open_set(folder, verify=True)
    for split, clips in opened.splits.items():
        index = opened.index(split)
        source = opened.source(split)
        first = 0
        for record in track(range(clips), label=f"verifying {split}", unit="clip"):
            place = source.place(record)
            try:
                clip = opened.clip_of(source[record])
                schema.check(
                    clip,
                    num_aus=len(opened.aus),
                    num_emotions=len(opened.emotions),
                    num_attributes=len(opened.attributes),
                    phases=opened.card.get("phases", False),
                    flow=opened.card.get("flow", False),
                    visible=opened.card.get("visible", False),
                )
            except ValueError as error:
                raise UserError(f"{place}, is damaged: {error}; build the set again") from error
            _check_pictures(clip, opened.size, place)
            length = len(clip.frames)
            same = np.array_equal(clip.occurrence_TA, index["occurrence_FA"][first:][:length])
            if not same or index["length_N"][record] != length:
                raise UserError(
                    f"{place}: the index of {split} says otherwise; build the set again"
                )
            first += length
        yield f"{split}: {clips} clips, {first} frames, all whole"
    yield f"digest {opened.digest}"


def _check_pictures(clip: schema.Clip, size: int, place: str) -> None:
    for t, jpeg in enumerate(clip.frames):
        frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        if frame is None or frame.shape != (size, size, 3):
            raise UserError(f"{place} ({clip.clip_id}), frame {t} does not decode; copy it again")
    for picture in clip.flow or ():
        field = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
        if field is None or field.shape != (size, 2 * size):
            raise UserError(f"{place} ({clip.clip_id}): its flow does not decode; copy it again")
