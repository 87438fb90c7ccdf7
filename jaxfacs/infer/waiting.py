"""Raw frames that wait for later ones, as arrays and back, exactly."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfacs.faces.detect import Face
from jaxfacs.infer.results import RawFace, RawFrame


def pack(frames: Sequence[RawFrame], name: str) -> dict[str, np.ndarray]:
    """Flat dict of arrays, keys "NAME.…", from which `unpack` makes the same frames."""
    faces = [raw for frame in frames for raw in frame.faces]
    marked = [raw.face.landmarks_5x2 is not None for raw in faces]
    landmarks = [raw.face.landmarks_5x2 for raw in faces if raw.face.landmarks_5x2 is not None]
    arrays = {
        "frame_F": np.array([f.frame for f in frames], np.int64),
        "timestamp_F": np.array([f.timestamp for f in frames], np.float64),
        "readable_F": np.array([f.readable for f in frames], bool),
        "faces_F": np.array([len(f.faces) for f in frames], np.int64),
        "face_id_N": np.array([raw.face_id for raw in faces], np.int64),
        "confidence_N": np.array([raw.face.confidence for raw in faces], np.float64),
        "marked_N": np.array(marked, bool),
        "box_N4": np.stack([raw.face.box_4 for raw in faces]) if faces else np.zeros((0, 4)),
        "landmarks_M52": np.stack(landmarks) if landmarks else np.zeros((0, 5, 2)),
        "values_NV": np.stack([raw.values_V for raw in faces]) if faces else np.zeros((0, 0)),
    }
    return {f"{name}.{key}": array for key, array in arrays.items()}


def unpack(state: Mapping[str, Any], name: str) -> list[RawFrame]:
    """The frames that `pack` was given."""

    def array(key: str) -> np.ndarray:
        return np.asarray(state[f"{name}.{key}"])

    landmarks = iter(array("landmarks_M52"))
    faces = iter(
        [
            RawFace(
                int(face_id), Face(box_4, float(confidence), next(landmarks) if marked else None), v
            )
            for face_id, confidence, marked, box_4, v in zip(
                *(array(key) for key in ("face_id_N", "confidence_N", "marked_N", "box_N4")),
                array("values_NV"),
                strict=True,
            )
        ]
    )
    return [
        RawFrame(
            int(frame), float(time_s), tuple(next(faces) for _ in range(count)), bool(readable)
        )
        for frame, time_s, count, readable in zip(
            *(array(key) for key in ("frame_F", "timestamp_F", "faces_F", "readable_F")),
            strict=True,
        )
    ]
