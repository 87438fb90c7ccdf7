"""From a delivery to a record set: planned in shards, built shard by shard, whole or not there.

The plan depends on the delivery and the options alone, and each shard on its own recordings: so a
build that was killed goes on behind its last finished shard, Beam may build shards anywhere, and
all ways give the same bytes.
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxfacs import __version__
from jaxfacs.data import writer
from jaxfacs.data.cutting import Cut, Cutter
from jaxfacs.data.delivery import (
    REASONS,
    Delivery,
    LeftOut,
    Pixels,
    Recording,
)
from jaxfacs.data.parallel import ordered_map
from jaxfacs.errors import UserError
from jaxfacs.files import replacing
from jaxfacs.progress import track

PLAN = "plan.json"
FEW_FRAMES = 200
PROBE_FRAMES = 8  # of the first recordings, to know how large a frame becomes
LACKING = 0.2  # a delivery that lacks more than this share of its pictures was half copied


@dataclass(frozen=True, eq=False)
class Shard:
    """One file of records to be: its split, its number within it, and the recordings it holds."""

    split: str
    number: int
    recordings: Sequence[Recording]

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}"


@dataclass(eq=False)
class Made:
    """What a build did, beyond what the records themselves say.

    Attributes:
      left_out: every row of skipped.csv.
      not_found: split -> subject -> frames kept without a found face.
      pixel_mean_3, pixel_std_3: of the training crops, in grey levels of 255, by colour.
      seconds: of work by stage, over all processes, of the shards built in this call.
      frames: built in this call.
    """

    left_out: list[LeftOut] = field(default_factory=list)
    not_found: dict[str, dict[str, int]] = field(default_factory=dict)
    pixel_mean_3: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    pixel_std_3: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: int = 0

    @property
    def statistics(self) -> dict[str, Any]:
        """Entries of labels.json."""
        pixels = {"pixel_mean": self.pixel_mean_3, "pixel_std": self.pixel_std_3}
        return {
            name: [None if np.isnan(v) else round(float(v), 4) for v in value_3]
            for name, value_3 in pixels.items()
        } | {"faces_not_found": self.not_found}


def plan(
    split_of: Mapping[str, str],
    recordings: Sequence[Recording],
    *,
    frame_bytes: float,
    shard_bytes: int,
) -> list[Shard]:
    """The shards of a set, in order: by split, then in the order of the delivery.

    Args:
      split_of: recording -> split.
      recordings: in order.
      frame_bytes: how large a frame becomes, about.
      shard_bytes: aim.
    """
    shards: list[Shard] = []
    for split in writer.SPLITS:
        group: list[Recording] = []
        size, number = 0.0, 0
        for recording in recordings:
            if split_of[recording.name] != split:
                continue
            length = len(recording.frames) * frame_bytes
            # Nearest to the aim: a recording is never cut, as neighbours are needed for flow.
            if group and size + length / 2 > shard_bytes:
                shards.append(Shard(split, number, group))
                group, size, number = [], 0.0, number + 1
            group.append(recording)
            size += length
        if group:
            shards.append(Shard(split, number, group))
    return shards


def frame_bytes(recordings: Sequence[Recording], cutter: Cutter) -> float:
    """How large a frame becomes, measured on the beginning of the first recordings."""
    total = frames = 0
    for recording in recordings[:3]:
        cut = cutter(first_frames(recording, PROBE_FRAMES))
        for clip in cut.clips:
            pictures = [*clip.frames, *(clip.flow or ())]
            total += sum(map(len, pictures))
            frames += len(clip.frames)
    return total / frames if frames else 0.4 * cutter.settings.steps.size**2


def first_frames(recording: Recording, count: int) -> Recording:
    """The recording's first `count` frames."""
    changed: dict[str, Any] = {}
    for item in dataclasses.fields(recording):
        value = getattr(recording, item.name)
        if isinstance(value, np.ndarray):
            changed[item.name] = value[:count]
    changed["frames"] = recording.frames.first(count)
    return dataclasses.replace(recording, **changed)


def fingerprint(shards: Sequence[Shard], info: writer.SetInfo, *inputs: str) -> str:
    """sha256 of all that decides the bytes: options, labels, and digests of what is read."""
    digest = hashlib.sha256()
    digest.update(json.dumps(dataclasses.asdict(info), sort_keys=True, default=str).encode())
    digest.update(repr((inputs, __version__)).encode())
    for shard in shards:
        digest.update(shard.name.encode())
        for recording in shard.recordings:
            for item in dataclasses.fields(recording):
                value = getattr(recording, item.name)
                if isinstance(value, np.ndarray):
                    digest.update(value.tobytes())
                elif isinstance(value, Pixels):
                    digest.update(b"".join(frame.tobytes() for frame in value.frames))
                else:
                    digest.update(repr(value).encode())
    return digest.hexdigest()


def build_shards(
    folder: Path,
    shards: Sequence[Shard],
    info: writer.SetInfo,
    cutter: Callable[[Recording], Cut],
    *,
    workers: int,
    few_frames: int | None = None,
) -> None:
    """Builds those shards that `folder` does not hold yet, with processes of this machine.

    Fewer than `few_frames` (FEW_FRAMES) frames are worked on here: to start processes takes longer.
    """
    few = FEW_FRAMES if few_frames is None else few_frames
    wanted = [shard for shard in shards if load(folder, shard, info) is None]
    recordings = [recording for shard in wanted for recording in shard.recordings]
    if len(wanted) < len(shards):
        print(f"going on: {len(shards) - len(wanted)} of {len(shards)} shards are there already")
    with contextlib.closing(_work(cutter, recordings, workers, few)) as work:
        pairs = track(
            zip(recordings, work, strict=True),
            label="building",
            total=sum(len(recording.frames) for recording in recordings),
            unit="frame",
            amount=lambda pair: len(pair[0].frames),
        )
        for shard in wanted:
            build_shard(folder, shard, info, (next(pairs)[1] for _ in shard.recordings))
        next(pairs, None)  # lets the progress say that it is done


def _work(
    cutter: Callable[[Recording], Cut], recordings: Sequence[Recording], workers: int, few: int
) -> Generator[Cut, None, None]:
    if sum(len(recording.frames) for recording in recordings) >= few:
        yield from ordered_map(cutter, recordings, workers=workers)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in the processes, so that the bytes are theirs
    try:
        yield from map(cutter, recordings)
    finally:
        cv2.setNumThreads(threads)


def build_shard(folder: Path, shard: Shard, info: writer.SetInfo, cuts: Iterator[Cut]) -> None:
    """Writes one shard and, once it is on disk, what is known of it."""
    part = writer.Part(folder / f"{shard.name}.part", info)
    part.path.unlink(missing_ok=True)
    left_out: list[LeftOut] = []
    not_found: Counter = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    sums_23, pixels = np.zeros((2, 3), np.int64), 0
    for recording, cut in zip(shard.recordings, cuts, strict=True):
        for clip in cut.clips:
            part.add(clip)
        left_out += cut.left_out
        not_found[recording.subject] += cut.not_found
        for stage, spent in cut.seconds.items():
            seconds[stage] += spent
        sums_23 += np.stack([cut.pixel_sum_3, cut.pixel_square_3])
        pixels += cut.pixels
    part.close()
    told = {
        "left_out": [dataclasses.astuple(row) for row in left_out],
        "not_found": {subject: n for subject, n in not_found.items() if n},
        "seconds": seconds,
    }
    part.save(
        folder / f"{shard.name}.npz",
        told=np.array(json.dumps(told)),
        pixel_sums_23=sums_23,
        pixels=np.int64(pixels),
    )


def load(
    folder: Path, shard: Shard, info: writer.SetInfo
) -> tuple[writer.Part, Mapping[str, np.ndarray]] | None:
    """A finished shard and what was told of it; None where it is not there, or not whole."""
    path = folder / f"{shard.name}.npz"
    try:
        with np.load(path) as file:
            saved = dict(file)
        part = writer.Part.load(folder / f"{shard.name}.part", info, saved)
    except Exception:  # absent, cut short or damaged in any way: it is built again
        return None
    return None if part is None else (part, saved)


@contextlib.contextmanager
def claimed(out: Path, mark: str) -> Iterator[Path]:
    """OUT.incomplete for one build at a time; keeps what the same build left there.

    What is raised leaves the finished shards for the next try, which the message says.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another --out or remove it")
    partial = out.with_name(out.name + ".incomplete")
    lock = writer.claim(partial)
    try:
        if not (partial / PLAN).is_file() or (partial / PLAN).read_text() != mark:
            writer.clear(partial)
            with replacing(partial / PLAN) as temporary:
                temporary.write_text(mark)
        yield partial
        for name in ("lock", PLAN):
            (partial / name).unlink()
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    except BaseException as error:
        kept = any(partial.glob("*.npz"))
        if not kept:
            shutil.rmtree(partial, ignore_errors=True)
        if writer.is_disk_full(error):
            hint = "what is finished is kept; give the same command again" if kept else ""
            raise UserError(
                f"the disk of {out.parent} is full; free some space, or choose another --out"
                f"{hint and f' ({hint})'}"
            ) from error
        raise
    finally:
        lock.close()


def collect(
    folder: Path, shards: Sequence[Shard], info: writer.SetInfo
) -> tuple[dict[str, list[writer.Part]], Made]:
    """All finished shards of a set by split, and what was told of them."""
    parts: dict[str, list[writer.Part]] = {}
    made = Made()
    sums_23, pixels = np.zeros((2, 3), np.int64), 0
    for shard in shards:
        found = load(folder, shard, info)
        if found is None:
            raise UserError(f"shard {shard.name} was not built; give the same command again")
        part, saved = found
        parts.setdefault(shard.split, []).append(part)
        told = json.loads(str(saved["told"]))
        made.left_out += [LeftOut(*row) for row in told["left_out"]]
        lost = made.not_found.setdefault(shard.split, {})
        for subject, count in told["not_found"].items():
            lost[subject] = lost.get(subject, 0) + count
        for stage, spent in told["seconds"].items():
            made.seconds[stage] += spent
        made.frames += sum(row[0] for row in part.rows)
        if shard.split == "train":
            sums_23 += saved["pixel_sums_23"]
            pixels += int(saved["pixels"])
        (folder / f"{shard.name}.npz").unlink()
    if pixels:
        made.pixel_mean_3 = sums_23[0] / pixels
        made.pixel_std_3 = np.sqrt(np.maximum(sums_23[1] / pixels - made.pixel_mean_3**2, 0))
    return parts, made


def write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    """skipped.csv: a row for each thing that labels name and the records lack."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("file", "line", "path", "frame", "reason"))
        for row in left_out:
            line, frame = ("" if v is None else v for v in (row.line, row.frame))
            out.writerow((row.file, line, row.path, frame, row.reason))


def summary(left_out: Sequence[LeftOut]) -> str:
    """How many frames or rows were left out for which reason, in one line."""
    counts = Counter(row.reason.split(":")[0] for row in left_out)
    return ", ".join(
        f"{n} × {reason}" + (f" ({REASONS[reason]})" if reason in REASONS else "")
        for reason, n in counts.most_common()
    )


def require_pictures(source: Path, delivery: Delivery, *, may_lack: bool) -> None:
    """Raises UserError where too many of the named pictures or films are not there."""
    missing: list[str] = []
    total = 0
    for recording in delivery.recordings:
        names = sorted(set(recording.frames.files))
        total += len(names)
        missing += [name for name in names if not (source / name).is_file()]
    lacking = len(missing) / total if total else 0.0
    if total and (len(missing) == total or (lacking > LACKING and not may_lack)):
        raise UserError(
            f"{len(missing)} of {total} pictures or films that the labels name are not in {source}"
            f" (the first: {missing[0]}); copy the rest, or build without them: --may-lack"
        )


def digest_of_inputs(source: Path, delivery: Delivery) -> str:
    """sha256 over the label files, and names and sizes of the pictures and films."""
    digest = hashlib.sha256()
    for path in sorted(delivery.inputs):
        digest.update(path.name.encode() + bytes.fromhex(writer.sha256_of(path)))
    for recording in delivery.recordings:
        for name in recording.frames.files:
            path = source / name
            size = path.stat().st_size if path.is_file() else -1
            digest.update(f"{name} {size}\n".encode())
    return digest.hexdigest()
