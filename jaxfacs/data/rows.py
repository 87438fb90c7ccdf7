"""From a record to one row of a batch: decoded, cut in time, changed, labels projected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from jaxfacs.data import flow, schema, transforms
from jaxfacs.data.config import DataConfig
from jaxfacs.data.projection import Projection
from jaxfacs.data.records import DamagedError, ShardSource
from jaxfacs.errors import UserError

Row = dict[str, np.ndarray | np.generic]

# What a row says that counts for nothing.
UNKNOWN = {
    **dict.fromkeys(("occurrence", "intensity", "emotion", "visible"), -1),
    **dict.fromkeys(("landmarks", "valence_arousal"), np.nan),
    "weight": 0,
}
MESSAGE_BYTES = 1000  # of `damage`: the rows of a batch have one type


@dataclass(frozen=True, eq=False)
class Load:
    """From a record's number to one row of a batch. Picklable: worker processes get a copy.

    A row whose record is damaged says so in `damage`, "PLACE\\nWHAT" in bytes, and counts for
    nothing: `UNKNOWN`. Its pixels are those of the next whole record, because BatchNorm sees them
    whatever their weight, and grey ones would move its statistics. So it is as pure a function of
    the seed, the step and the damage as any other row. Where `max_damaged` records and one more lie
    side by side the first DamagedError is raised: the run would not go on with so many.
    """

    source: ShardSource
    num_aus: int
    subject_N: np.ndarray
    straight: Projection
    flipped: Projection
    config: DataConfig

    def random(self, record: int, rng: np.random.Generator) -> Row:
        mixup = self.config.augment.mixup
        if not mixup:
            return self._random(record, rng)
        far = transforms.apart(rng, 2)
        share, partner = far.beta(mixup, mixup), far.integers(len(self.source))
        return blended(self._random(record, rng), self._random(int(partner), far), share)

    def _random(self, record: int, rng: np.random.Generator) -> Row:
        def drawn(record: int) -> Row:
            clip = self._clip(record)
            drawn = transforms.draw(self.config.augment, rng)
            start, places_T = random_places(len(clip.frames), self.config, rng)
            return self._row(record, clip, start, places_T, drawn, rng)

        return self._or_next(record, drawn)

    def window(self, window: tuple[int, int]) -> Row:
        record, start = window
        if record < 0:  # padding
            shown = self.window((0, 0))
            nothing = {key: np.zeros_like(value) for key, value in shown.items()}
            return nothing | _unknown(shown)
        places_T = start + self.config.stride * np.arange(self.config.frames)
        still = transforms.unchanged(self.config.augment)
        rng = np.random.default_rng(0)  # nothing is random without augmentation
        return self._or_next(
            record, lambda r: self._row(r, self._clip(r), start, places_T, still, rng)
        )

    def _or_next(self, record: int, row_of: Callable[[int], Row]) -> Row:
        """The row of a record, or where that is damaged one with the pixels of the next whole."""
        first: DamagedError | None = None
        for offset in range(self.config.max_damaged + 1):
            try:
                row = row_of((record + offset) % len(self.source))
            except DamagedError as error:
                first = first or error
                continue
            if first is None:
                return row
            own = {"index": np.int64(record), "subject": self.subject_N[record]}
            return {**row, **_unknown(row), **own, "damage": _message("\n".join(first.args))}
        assert first is not None
        raise first

    def _clip(self, record: int) -> schema.Clip:
        raw = self.source[record]
        try:
            return schema.decode(raw, num_aus=self.num_aus)
        except ValueError as error:
            raise self._damaged(record, f", is damaged: {error}") from error

    def _damaged(self, record: int, what: str) -> DamagedError:
        return DamagedError(self.source.place(record), what)

    def _row(
        self,
        record: int,
        clip: schema.Clip,
        start: int,
        places_T: np.ndarray,
        drawn: transforms.Draw,
        rng: np.random.Generator,
    ) -> Row:
        known_T = places_T < len(clip.frames)
        places_T = np.minimum(places_T, len(clip.frames) - 1)
        if self.config.require_face:
            known_T &= clip.found_T[places_T]
        frames = self._decode(record, clip, places_T)
        projection = self.flipped if drawn.flip else self.straight
        occurrence_TA = projection.occurrence(clip.occurrence_TA[places_T])
        intensity_TA = projection.intensity(clip.intensity_TA[places_T])
        occurrence_TA[~known_T] = -1
        intensity_TA[~known_T] = -1
        landmarks_T682 = _taken(clip.landmarks_T68x2, places_T, known_T, (68, 2))
        if clip.landmarks_T68x2 is not None:
            side = frames[0].shape[0]
            landmarks_T682 = transforms.move(
                landmarks_T682, drawn, source=side, size=self.config.size
            )
        visible_T68 = np.full((len(places_T), 68), -1, np.int8)
        if clip.visible_T68 is not None:
            visible_T68[known_T] = clip.visible_T68[places_T[known_T]]
            visible_T68 = visible_T68[:, transforms.MIRRORED_68] if drawn.flip else visible_T68
        row: Row = {
            "frames": transforms.apply(frames, drawn, size=self.config.size, rng=rng),
            "occurrence": occurrence_TA,
            "intensity": intensity_TA,
            "landmarks": landmarks_T682,
            "visible": visible_T68,
            "valence_arousal": _taken(clip.valence_arousal_T2, places_T, known_T, (2,)),
            "emotion": np.int32(clip.emotion if known_T.any() else -1),
            "weight": np.float32(1),
            "index": np.int64(record),
            "subject": self.subject_N[record],
            "start": np.int32(start),
            "damage": _message(""),
        }
        if self.config.flow:
            row["flow"] = self._flow(record, clip, places_T, drawn)
        return row

    def _flow(
        self, record: int, clip: schema.Clip, places_T: np.ndarray, drawn: transforms.Draw
    ) -> np.ndarray:
        """float16 T×size×size×F; only the fields that these frames need are unpacked."""
        if clip.flow is None or clip.flow_scale_F is None:
            raise UserError(
                f"{self.source.place(record)} has no optical flow, which data.flow "
                f"{self.config.flow} asks for; build the set with --flow, or leave data.flow out"
            )
        first, stop = int(places_T.min()), int(places_T.max()) + flow.AROUND
        try:
            pairs = zip(clip.flow[first:stop], clip.flow_scale_F[first:stop], strict=True)
            field_FHW2 = np.stack([flow.unpack(png, scale) for png, scale in pairs])
            if len(field_FHW2) != stop - first:
                raise ValueError(f"{len(clip.flow)} flow fields for {len(clip.frames)} frames")
        except ValueError as error:
            raise self._damaged(record, f" ({clip.clip_id}), is damaged: {error}") from error
        return flow.stacks(
            transforms.carry(field_FHW2, drawn, size=self.config.size),
            places_T - first,
            components=self.config.flow,
            limit=self.config.flow_limit,
        )

    def _decode(self, record: int, clip: schema.Clip, places_T: np.ndarray) -> list[np.ndarray]:
        decoded: dict[int, np.ndarray] = {}
        for place in places_T.tolist():
            if place not in decoded:
                jpeg = np.frombuffer(clip.frames[place], np.uint8)
                try:
                    frame = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB) if jpeg.size else None
                except cv2.error:  # a header that asks for more pixels than there can be
                    frame = None
                if frame is None:
                    raise self._damaged(
                        record,
                        f" ({clip.clip_id}), frame {place}: "
                        "the JPEG does not decode; build the set again",
                    )
                decoded[place] = frame
        return [decoded[place] for place in places_T.tolist()]


def blended(one: Mapping[str, Any], other: Mapping[str, Any], share: float) -> Row:
    """Mix-up: `share` of one row and the rest of another, for labels of which many may be true.

    Occurrence becomes float32, a share in [0, 1]. A label that is unknown in either row is unknown.
    A clip has one emotion, so two different ones leave it unknown; landmarks of two faces are of
    neither. What tells where a row is from (`index`, `start` …) is that of the first. A blend with
    a damaged clip counts for nothing.
    """
    rest = 1 - share
    mixed: dict[str, Any] = dict(one)
    mixed["frames"] = cv2.addWeighted(one["frames"], share, other["frames"], rest, 0)
    for name in ("occurrence", "intensity", "valence_arousal", "flow"):
        if name in one:
            total = np.float32(share) * one[name] + np.float32(rest) * other[name]
            mixed[name] = total.astype(np.float16 if name == "flow" else np.float32)
    for name in ("occurrence", "intensity"):
        mixed[name][(one[name] < 0) | (other[name] < 0)] = -1
    for name in ("landmarks", "visible"):
        if name in one:
            mixed[name] = np.full_like(one[name], UNKNOWN[name])
    if one["emotion"] != other["emotion"]:
        mixed["emotion"] = np.int32(-1)
    mixed["weight"] = np.float32(one["weight"] * other["weight"])
    mixed["damage"] = max(one["damage"], other["damage"])  # "" is before any other
    return mixed


def _unknown(row: Mapping[str, Any]) -> Row:
    return {key: np.full_like(row[key], value) for key, value in UNKNOWN.items()}


def _message(text: str) -> np.ndarray:
    return np.array(text.encode(), f"S{MESSAGE_BYTES}")


def _taken(
    label_T: np.ndarray | None, places_T: np.ndarray, known_T: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """float32 labels of the frames at `places_T`; NaN where they are not known."""
    if label_T is None:
        return np.full((len(places_T), *shape), np.nan, np.float32)
    taken_T = label_T[places_T]
    taken_T[~known_T] = np.nan
    return taken_T


def random_places(
    length: int, config: DataConfig, rng: np.random.Generator
) -> tuple[int, np.ndarray]:
    """Where a training clip starts, and the T places of its frames in the record.

    A record shorter than the clip starts at 0; places beyond its end are padding.
    """
    stride = config.stride
    if config.strides:
        fitting = [s for s in config.strides if (config.frames - 1) * s < length]
        stride = int(transforms.apart(rng, 3).choice(fitting or [min(config.strides)]))
    reach = (config.frames - 1) * stride
    start = int(rng.integers(0, max(length - reach - 1, 0) + 1))
    places_T = start + stride * np.arange(config.frames)
    if config.temporal_jitter:
        jitter = config.temporal_jitter
        moved_T = np.sort(places_T + rng.integers(-jitter, jitter + 1, config.frames))
        moved_T = np.clip(moved_T, 0, length - 1)
        places_T = np.where(places_T < length, moved_T, places_T)
    return start, places_T
