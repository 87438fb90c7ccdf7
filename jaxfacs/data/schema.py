"""What one record holds: a clip of one face with its labels, and how it becomes bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxfacs.data import example

# Written into every set; a reader refuses a newer one. Raise it when the meaning of a field moves.
FORMAT_VERSION = 1

# feature name -> (dtype, shape of one record; "T" its frames, "A" the labels, "K" the attributes,
# "F" the flow fields).
# Raw little-endian bytes: a T×A array parses with one `frombuffer` instead of T·A varints, of which
# each −1 would take ten bytes.
TENSORS: dict[str, tuple[np.dtype, tuple[int | str, ...]]] = {
    "emotion": (np.dtype("<i8"), ()),
    "occurrence": (np.dtype("int8"), ("T", "A")),
    "intensity": (np.dtype("<f4"), ("T", "A")),
    "timestamps": (np.dtype("<f8"), ("T",)),
    "box": (np.dtype("<f4"), ("T", 4)),
    "face_found": (np.dtype("uint8"), ("T",)),
    "landmarks": (np.dtype("<f4"), ("T", 68, 2)),
    "valence_arousal": (np.dtype("<f4"), ("T", 2)),
    "phase": (np.dtype("int8"), ("T", "A")),
    "attributes": (np.dtype("<f4"), ("T", "K")),
    "flow_scale": (np.dtype("<f4"), ("F",)),
    "visible": (np.dtype("int8"), ("T", 68)),
}
# Fields that sets of an earlier jaxfacs do not have: nothing is known of them there.
LATER = frozenset({"valence_arousal", "phase", "attributes", "flow_scale", "visible"})
# Codes of `phase`; −1 is unknown.
PHASES = ("neutral", "onset", "apex", "offset")


@dataclass(frozen=True, eq=False)
class Clip:
    """One record: T ≥ 1 frames of one subject's face and what a coder said of each.

    Attributes:
      clip_id: unique within the set.
      subject: who it is; a subject is in one split only.
      frames: T JPEG files, each S×S, the set's size.
      occurrence_TA: int8, −1 unknown, 0 absent, 1 present, over the set's AU list.
      intensity_TA: float32 in [0, 5] (FACS A–E are 1–5), −1 unknown.
      emotion: index into the set's emotion list, −1 unknown.
      timestamps_T: float64 seconds from the start of the film.
      box_T4: float32 face box (x, y, w, h) in pixels of the uncropped frame.
      found_T: bool, whether the detector saw the face, or its place was given; where neither, the
        box came from elsewhere (the renderer, the frame before).
      landmarks_T68x2: float32 (x, y) in pixels of the crop, iBUG 68 order, the middle of the first
        pixel at (0.5, 0.5); None: not annotated.
      valence_arousal_T2: float32 in [−1, 1], NaN unknown; None: not annotated.
      phase_TA: int8 place in PHASES of each AU, −1 unknown; None: the set codes no phases.
      attributes_TK: float32, over the set's list of attributes, NaN unknown; None: it has none.
      flow: optical flow as `data.flow` packs it, F pictures; None: the set has none.
      flow_scale_F: float32 pixels a frame that its largest value stands for.
      visible_T68: int8, whether the picture shows each landmark: 1, or 0 where it is outside,
        behind something or on the far side of the face; −1 unknown. None: the set does not say.
    """

    clip_id: str
    subject: str
    frames: Sequence[bytes]
    occurrence_TA: np.ndarray
    intensity_TA: np.ndarray
    emotion: int
    timestamps_T: np.ndarray
    box_T4: np.ndarray
    found_T: np.ndarray
    landmarks_T68x2: np.ndarray | None = None
    valence_arousal_T2: np.ndarray | None = None
    phase_TA: np.ndarray | None = None
    attributes_TK: np.ndarray | None = None
    flow: Sequence[bytes] | None = None
    flow_scale_F: np.ndarray | None = None
    visible_T68: np.ndarray | None = None


def check(
    clip: Clip,
    *,
    num_aus: int,
    num_emotions: int,
    num_attributes: int = 0,
    phases: bool = False,
    flow: bool = False,
    visible: bool = False,
) -> None:
    """Raises ValueError where a clip contradicts the schema: a builder's mistake, found early.

    A set has attributes, phases, flow and visible landmarks in all of its clips or in none.
    """
    frames = len(clip.frames)
    landmarks, affect = clip.landmarks_T68x2, clip.valence_arousal_T2
    for name, part, wanted in (
        ("phase", clip.phase_TA, phases),
        ("attributes", clip.attributes_TK, num_attributes > 0),
        ("flow", clip.flow, flow),
        ("visible", clip.visible_T68, visible),
    ):
        if (part is not None) != wanted:
            raise ValueError(f"clip {clip.clip_id}: {name} {'missing' if wanted else 'unexpected'}")
    shapes = {
        "occurrence": (clip.occurrence_TA.shape, (frames, num_aus)),
        "intensity": (clip.intensity_TA.shape, (frames, num_aus)),
        "timestamps": (clip.timestamps_T.shape, (frames,)),
        "box": (clip.box_T4.shape, (frames, 4)),
        "face_found": (clip.found_T.shape, (frames,)),
        "landmarks": ((frames, 68, 2) if landmarks is None else landmarks.shape, (frames, 68, 2)),
        "valence_arousal": ((frames, 2) if affect is None else affect.shape, (frames, 2)),
    }
    if clip.phase_TA is not None:
        shapes["phase"] = (clip.phase_TA.shape, (frames, num_aus))
        if not np.isin(clip.phase_TA, range(-1, len(PHASES))).all():
            raise ValueError(f"clip {clip.clip_id}: phase must be -1 to {len(PHASES) - 1}")
    if clip.attributes_TK is not None:
        shapes["attributes"] = (clip.attributes_TK.shape, (frames, num_attributes))
    if clip.visible_T68 is not None:
        shapes["visible"] = (clip.visible_T68.shape, (frames, 68))
    if clip.flow is not None:
        scales = () if clip.flow_scale_F is None else clip.flow_scale_F.shape
        shapes["flow_scale"] = (scales, (len(clip.flow),))
    for name, (got, wanted) in shapes.items():
        if tuple(got) != wanted:
            raise ValueError(f"clip {clip.clip_id}: {name} is {tuple(got)}, expected {wanted}")
    if frames < 1:
        raise ValueError(f"clip {clip.clip_id} has no frames")
    if not np.isin(clip.occurrence_TA, (-1, 0, 1)).all():
        raise ValueError(f"clip {clip.clip_id}: occurrence must be -1, 0 or 1")
    known = clip.intensity_TA[clip.intensity_TA != -1]
    if not ((known >= 0) & (known <= 5)).all():  # also false for NaN
        raise ValueError(f"clip {clip.clip_id}: intensity must be -1 (unknown) or 0 to 5")
    if affect is not None and (np.abs(affect[~np.isnan(affect)]) > 1).any():
        raise ValueError(f"clip {clip.clip_id}: valence and arousal must be NaN or in [-1, 1]")
    if not -1 <= clip.emotion < num_emotions:
        raise ValueError(f"clip {clip.clip_id}: emotion {clip.emotion} of {num_emotions}")


def encode(clip: Clip) -> bytes:
    """A clip as `tf.train.Example` bytes, always the same for the same clip."""
    frames, landmarks, affect = len(clip.frames), clip.landmarks_T68x2, clip.valence_arousal_T2
    arrays = {
        "emotion": clip.emotion,
        "occurrence": clip.occurrence_TA,
        "intensity": clip.intensity_TA,
        "timestamps": clip.timestamps_T,
        "box": clip.box_T4,
        "face_found": clip.found_T,
        "landmarks": np.full((frames, 68, 2), np.nan) if landmarks is None else landmarks,
        "valence_arousal": np.full((frames, 2), np.nan) if affect is None else affect,
    }
    optional = {
        "phase": clip.phase_TA,
        "attributes": clip.attributes_TK,
        "flow_scale": clip.flow_scale_F,
        "visible": clip.visible_T68,
    }
    arrays |= {name: array for name, array in optional.items() if array is not None}
    features: dict[str, Sequence[bytes]] = {
        name: [np.ascontiguousarray(arrays[name], dtype).tobytes()]
        for name, (dtype, _) in _stored(clip.occurrence_TA.shape[1]).items()
        if name in arrays
    }
    if clip.flow is not None:
        features["flow"] = clip.flow
    text = {"clip_id": [clip.clip_id.encode()], "subject": [clip.subject.encode()]}
    return example.encode({**features, **text, "frames": clip.frames})


def decode(raw: bytes, *, num_aus: int) -> Clip:
    """The clip back from its bytes; its JPEGs stay encoded. Raises ValueError on damage."""
    features = example.decode(raw)
    try:
        sizes = {"T": len(features["frames"]), "A": num_aus, "K": -1, "F": -1}
        arrays = {
            name: np.frombuffer(features[name][0], dtype).reshape(_fill(shape, sizes))
            for name, (dtype, shape) in _stored(num_aus).items()
            if name in features or name not in LATER
        }
        without = np.zeros((sizes["T"], 0))
        landmarks, affect = arrays["landmarks"], arrays.get("valence_arousal")
        return Clip(
            clip_id=features["clip_id"][0].decode(),
            subject=features["subject"][0].decode(),
            frames=features["frames"],
            occurrence_TA=arrays.get("occurrence", without.astype(np.int8)),
            intensity_TA=arrays.get("intensity", without.astype(np.float32)),
            emotion=int(arrays["emotion"]),
            timestamps_T=arrays["timestamps"],
            box_T4=arrays["box"],
            found_T=arrays["face_found"].astype(bool),
            landmarks_T68x2=None if np.isnan(landmarks).all() else landmarks,
            valence_arousal_T2=None if affect is None or np.isnan(affect).all() else affect,
            phase_TA=arrays.get("phase"),
            attributes_TK=arrays.get("attributes"),
            flow=features.get("flow"),
            flow_scale_F=arrays.get("flow_scale"),
            visible_T68=arrays.get("visible"),
        )
    except (KeyError, IndexError) as error:
        raise ValueError(f"a field of the clip is missing: {error}") from error


def tfds_features(
    *,
    num_aus: int,
    size: int,
    num_attributes: int = 0,
    phases: bool = False,
    flow: bool = False,
    visible: bool = False,
):
    """The same schema in TFDS's words, so that `tfds.builder_from_directory` reads the set."""
    import tensorflow_datasets as tfds

    has = {"phase": phases, "attributes": num_attributes > 0, "flow_scale": flow}
    has["visible"] = visible
    tensors: dict[str, Any] = {
        name: tfds.features.Tensor(
            shape=_fill(shape, {"T": None, "A": num_aus, "K": num_attributes, "F": None}),
            dtype=dtype.newbyteorder("="),
            encoding=tfds.features.Encoding.BYTES,
        )
        for name, (dtype, shape) in _stored(num_aus).items()
        if has.get(name, True)
    }
    if flow:
        picture = tfds.features.Image(shape=(size, 2 * size, 1), encoding_format="png")
        tensors["flow"] = tfds.features.Sequence(picture)
    return tfds.features.FeaturesDict(
        {
            **tensors,
            "frames": tfds.features.Sequence(
                tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg")
            ),
            "clip_id": tfds.features.Text(),
            "subject": tfds.features.Text(),
        }
    )


def _stored(num_aus: int) -> dict[str, tuple[np.dtype, tuple[int | str, ...]]]:
    """The tensors of a set: one without AUs has none of them, as TFDS reads no T×0 array."""
    return {name: kind for name, kind in TENSORS.items() if num_aus or "A" not in kind[1]}


def _fill(shape: tuple[int | str, ...], sizes: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sizes[d] if isinstance(d, str) else d for d in shape)
