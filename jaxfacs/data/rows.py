"""From a record to one row of a batch: decoded, cut in time, changed, labels projected."""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.data import schema, transforms
from jaxfacs.data.config import NO_AUGMENT, DataConfig
from jaxfacs.data.projection import Projection
from jaxfacs.data.records import ShardSource
from jaxfacs.errors import UserError

Row = dict[str, np.ndarray | np.generic]


@dataclass(frozen=True, eq=False)
class Load:
    """From a record's number to one row of a batch. Picklable: worker processes get a copy."""

    source: ShardSource
    num_aus: int
    subject_N: np.ndarray
    straight: Projection
    flipped: Projection
    config: DataConfig

    def random(self, record: int, rng: np.random.Generator) -> Row:
        clip = self._clip(record)
        drawn = transforms.draw(self.config.augment, rng)
        start, places_T = _random_places(len(clip.frames), self.config, rng)
        return self._row(record, clip, start, places_T, drawn, rng)

    def window(self, window: tuple[int, int]) -> Row:
        record, start = window
        if record < 0:  # padding
            blank = {
                **dict.fromkeys(("occurrence", "intensity", "emotion"), -1),
                **dict.fromkeys(("landmarks", "valence_arousal"), np.nan),
            }
            shown = self.window((0, 0))
            return {key: np.full_like(value, blank.get(key, 0)) for key, value in shown.items()}
        clip = self._clip(record)
        places_T = start + self.config.stride * np.arange(self.config.frames)
        rng = np.random.default_rng(0)  # nothing is random without augmentation
        return self._row(record, clip, start, places_T, transforms.draw(NO_AUGMENT, rng), rng)

    def _clip(self, record: int) -> schema.Clip:
        raw = self.source[record]
        try:
            return schema.decode(raw, num_aus=self.num_aus)
        except ValueError as error:
            raise UserError(f"{self.source.place(record)}, is damaged: {error}") from error

    def _row(
        self,
        record: int,
        clip: schema.Clip,
        start: int,
        places_T: np.ndarray,
        drawn: transforms.Draw,
        rng: np.random.Generator,
    ) -> Row:
        inside_T = places_T < len(clip.frames)
        places_T = np.minimum(places_T, len(clip.frames) - 1)
        frames = self._decode(record, clip, places_T)
        projection = self.flipped if drawn.flip else self.straight
        occurrence_TA = projection.occurrence(clip.occurrence_TA[places_T])
        intensity_TA = projection.intensity(clip.intensity_TA[places_T])
        occurrence_TA[~inside_T] = -1
        intensity_TA[~inside_T] = -1
        landmarks_T682 = _taken(clip.landmarks_T68x2, places_T, inside_T, (68, 2))
        if clip.landmarks_T68x2 is not None:
            side = frames[0].shape[0]
            landmarks_T682 = transforms.move(
                landmarks_T682, drawn, source=side, size=self.config.size
            )
        return {
            "frames": transforms.apply(frames, drawn, size=self.config.size, rng=rng),
            "occurrence": occurrence_TA,
            "intensity": intensity_TA,
            "landmarks": landmarks_T682,
            "valence_arousal": _taken(clip.valence_arousal_T2, places_T, inside_T, (2,)),
            "emotion": np.int32(clip.emotion),
            "weight": np.float32(1),
            "index": np.int64(record),
            "subject": self.subject_N[record],
            "start": np.int32(start),
        }

    def _decode(self, record: int, clip: schema.Clip, places_T: np.ndarray) -> list[np.ndarray]:
        decoded: dict[int, np.ndarray] = {}
        for place in places_T.tolist():
            if place not in decoded:
                jpeg = np.frombuffer(clip.frames[place], np.uint8)
                frame = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
                if frame is None:
                    raise UserError(
                        f"{self.source.place(record)} ({clip.clip_id}), frame {place}: "
                        "the JPEG does not decode; build the set again"
                    )
                decoded[place] = frame
        return [decoded[place] for place in places_T.tolist()]


def _taken(
    label_T: np.ndarray | None, places_T: np.ndarray, inside_T: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """float32 labels of the frames at `places_T`; NaN beyond the record's end and where unknown."""
    if label_T is None:
        return np.full((len(places_T), *shape), np.nan, np.float32)
    taken_T = label_T[places_T]
    taken_T[~inside_T] = np.nan
    return taken_T


def _random_places(
    length: int, config: DataConfig, rng: np.random.Generator
) -> tuple[int, np.ndarray]:
    """Where a training clip starts, and the T places of its frames in the record.

    A record shorter than the clip starts at 0; places beyond its end are padding.
    """
    start = int(rng.integers(0, max(length - config.span, 0) + 1))
    places_T = start + config.stride * np.arange(config.frames)
    if config.temporal_jitter:
        reach = config.temporal_jitter
        moved_T = np.sort(places_T + rng.integers(-reach, reach + 1, config.frames))
        moved_T = np.clip(moved_T, 0, length - 1)
        places_T = np.where(places_T < length, moved_T, places_T)
    return start, places_T
