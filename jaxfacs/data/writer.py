"""Writes a record folder: streaming, whole or not at all, the same clips as the same bytes.

TFDS's own `GeneratorBasedBuilder` is not used for the writing: it holds a split in memory to
shuffle it, needs TensorFlow as soon as that is over 1 GB, and its bytes differ from run to run
(see `example.py`). The folder written here is nevertheless a TFDS data set
(`tfds.builder_from_directory(path).as_data_source("train")` reads it).

A folder holds
  NAME-SPLIT.array_record-0000I-of-0000N   the shards
  dataset_info.json, features.json         TFDS's metadata
  index-SPLIT.npz                          labels without pictures: counting needs no pass over them
  labels.json                              all else; written last: a folder without it is not a set
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxfacs.data import cards, schema
from jaxfacs.errors import UserError
from jaxfacs.files import replacing

SPLITS = ("train", "validation", "test")
SHARD_BYTES = 150 << 20  # large enough for sequential speed, small enough to copy and to check
LABELS = "labels.json"


@dataclass(frozen=True)
class SetInfo:
    """What is true of a whole set, known before its first clip.

    Attributes:
      name: lower case, used in the file names.
      aus: the labels that the columns of occurrence and intensity mean.
      emotions: the names that the emotion index means.
      attributes: the names of the columns of `Clip.attributes_TK`.
      phases, flow, visible: whether the clips have them.
      people: whose subjects these are: sets with the same word share their people, so that
        "SN001" of both is one person. Empty: nobody else's.
      size: side of the square frames in pixels.
      crop: how faces were cut out (detector, margin, …), so that prediction can do the same.
      settings: the builder's own options that shaped the data.
      description, licence, citation, version: for people, and for TFDS's files.
    """

    name: str
    aus: tuple[str, ...]
    emotions: tuple[str, ...]
    size: int
    crop: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    description: str = ""
    licence: str = ""
    citation: str = ""
    version: str = "1.0.0"
    attributes: tuple[str, ...] = ()
    phases: bool = False
    flow: bool = False
    visible: bool = False
    people: str = ""

    @property
    def optional(self) -> dict[str, Any]:
        """What of the schema this set has, as `schema.check` and `schema.tfds_features` ask."""
        return {
            "num_attributes": len(self.attributes),
            "phases": self.phases,
            "flow": self.flow,
            "visible": self.visible,
        }


@contextlib.contextmanager
def writing(
    out: str | Path, info: SetInfo, *, shard_bytes: int | None = None
) -> Iterator["SetWriter"]:
    """Gives a writer of clips; on leaving, `out` becomes a whole set.

    All is written into `OUT.incomplete` beside it and renamed at the end. An exception removes that
    folder; a killed process leaves it, and the next build into the same place clears it away.

    Raises:
      UserError: `out` exists and is not empty, another build is writing it, the disk is full, a
        subject is in two splits, or nothing was written.
    """
    out = Path(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another --out or remove it")
    partial = out.with_name(out.name + ".incomplete")
    lock = claim(partial)
    try:
        clear(partial)
        writer = SetWriter(partial, info, shard_bytes or SHARD_BYTES)
        yield writer
        cards.write_plain(partial, finish(partial, info, writer.parts, more=writer.more))
        os.unlink(partial / "lock")
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if is_disk_full(error):
            raise UserError(
                f"the disk of {out.parent} is full; free some space or choose another --out "
                "(nothing was left behind)"
            ) from error
        raise
    finally:
        lock.close()


def write_set(
    path: str | Path,
    clips_by_split: Mapping[str, Sequence[schema.Clip]],
    *,
    aus: Sequence[str],
    emotions: Sequence[str] = (),
    name: str = "arrays",
    **info: Any,
) -> Path:
    """Writes a set from clips in memory (see `clip_from_arrays`); for tests and small data.

    Returns `path`. Further keywords are fields of `SetInfo`. Raises as `writing` does.
    """
    first = next(clip for clips in clips_by_split.values() for clip in clips)
    size = _jpeg_size(first.frames[0])
    described = SetInfo(name=name, aus=tuple(aus), emotions=tuple(emotions), size=size, **info)
    with writing(path, described) as writer:
        for split, clips in clips_by_split.items():
            for clip in clips:
                writer.write(split, clip)
    return Path(path)


def clip_from_arrays(
    frames_THWC: np.ndarray,
    *,
    clip_id: str,
    subject: str,
    occurrence_TA: np.ndarray | None = None,
    intensity_TA: np.ndarray | None = None,
    emotion: int = -1,
    fps: float = 25.0,
    quality: int = 95,
    **fields: Any,
) -> schema.Clip:
    """A `Clip` from RGB uint8 frames (H = W) and labels; what is not given is unknown.

    Occurrence follows from intensity where only that is given (present from trace, A = 1, on), and
    the other way round intensity is unknown. Further keywords are fields of `Clip`.
    """
    frames = len(frames_THWC)
    if intensity_TA is None:
        if occurrence_TA is None:
            raise ValueError(f"clip {clip_id}: neither occurrence nor intensity was given")
        intensity_TA = np.full(occurrence_TA.shape, -1, np.float32)
    if occurrence_TA is None:
        occurrence_TA = occurrence_of(intensity_TA)
    side = float(frames_THWC.shape[1])
    defaults: dict[str, Any] = {
        "timestamps_T": np.arange(frames) / fps,
        "box_T4": np.tile(np.array([0, 0, side, side], np.float32), (frames, 1)),
        "found_T": np.ones(frames, bool),
    }
    return schema.Clip(
        clip_id=clip_id,
        subject=subject,
        frames=[encode_jpeg(frame, quality=quality) for frame in frames_THWC],
        occurrence_TA=np.asarray(occurrence_TA, np.int8),
        intensity_TA=np.asarray(intensity_TA, np.float32),
        emotion=emotion,
        **{**defaults, **fields},
    )


def occurrence_of(intensity: np.ndarray) -> np.ndarray:
    """int8 occurrence from intensity: present from trace (A = 1) on, unknown where that is −1."""
    return np.where(intensity < 0, -1, intensity >= 1).astype(np.int8)


def encode_jpeg(frame_HWC: np.ndarray, *, quality: int = 95) -> bytes:
    """JPEG bytes of an RGB uint8 frame."""
    import cv2

    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done, "cv2 cannot encode this frame"
    return data.tobytes()


def _jpeg_size(jpeg: bytes) -> int:
    import cv2

    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if frame is None:
        raise ValueError("the first frame is no JPEG")
    return frame.shape[0]


@dataclass
class SetWriter:
    """What `writing` gives.

    Attributes:
      folder: a builder may put further files into it.
      info: of the set.
      shard_bytes: after which a shard is closed.
      more: further entries of labels.json.
      parts: split -> what was written so far.
    """

    folder: Path
    info: SetInfo
    shard_bytes: int
    more: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, list["Part"]] = field(default_factory=dict)

    def write(self, split: str, clip: schema.Clip) -> None:
        """Adds a clip to one of SPLITS. Raises ValueError where it contradicts the schema."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        parts = self.parts.setdefault(split, [])
        if not parts or parts[-1].raw_bytes >= self.shard_bytes:
            parts.append(Part(self.folder / f"{split}-{len(parts):05d}.part", self.info))
        parts[-1].add(clip)
        if parts[-1].raw_bytes >= self.shard_bytes:
            parts[-1].close()


class Part:
    """One shard on its way to disk, and what the set's index will say of it.

    Attributes:
      path: of the array_record file.
      rows: (frames, subject, emotion, frames with a found face) of each clip.
      raw_bytes: of its records.
      histogram_A6: frames of each intensity 0–5.
      sha256: of the file, once it was saved or loaded; reading it again takes as long as copying.
    """

    def __init__(self, path: Path, info: SetInfo):
        self.path, self._info, self._writer = path, info, None
        self.rows: list[tuple[int, str, int, int]] = []
        self.raw_bytes = 0
        self.sha256 = ""
        self._occurrence: list[np.ndarray] = []
        self.histogram_A6 = np.zeros((len(info.aus), 6), np.int64)

    @property
    def occurrence_FA(self) -> np.ndarray:
        """int8, of all frames one after the other."""
        return np.concatenate([*self._occurrence, np.zeros((0, len(self._info.aus)), np.int8)])

    def add(self, clip: schema.Clip) -> None:
        """Adds a clip. Raises ValueError where it contradicts the schema."""
        from array_record.python.array_record_module import ArrayRecordWriter

        info = self._info
        schema.check(clip, num_aus=len(info.aus), num_emotions=len(info.emotions), **info.optional)
        raw = schema.encode(clip)
        if self._writer is None:
            self._writer = ArrayRecordWriter(str(self.path), "group_size:1")  # each read alone
        self._writer.write(raw)
        self.raw_bytes += len(raw)
        self.rows.append((len(clip.frames), clip.subject, clip.emotion, int(clip.found_T.sum())))
        self._occurrence.append(np.asarray(clip.occurrence_TA, np.int8))
        level_TA = np.rint(clip.intensity_TA)
        self.histogram_A6 += np.stack([(level_TA == level).sum(0) for level in range(6)], axis=1)

    def close(self) -> None:
        """Ends the file; what was written is on disk then."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())

    def save(self, path: Path, **more: Any) -> None:
        """Keeps what is known of a closed part beside it, for a build that goes on later."""
        self.sha256 = sha256_of(self.path) if self.rows else ""
        lengths, subjects, emotions, found = zip(*self.rows, strict=True) if self.rows else [()] * 4
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                length_N=np.array(lengths, np.int32),
                subject_N=np.array(subjects, np.str_),
                emotion_N=np.array(emotions, np.int32),
                found_N=np.array(found, np.int32),
                occurrence_FA=self.occurrence_FA,
                histogram_A6=self.histogram_A6,
                raw_bytes=np.int64(self.raw_bytes),
                sha256=np.array(self.sha256),
                **more,
            )

    @classmethod
    def load(cls, path: Path, info: SetInfo, saved: Mapping[str, np.ndarray]) -> "Part | None":
        """The closed part that `save` described, or None where its file is not what it was."""
        part = cls(path, info)
        wanted = str(saved["sha256"])
        if wanted and (not path.is_file() or sha256_of(path) != wanted):
            return None
        names = ("length_N", "subject_N", "emotion_N", "found_N")
        columns = [saved[name].tolist() for name in names]
        part.rows = list(zip(*columns, strict=True))
        part.raw_bytes = int(saved["raw_bytes"])
        part.sha256 = wanted
        part._occurrence = [saved["occurrence_FA"]]
        part.histogram_A6 = saved["histogram_A6"]
        return part


def finish(
    folder: Path,
    info: SetInfo,
    parts: Mapping[str, Sequence[Part]],
    *,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Names the shards, checks what was written, and writes the metadata, labels.json last.

    Args:
      folder: holds the parts' files.
      info: of the set.
      parts: split -> its parts in order; those without a clip are left out.
      more: further entries of labels.json.

    Returns labels.json as it was written. Raises UserError where nothing was written or a subject
    is in two splits.
    """
    filled = {name: [p for p in parts[name] if p.rows] for name in SPLITS if name in parts}
    filled = {name: split for name, split in filled.items() if split}
    if not filled:
        raise UserError("no clip was made, so there is no set to write")
    rows_of = {name: [row for p in split for row in p.rows] for name, split in filled.items()}
    refuse_overlap({name: {row[1] for row in rows} for name, rows in rows_of.items()})
    subjects = sorted({row[1] for rows in rows_of.values() for row in rows})
    number_of = {subject: i for i, subject in enumerate(subjects)}
    card: dict[str, Any] = {}
    for name, split in filled.items():
        rows = rows_of[name]
        for part in split:
            part.close()
        shards = _name_shards(folder, info, name, split)
        np.savez_compressed(
            folder / f"index-{name}.npz",
            length_N=np.array([row[0] for row in rows], np.int32),
            subject_N=np.array([number_of[row[1]] for row in rows], np.int32),
            emotion_N=np.array([row[2] for row in rows], np.int32),
            occurrence_FA=np.concatenate([part.occurrence_FA for part in split]),
        )
        card[name] = {
            "clips": len(rows),
            "frames": sum(row[0] for row in rows),
            "frames_with_found_face": sum(row[3] for row in rows),
            "subjects": sorted({row[1] for row in rows}),
            "intensity_histogram": np.sum([part.histogram_A6 for part in split], axis=0).tolist(),
            "index_sha256": sha256_of(folder / f"index-{name}.npz"),
            "shards": shards,
        }
    _write_tfds_metadata(folder, info, filled)
    labels = {
        "format_version": schema.FORMAT_VERSION,
        **dataclasses.asdict(info),
        **(more or {}),
        "frames": max(row[0] for rows in rows_of.values() for row in rows),
        "subjects": subjects,
        "splits": card,
    }
    labels["digest"] = digest_of(labels)
    (folder / LABELS).write_text(json.dumps(labels, indent=1, sort_keys=True) + "\n")
    return labels


def digest_of(labels: Mapping[str, Any]) -> str:
    """One sha256 for the whole set: its label lists and the digest of every shard, by split."""
    shards = {
        split: [shard["sha256"] for shard in card["shards"]]
        for split, card in labels["splits"].items()
    }
    content = [labels["format_version"], labels["aus"], labels["emotions"], shards]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _name_shards(
    folder: Path, info: SetInfo, name: str, parts: Sequence[Part]
) -> list[dict[str, Any]]:
    """Gives shards their final names (which hold their number) and takes their digests."""
    rows = []
    for i, part in enumerate(parts):
        final = f"{info.name}-{name}.array_record-{i:05d}-of-{len(parts):05d}"
        os.rename(part.path, folder / final)
        size = (folder / final).stat().st_size
        sha256 = part.sha256 or sha256_of(folder / final)
        rows.append({"file": final, "clips": len(part.rows), "bytes": size, "sha256": sha256})
    return rows


def _write_tfds_metadata(folder: Path, info: SetInfo, parts: Mapping[str, Sequence[Part]]) -> None:
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        dataset_name=info.name,
        filetype_suffix="array_record",
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=schema.tfds_features(num_aus=len(info.aus), size=info.size, **info.optional),
        split_infos=[
            tfds.core.SplitInfo(
                name=name,
                shard_lengths=[len(part.rows) for part in split],
                num_bytes=sum(part.raw_bytes for part in split),
            )
            for name, split in parts.items()
        ],
        filename_template=template,
        version=info.version,
        check_data=False,
        description=info.description or info.name,
        citation=info.citation,
    )


def refuse_overlap(subjects: Mapping[str, Collection[str]]) -> None:
    """Raises UserError where a subject is in two of the splits (split -> subjects)."""
    seen: dict[str, str] = {}
    for split, names in subjects.items():
        for subject in sorted(set(names) - {""}):  # "": nobody knows who it is
            if subject in seen:
                raise UserError(
                    f"subject {subject!r} is in both {seen[subject]} and {split}; "
                    "a subject may be in one split only"
                )
            seen[subject] = split


def claim(partial: Path) -> IO[str]:
    """Makes the folder for a build; no other build may have it until the lock is closed."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = open(partial / "lock", "w")  # noqa: SIM115 (held until the build ends)
    except OSError as error:
        raise UserError(
            f"{partial} cannot be made ({error.strerror}); choose another --out"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UserError(f"another build is writing {partial}; wait for it or stop it") from error
    return lock


def clear(partial: Path) -> None:
    """Removes what a killed build left in a folder that was claimed."""
    for leftover in partial.iterdir():
        if leftover.name != "lock":
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of any library says that no space, or no quota, is left."""
    # array_record reports through its own status text; EFBIG is a quota on the size of files.
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    text = str(error)
    return any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
