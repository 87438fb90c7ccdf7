"""Records as TFRecord files of `tf.train.Example`, in lists of the plainest types."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxfacs.data import schema, tfrecord
from jaxfacs.data.records import RecordSet, open_set
from jaxfacs.errors import UserError
from jaxfacs.progress import track

# What each feature of an Example is; T frames, A the AUs of features.json. Written beside them.
FEATURES = {
    "clip_id": "bytes, 1",
    "subject": "bytes, 1; empty: nobody knows",
    "frames": "bytes, T: JPEG files",
    "occurrence": "int64, T × A: 1 present, 0 absent, -1 nobody coded it",
    "intensity": "float, T × A: 0 to 5, -1 nobody coded it",
    "emotion": "bytes, 1: its name; empty: unknown",
    "timestamps": "float, T: seconds",
    "box": "float, T × 4: x, y, w, h in pixels of the uncropped frame",
    "face_found": "int64, T: 1 where a detector found the face",
    "landmarks": "float, T × 68 × 2: x, y in pixels of the frame; NaN unknown",
    "valence_arousal": "float, T × 2: -1 to 1; NaN unknown",
    "phase": f"int64, T × A: place in {', '.join(schema.PHASES)}; -1 unknown",
    "attributes": "float, T × K, the attributes of features.json; NaN unknown",
}


def export(folder: Path, out: Path, *, shard_bytes: int) -> None:
    """Writes NAME-SPLIT.tfrecord-0000I-of-0000N files and features.json into the new folder `out`.

    Flow is left out. Raises UserError where `out` is not empty or the set is damaged.
    """
    opened = open_set(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another --out or remove it")
    partial = out.with_name(out.name + ".incomplete")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for split in opened.splits:
            _write_split(opened, split, partial, shard_bytes)
        told = {
            "aus": opened.aus,
            "emotions": opened.emotions,
            "attributes": opened.attributes,
            "size": opened.size,
            "records": dict(opened.splits),
            "features": FEATURES,
            "digest_of_source": opened.digest,
        }
        (partial / "features.json").write_text(json.dumps(told, indent=1) + "\n")
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{out}: {sum(opened.splits.values())} clips of {opened.name}")


def _write_split(opened: RecordSet, split: str, folder: Path, shard_bytes: int) -> None:
    shards = [shard["bytes"] for shard in opened.card["splits"][split]["shards"]]
    count = max(1, round(sum(shards) / shard_bytes))
    clips = opened.splits[split]
    examples = track(_examples(opened, split), label=f"writing {split}", total=clips, unit="clip")
    for i in range(count):
        own = clips * (i + 1) // count - clips * i // count
        name = f"{opened.name}-{split}.tfrecord-{i:05d}-of-{count:05d}"
        tfrecord.write(folder / name, (next(examples) for _ in range(own)))
    next(examples, None)


def _examples(opened: RecordSet, split: str) -> Iterator[bytes]:
    source = opened.source(split)
    for number in range(opened.splits[split]):
        yield example(opened.clip_of(source[number]), opened)


def example(clip: schema.Clip, opened: RecordSet) -> bytes:
    """One clip as an Example with the features of FEATURES."""
    emotion = opened.emotions[clip.emotion] if clip.emotion >= 0 else ""
    frames = len(clip.frames)
    unknown = {"landmarks": (frames, 68, 2), "valence_arousal": (frames, 2)}
    arrays = {
        "occurrence": clip.occurrence_TA,
        "intensity": clip.intensity_TA,
        "timestamps": clip.timestamps_T,
        "box": clip.box_T4,
        "face_found": clip.found_T.astype(np.int64),
        "landmarks": clip.landmarks_T68x2,
        "valence_arousal": clip.valence_arousal_T2,
        "phase": clip.phase_TA,
        "attributes": clip.attributes_TK,
    }
    for name, shape in unknown.items():
        if arrays[name] is None:
            arrays[name] = np.full(shape, np.nan, np.float32)
    text = {"clip_id": clip.clip_id, "subject": clip.subject, "emotion": emotion}
    return tfrecord.example(
        {name: value.ravel() for name, value in arrays.items() if value is not None}
        | {name: [value.encode()] for name, value in text.items()}
        | {"frames": clip.frames}
    )
