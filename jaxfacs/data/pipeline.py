"""Batches: batch i is a pure function of (seed, i), whatever the processes, workers and restarts.

The chain is `order → random_map → this process's part of each batch → batch` (grain). Nothing in it
has a state: to resume is to build it again at a step. The parts are taken after the random part,
because that is keyed by the place in the global order. A part is a block, as devices hold blocks of
a batch: so the whole batch, row by row, and with it every dropout mask, is the same on any number
of processes.

The order of one set is `range → shuffle → repeat`. Of several, each set has such an order of its
own, and place i of the stream belongs to the k-th clip of one of them: a count, not a draw, so that
every batch has each set's share to within two clips, and a set begins anew when it is through,
whatever the others do.
"""

import atexit
import bisect
import functools
import itertools
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import grain
import numpy as np

from jaxfacs import facs
from jaxfacs.data.config import DataConfig
from jaxfacs.data.mixture import Mixture, open_data
from jaxfacs.data.projection import Projection, unsided
from jaxfacs.data.records import RecordSet
from jaxfacs.data.rows import Load, Row
from jaxfacs.errors import UserError

Batch = dict[str, np.ndarray]
ENDLESS = 1 << 48  # clips that no run will see the end of


def experiment_aus(config: DataConfig, records: Mixture | RecordSet) -> tuple[str, ...]:
    """The labels of the batches' columns: `config.aus`, or all of the sets with sides joined.

    Raises UserError where a label is no FACS code, with its near ones.
    """
    if not config.aus:
        return unsided(records.aus)
    return tuple(facs.parse_label(label) for label in config.aus)


def train_batches(
    config: DataConfig,
    *,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    records: Mixture | None = None,
) -> Iterator[Batch]:
    """Yields this process's share of batch start_step, start_step + 1, … without end.

    Each has `frames_BTHWC` uint8, `occurrence_BTA` int8, `intensity_BTA` float32 (both −1 unknown),
    and, where `config.flow` asks for it, `flow_BTHWF` float16 in [−1, 1] (`data.flow.stacks`),
    `landmarks_BT682` float32 (x, y) in pixels of the frames shown, the middle of the first at
    (0.5, 0.5), `visible_BT68` int8 (1 where the picture shows a landmark, 0 not, −1 unknown),
    `valence_arousal_BT2` float32 in [−1, 1] (both NaN unknown), `emotion_B` int32
    (place in `Mixture.emotions`, −1 unknown), `weight_B` float32 (the `loss_weight` of the set,
    0 where the record is damaged: see `rows.Load`),
    `set_B` int32 (place in `Mixture.names`), `index_B` int64 (clip, as `Mixture.index` counts),
    `subject_B` int32 (place in `Mixture.persons`) and `start_B` int32 (first frame within the
    record), with B = batch_size / process_count. Process p has the rows p·B to (p + 1)·B of the
    batch.

    Raises:
      UserError: a folder or a record cannot be read (shard and record named; of damaged ones
        `config.max_damaged` are gone on without), the batch does not divide, the label list is
        wrong.
    """
    records = records or open_data(config)
    local = _local_size(config.batch_size, process_index, process_count)
    members = records.members(config.train_split)
    rows = _Rows.of(records, config, config.train_split, records.index(config.train_split))
    order = _order(config, rows.first_P, [records.share(member) for member in members])
    if config.balance or config.balance_subjects:
        order = order.random_map(_Rebalance.of(config, records))
    dataset = order.random_map(rows.random)[start_step * config.batch_size :]
    part = _Part(dataset, local, process_index, process_count)
    return _iterate(part, local, config, records.damaged)


def evaluation_batches(
    config: DataConfig,
    split: str,
    *,
    batch_size: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    records: Mixture | None = None,
    most: int = 0,
) -> Iterator[Batch]:
    """Yields every window of every clip of a split exactly once, in the order of the records.

    Windows of `frames × stride` tile a clip; where the last one runs over its end, its last frame
    is repeated with unknown labels. The last batch is filled up with rows of `weight_B` 0 (all
    others have 1, whatever their set), so that shapes never change and every process gets the same
    number of batches. Windows that show something of a damaged record have 0 as well; at the end
    their number is told. Keys as in `train_batches`. `batch_size` is global; 0:
    `config.batch_size`. `most`: so many windows at most, evenly over the split; 0: all.
    """
    records = records or open_data(config)
    batch_size = batch_size or config.batch_size
    local = _local_size(batch_size, process_index, process_count)
    index = records.index(split)
    windows = [
        (record, start)
        for record, length in enumerate(index["length_N"])
        for start in range(0, int(length), config.frames * config.stride)
    ]
    if 0 < most < len(windows):
        windows = [windows[i * len(windows) // most] for i in range(most)]
    windows += [(-1, 0)] * (-len(windows) % batch_size)
    rows = _Rows.of(records, config, split, index, training=False)
    dataset = grain.MapDataset.source(windows).map(rows.window)
    part = _Part(dataset, local, process_index, process_count)
    return _iterate(part, local, config, records.damaged, told=f"the measures on {split}")


def _local_size(batch_size: int, process_index: int, process_count: int) -> int:
    if batch_size % process_count:
        raise UserError(
            f"batch size {batch_size} does not divide over {process_count} processes; "
            f"take {-(-batch_size // process_count) * process_count}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"process {process_index} of {process_count}")
    return batch_size // process_count


class _Part(grain.MapDataset):
    """A process's rows of every batch: a block of `local` out of each `count * local`."""

    def __init__(self, rows: grain.MapDataset, local: int, process_index: int, process_count: int):
        super().__init__(rows)
        self._local, self._index, self._count = local, process_index, process_count

    def __len__(self) -> int:
        return len(self._parent) // self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.slice(index)
        batch, row = divmod(index, self._local)
        return self._parent[(batch * self._count + self._index) * self._local + row]


# key of one row -> key of a batch
BATCH_KEYS = {
    "frames": "frames_BTHWC",
    "flow": "flow_BTHWF",
    "occurrence": "occurrence_BTA",
    "intensity": "intensity_BTA",
    "landmarks": "landmarks_BT682",
    "visible": "visible_BT68",
    "valence_arousal": "valence_arousal_BT2",
    "emotion": "emotion_B",
    "weight": "weight_B",
    "set": "set_B",
    "index": "index_B",
    "subject": "subject_B",
    "start": "start_B",
}


def _iterate(
    rows: grain.MapDataset, local: int, config: DataConfig, damaged: set[str], *, told: str = ""
) -> Iterator[Batch]:
    """Batches of `local` rows.

    Args:
      damaged: see `Mixture.damaged`.
      told: at the end, with the number of damaged rows: what they are left out of.
    """
    # cv2 would start its own threads inside each of ours.
    cv2.setNumThreads(1)
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.threads + 1)
    batches = rows.batch(local).to_iter_dataset(options)
    if config.workers:
        from absl import flags

        flags.FLAGS.mark_as_parsed()  # grain reads a flag, and we are not an absl application
        options = grain.MultiprocessingOptions(num_workers=config.workers)
        batches = batches.mp_prefetch(options, worker_init_fn=_end_with_parent)
    generator = _yield_batches(iter(batches), config, damaged, told)
    _OPEN.add(generator)
    return generator


def _end_with_parent(*numbers: int) -> None:
    """In a worker: one whose parent was killed would wait for it for ever."""
    del numbers
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _yield_batches(
    iterator: grain.DatasetIterator, config: DataConfig, damaged: set[str], told: str
) -> Iterator[Batch]:
    """Renames the keys, counts damage, and ends the threads and workers with the generator.

    Workers answer in shared memory, which complains when it outlives them, so it is copied out.
    """
    copy, left_out = config.workers > 0, 0
    try:
        for batch in iterator:
            for message in filter(None, batch.pop("damage").tolist()):
                _count(message.decode(errors="replace"), damaged, config.max_damaged)
                left_out += 1
            yield {
                BATCH_KEYS[key]: np.array(value) if copy else value for key, value in batch.items()
            }
        if told and left_out:
            _tell(f"{left_out} windows that show damaged records are left out of {told}")
    finally:
        iterator.close()


def _count(message: str, damaged: set[str], most: int) -> None:
    """Names a damaged record, once. Raises UserError where there are more than `most`."""
    place, _, what = message.partition("\n")
    if place in damaged:
        return
    if len(damaged) >= most:
        raise UserError(f"{place}{what}; data.max_damaged allows for {most} damaged records")
    damaged.add(place)
    _tell(f"{place}{what}; goes on without it, damaged record {len(damaged)} of at most {most}")


def _tell(text: str) -> None:
    """Of this process: each reads records of its own."""
    print(text, file=sys.stderr, flush=True)


# Python frees modules at exit before iterators that nobody closed, whose threads then complain.
_OPEN: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for generator in list(_OPEN):
        generator.close()


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of batches by the number of a clip over all sets; worker processes get a copy.

    Attributes:
      loads: one a member of the split.
      first_P: the number of its first clip.
      set_P: its place in the mixture.
      weight_P: what its clips count for.
      emotions_P: the joined place of each of its emotions, −1 at the end.
    """

    loads: tuple[Load, ...]
    first_P: tuple[int, ...]
    set_P: tuple[int, ...]
    weight_P: tuple[float, ...]
    emotions_P: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls,
        records: Mixture,
        config: DataConfig,
        split: str,
        index: Mapping[str, np.ndarray],
        *,
        training: bool = True,
    ) -> "_Rows":
        aus, members = experiment_aus(config, records), records.members(split)
        first_P = tuple(np.cumsum([0, *(m.clips for m in members)]).tolist())
        loads = tuple(
            Load(
                source=member.records.source(member.split),
                num_aus=len(member.records.aus),
                subject_N=index["subject_N"][first:end],
                straight=Projection.between(member.records.aus, aus),
                flipped=Projection.between(member.records.aus, aus, flipped=training),
                config=config,
            )
            for member, (first, end) in zip(members, itertools.pairwise(first_P), strict=True)
        )
        return cls(
            loads=loads,
            first_P=first_P,
            set_P=tuple(member.place for member in members),
            weight_P=tuple(m.part.loss_weight if training else 1.0 for m in members),
            emotions_P=tuple(records.emotion_places(member.records) for member in members),
        )

    def random(self, record: int, rng: np.random.Generator) -> Row:
        place, own = self._locate(record)
        return self._joined(place, record, self.loads[place].random(own, rng))

    def window(self, window: tuple[int, int]) -> Row:
        record, start = window
        if record < 0:  # padding
            return {**self.loads[0].window(window), "set": np.int32(0)}
        place, own = self._locate(record)
        return self._joined(place, record, self.loads[place].window((own, start)))

    def _locate(self, record: int) -> tuple[int, int]:
        """(member, number of the clip in it)."""
        place = bisect.bisect_right(self.first_P, record) - 1
        return place, record - self.first_P[place]

    def _joined(self, place: int, record: int, row: Row) -> Row:
        """A set's own row in the terms of all sets."""
        return {
            **row,
            "emotion": self.emotions_P[place][int(row["emotion"])],
            "weight": np.float32(float(row["weight"]) * self.weight_P[place]),
            "set": np.int32(self.set_P[place]),
            "index": np.int64(record),
        }


def _order(
    config: DataConfig, first_P: Sequence[int], share_P: Sequence[float]
) -> grain.MapDataset:
    """The numbers of the clips to be shown, without end.

    Args:
      config: its seed and batch size.
      first_P: number of each set's first clip, and after the last the number of all.
      share_P: of the stream that each set has; they add up to 1.
    """
    if len(share_P) == 1:
        clips = int(first_P[1])
        # Not `repeat(None)`: its length in batches of one is more than Python's `len` can say.
        endless = max(1, ENDLESS // clips)
        return grain.MapDataset.range(clips).seed(config.seed).shuffle().repeat(endless)
    rest_P = np.cumsum(share_P[::-1])[::-1]
    ratios = (np.asarray(share_P) / rest_P).tolist()
    take = _Interleave(config.seed, config.batch_size, tuple(first_P), (*ratios[:-1], 1.0))
    return grain.MapDataset.range(ENDLESS).seed(config.seed).map(take)


@dataclass(frozen=True)
class _Interleave:
    """From a place in the stream to a clip: the sets take turns in proportion to their shares.

    Of the first i places floor(r i) are the first set's, with r its share; the others are dealt
    out to the sets after it in the same way, by their shares of the rest. Each count grows by 0 or
    1 from place to place, so every clip of every round of every set is met once.

    Attributes:
      seed: of the orders.
      batch_size: the places of each batch are shuffled. Without it one process of two, or one
        micro-batch, would have all of a set that takes every second place.
      first_P: number of each set's first clip, and after the last the number of all.
      ratio_P: each set's share of what those before it leave; the last has 1.
    """

    seed: int
    batch_size: int
    first_P: tuple[int, ...]
    ratio_P: tuple[float, ...]

    def __call__(self, place: int) -> int:
        batch, within = divmod(place, self.batch_size)
        place = batch * self.batch_size + int(_places(self.seed, batch, self.batch_size)[within])
        for p, ratio in enumerate(self.ratio_P):
            before, after = int(ratio * place), int(ratio * (place + 1))
            if after > before:
                clips = self.first_P[p + 1] - self.first_P[p]
                turn, number = divmod(before, clips)
                return self.first_P[p] + int(_round(self.seed, p, turn, clips)[number])
            place -= before
        raise AssertionError("the last set takes what is left")


# Whole permutations, kept while they are in use. grain's own shuffle takes an index without them,
# but 0.05 ms for one of 600 clips and 3 ms for one of 8, as it walks through all of 16 bits.
@functools.lru_cache(maxsize=16)
def _places(seed: int, batch: int, batch_size: int) -> np.ndarray:
    return np.random.default_rng((seed, 0, batch)).permutation(batch_size)


@functools.lru_cache(maxsize=32)
def _round(seed: int, part: int, turn: int, clips: int) -> np.ndarray:
    order = np.arange(clips, dtype=np.int32)
    return np.random.default_rng((seed, 1 + part, turn)).permutation(order)


@dataclass(frozen=True, eq=False)
class _Rebalance:
    """Now and then puts another clip of the same set in the place of the one in turn.

    Attributes:
      table: (until, cumulative_N): where a draw in [0, 1) is below `until`, and not below that of
        the one before, the clip is drawn by the weights of `cumulative_N`. These are sums over the
        clips of each set, divided so that set p's go from p to p + 1.
      first_P: number of each set's first clip, and after the last the number of all.
    """

    table: tuple[tuple[float, np.ndarray], ...]
    first_P: tuple[int, ...]

    @classmethod
    def of(cls, config: DataConfig, records: Mixture) -> "_Rebalance":
        members = records.members(config.train_split)
        first_P = tuple(np.cumsum([0, *(m.clips for m in members)]).tolist())

        def cumulative(weight_N: np.ndarray) -> np.ndarray:
            sums = [np.cumsum(weight_N[a:b]) for a, b in itertools.pairwise(first_P)]
            return np.concatenate([p + each / each[-1] for p, each in enumerate(sums)])

        table = []
        if config.balance:
            table.append((config.balance, cumulative(_rarity(config, records))))
        if config.balance_subjects:
            until = config.balance + config.balance_subjects
            table.append((until, cumulative(_by_subject(config, records))))
        return cls(tuple(table), first_P)

    def __call__(self, record: int, rng: np.random.Generator) -> int:
        replace, where = rng.random(2)
        for until, cumulative_N in self.table:
            if replace < until:
                place = bisect.bisect_right(self.first_P, record) - 1
                drawn = int(np.searchsorted(cumulative_N, place + where, side="right"))
                return min(drawn, self.first_P[place + 1] - 1)  # place + where may round up
        return record


def _rarity(config: DataConfig, records: Mixture) -> np.ndarray:
    """Weight of each training clip: it weighs as much as its rarest AU is rare.

    The weight of an AU is the inverse of its share of the clips that are shown, so that drawing by
    weight alone shows AUs about equally often. Clips without any AU weigh like the commonest one.
    """
    aus = experiment_aus(config, records)
    if not aus:
        raise UserError("data.balance draws clips by their AUs, and these records have none")
    shown, drawn_A = [], np.zeros(len(aus))
    for member in records.members(config.train_split):
        length_N = member.records.index(member.split)["length_N"]
        present_FA = member.records.occurrence(member.split, aus=aus) == 1
        shown.append(np.logical_or.reduceat(present_FA, np.cumsum(length_N) - length_N, axis=0))
        drawn_A += records.share(member) * shown[-1].mean(0)
    shown_NA = np.concatenate(shown)
    safe_A = np.where(drawn_A > 0, drawn_A, 1.0)
    floor = 1 / drawn_A.max() if drawn_A.any() else 1.0
    return np.maximum(np.where(shown_NA, 1 / safe_A, 0).max(1), floor)


def _by_subject(config: DataConfig, records: Mixture) -> np.ndarray:
    """Weight of each training clip: one over the clips of its subject in its set."""
    index = records.index(config.train_split)
    nobody = np.array([name == "" for _, name in records.persons])[index["subject_N"]]
    pairs = np.stack([index["set_N"], index["subject_N"]])
    _, inverse_N, count = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    return np.where(nobody, 1.0, 1 / count[inverse_N.reshape(-1)])
