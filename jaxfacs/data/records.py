"""Opens a record folder: what is in it, whether it is whole, and its records one by one."""

import bisect
import errno
import json
import os
import re
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.data import schema
from jaxfacs.data.projection import Projection
from jaxfacs.data.writer import (
    LABELS,
    SPLITS,
    clip_from_arrays,
    digest_of,
    refuse_overlap,
    sha256_of,
    write_set,
)
from jaxfacs.errors import UserError
from jaxfacs.files import one_line, retrying

__all__ = [
    "DamagedError",
    "RecordSet",
    "ShardSource",
    "Statistics",
    "clip_from_arrays",
    "open_set",
    "write_set",
]


class DamagedError(UserError):
    """A record that is not what was written.

    Attributes:
      place: where it lies, as `ShardSource.place` says it.
    """

    def __init__(self, place: str, what: str):
        super().__init__(place, what)
        self.place = place

    def __str__(self) -> str:
        return "".join(self.args)


@dataclass(frozen=True)
class Statistics:
    """How often each AU was coded and was there, in frames of one split.

    Attributes:
      aus: the labels of the arrays' columns.
      known_A, positive_A: int64 frames in which the AU was coded, and in which it was present.
      frames, clips: how many there are in all.
    """

    aus: tuple[str, ...]
    known_A: np.ndarray
    positive_A: np.ndarray
    frames: int
    clips: int

    @classmethod
    def of(cls, aus: Sequence[str], occurrence_FA: np.ndarray, *, clips: int) -> "Statistics":
        """Counts of int8 occurrence in all frames of some clips, on the list `aus`."""
        return cls(
            aus=tuple(aus),
            known_A=(occurrence_FA >= 0).sum(0),
            positive_A=(occurrence_FA == 1).sum(0),
            frames=len(occurrence_FA),
            clips=clips,
        )


@dataclass(frozen=True, eq=False)
class RecordSet:
    """A record folder that was opened.

    Attributes:
      path: the folder.
      name: of the data set.
      aus: the labels of the records' columns.
      emotions: the names of the emotion index.
      size: side of the stored square frames in pixels.
      frames: frames of the longest clip.
      splits: split -> number of clips.
      subjects: split -> names of its subjects.
      subject_names: all subjects, sorted; batches give places in this list.
      attributes: the names of the columns of `Clip.attributes_TK`.
      people: sets with the same word share their people (see `writer.SetInfo`).
      crop: how faces were cut out; prediction does the same.
      digest: sha256 over label lists and shards: two sets with the same digest are the same.
      card: labels.json whole.
    """

    path: Path
    name: str
    aus: tuple[str, ...]
    emotions: tuple[str, ...]
    size: int
    frames: int
    splits: Mapping[str, int]
    subjects: Mapping[str, tuple[str, ...]]
    subject_names: tuple[str, ...]
    crop: Mapping[str, Any]
    digest: str
    card: Mapping[str, Any]
    attributes: tuple[str, ...] = ()
    people: str = ""

    def require_split(self, split: str) -> str:
        """`split`, or UserError naming those that exist."""
        if split not in self.splits:
            raise UserError(f"{self.path} has no split {split!r}; it has: {', '.join(self.splits)}")
        return split

    def source(self, split: str) -> "ShardSource":
        """Random access to the raw records of a split."""
        return ShardSource(self.path, self.card["splits"][self.require_split(split)]["shards"])

    def clip(self, split: str, record: int) -> schema.Clip:
        """One record with its labels as stored; its frames still JPEG."""
        return self.clip_of(self.source(split)[record])

    def clip_of(self, raw: bytes) -> schema.Clip:
        """A record's bytes as a clip. Raises ValueError on damage."""
        return schema.decode(raw, num_aus=len(self.aus))

    def index(self, split: str) -> dict[str, np.ndarray]:
        """The labels of a split without its pictures.

        Returns int32 `length_N`, `subject_N` (place in `subject_names`) and `emotion_N` of the N
        records, and int8 `occurrence_FA` of all their frames one after the other.
        """
        path = self.path / f"index-{self.require_split(split)}.npz"
        try:
            with np.load(path) as file:
                return dict(file)
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{path} is damaged ({error}); copy the set again") from error

    def occurrence(self, split: str, *, aus: Sequence[str]) -> np.ndarray:
        """int8 F×A: occurrence in every frame of a split, on the list `aus`."""
        return Projection.between(self.aus, aus).occurrence(self.index(split)["occurrence_FA"])

    def statistics(self, split: str, *, aus: Sequence[str] = ()) -> Statistics:
        """Counts per AU over every frame of a split, on the list `aus` (empty: the set's own)."""
        aus = tuple(aus) or self.aus
        occurrence_FA = self.occurrence(split, aus=aus)
        return Statistics.of(aus, occurrence_FA, clips=self.splits[split])


def open_set(path: str | Path, *, verify: bool = False) -> RecordSet:
    """Opens a record folder and checks that its files are there with the right sizes.

    Args:
      path: the folder that `jaxfacs data build` wrote.
      verify: also read every shard and compare its sha256 (as slow as reading the set once).

    Raises:
      UserError: not a record folder, a newer format, a shard missing, cut short or changed, or a
        subject in two splits.
    """
    if not str(path):
        raise UserError("no record folder was given; set data.source")
    path = Path(path)
    try:
        card = json.loads((path / LABELS).read_text())
        version = card["format_version"]
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is not a record folder (no {LABELS} in it); make one with: jaxfacs data build"
        ) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path / LABELS} cannot be read ({error}); build the set again") from error
    if version > schema.FORMAT_VERSION:
        raise UserError(
            f"{path} has record format {version}, this jaxfacs reads up to "
            f"{schema.FORMAT_VERSION}; update jaxfacs or build the set again"
        )
    _check_files(path, card, verify=verify)
    order = [split for split in SPLITS if split in card["splits"]]
    subjects: dict[str, tuple[str, ...]] = {
        split: tuple(card["splits"][split]["subjects"]) for split in order
    }
    refuse_overlap(subjects)
    return RecordSet(
        path=path,
        name=card["name"],
        aus=tuple(card["aus"]),
        emotions=tuple(card["emotions"]),
        size=card["size"],
        frames=card["frames"],
        splits={split: card["splits"][split]["clips"] for split in order},
        subjects=subjects,
        subject_names=tuple(card["subjects"]),
        crop=card["crop"],
        digest=card["digest"],
        card=card,
        attributes=tuple(card.get("attributes", ())),  # sets of an earlier jaxfacs have none
        people=card.get("people", ""),
    )


def _check_files(path: Path, card: Mapping[str, Any], *, verify: bool) -> None:
    if card["digest"] != digest_of(card):
        raise UserError(f"{path / LABELS} was changed by hand; build the set again")
    for split, content in card["splits"].items():
        files = [(s["file"], s["sha256"], s["bytes"]) for s in content["shards"]]
        files.append((f"index-{split}.npz", content["index_sha256"], None))
        for name, sha256, size in files:
            file = path / name
            if not file.exists():
                raise UserError(f"{file} is missing; copy the set again or build it again")
            if size is not None and file.stat().st_size != size:
                raise UserError(
                    f"{file} has {file.stat().st_size} bytes instead of {size}; "
                    "copy the set again or build it again"
                )
            if verify and sha256_of(file) != sha256:
                raise UserError(f"{file} is damaged (sha256 differs); copy the set again")


class ShardSource:
    """The raw records of one split by number; damage is reported with its shard and record.

    Threads may share it. Readers open when they are first used, in whatever process that is.
    Storage that fails in a way that may pass is asked again (`files.retrying`). What it says then
    is a DamagedError, if it can be one record's own fault, else a UserError: storage that is away
    damages no record.
    """

    def __init__(self, folder: Path, shards: Sequence[Mapping[str, Any]]):
        self._files = [folder / shard["file"] for shard in shards]
        self._ends = np.cumsum([shard["clips"] for shard in shards]).tolist()
        self._readers: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, record: int) -> bytes:
        shard, row = self._locate(record)
        place = self.place(record)
        try:
            return retrying(partial(self._read, shard, row), what=f"reading {place}")
        except Exception as error:  # array_record raises bare C++ errors of several types
            what = f", cannot be read ({one_line(error)})"
            if isinstance(error, OSError) and error.errno != errno.EIO:  # EIO: a bad sector
                raise UserError(f"{place}{what}; see whether the storage is there") from error
            raise DamagedError(place, f"{what}; copy the set again or build it again") from error

    def place(self, record: int) -> str:
        """Where a record lies, for messages: "FILE, record K"."""
        shard, row = self._locate(record)
        return f"{self._files[shard]}, record {row}"

    def _locate(self, record: int) -> tuple[int, int]:
        if not 0 <= record < len(self):
            raise IndexError(record)
        shard = bisect.bisect_right(self._ends, record)
        return shard, int(record) - (self._ends[shard - 1] if shard else 0)

    def _read(self, shard: int, row: int) -> bytes:
        try:
            return self._reader(shard).read([row])[0]
        except Exception as error:
            self._readers.pop(shard, None)  # one whose file did not open would never try again
            if failure := _system_error(error):
                raise failure from error
            raise

    def _reader(self, shard: int) -> Any:
        reader = self._readers.get(shard)
        if reader is None:
            from array_record.python.array_record_module import ArrayRecordReader

            with self._lock:
                # Reading ahead and in parallel only helps sequential reading.
                reader = self._readers[shard] = ArrayRecordReader(
                    str(self._files[shard]), "readahead_buffer_size:0,max_parallelism:0"
                )
        return reader

    def __getstate__(self):
        return {"_files": self._files, "_ends": self._ends}

    def __setstate__(self, state):
        self.__dict__.update(state, _readers={}, _lock=threading.Lock())


def _system_error(error: Exception) -> OSError | None:
    """What the system said where array_record has it in words: "pread() failed: Stale file ..."."""
    found = re.search(r"\(\) failed: ([^;]+)", str(error))
    numbers = {os.strerror(number): number for number in errno.errorcode}
    number = numbers.get(found.group(1).strip()) if found else None
    return None if number is None else OSError(number, str(error))
