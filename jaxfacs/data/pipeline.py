"""Batches: batch i is a pure function of (seed, i), whatever the processes, workers and restarts.

The chain is `source → seed → shuffle → repeat → random_map → [start·B + process :: count] → batch`
(grain). Nothing in it has a state: to resume is to build it again at a step. The slice comes after
the random part, because that part is keyed by the place in the global order. Only the order inside
a batch depends on the number of processes.
"""

import atexit
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import grain
import numpy as np

from jaxfacs import facs
from jaxfacs.data.config import DataConfig
from jaxfacs.data.projection import Projection, unsided
from jaxfacs.data.records import RecordSet, open_set
from jaxfacs.data.rows import Load
from jaxfacs.errors import UserError

Batch = dict[str, np.ndarray]


def experiment_aus(config: DataConfig, records: RecordSet) -> tuple[str, ...]:
    """The labels of the batches' columns: `config.aus`, or all of the set with sides joined.

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
    records: RecordSet | None = None,
) -> Iterator[Batch]:
    """Yields this process's share of batch start_step, start_step + 1, … without end.

    Each has `frames_BTHWC` uint8, `occurrence_BTA` int8, `intensity_BTA` float32 (both −1 unknown),
    `landmarks_BT682` float32 (x, y) in pixels of the frames shown, the middle of the first at
    (0.5, 0.5), `valence_arousal_BT2` float32 in [−1, 1] (both NaN unknown), `emotion_B` int32
    (−1 unknown), `weight_B` float32 (1), `index_B` int64 (record), `subject_B` int32 (place in
    `RecordSet.subject_names`) and `start_B` int32 (first frame within the record), with
    B = batch_size / process_count. Rows of process p are the rows p, p + count, … of the batch.

    Raises:
      UserError: the folder or a record cannot be read (shard and record named), the batch does not
        divide, the label list is wrong.
    """
    records = records or open_set(config.source)
    local = _local_size(config.batch_size, process_index, process_count)
    source = records.source(config.train_split)
    load = Load(
        source=source,
        num_aus=len(records.aus),
        subject_N=records.index(config.train_split)["subject_N"],
        straight=Projection.between(records.aus, experiment_aus(config, records)),
        flipped=Projection.between(records.aus, experiment_aus(config, records), flipped=True),
        config=config,
    )
    order = grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat(None)
    if config.balance:
        order = order.random_map(_Rebalance(config.balance, _rarity(config, records)))
    dataset = order.random_map(load.random)
    first = start_step * config.batch_size + process_index
    return _iterate(dataset[first::process_count], local, config)


def evaluation_batches(
    config: DataConfig,
    split: str,
    *,
    batch_size: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    records: RecordSet | None = None,
) -> Iterator[Batch]:
    """Yields every window of every clip of a split exactly once, in the order of the records.

    Windows of `frames × stride` tile a clip; where the last one runs over its end, its last frame
    is repeated with unknown labels. The last batch is filled up with rows of `weight_B` 0, so that
    shapes never change and every process gets the same number of batches. Keys as in
    `train_batches`. `batch_size` is global; 0: `config.batch_size`.
    """
    records = records or open_set(config.source)
    batch_size = batch_size or config.batch_size
    local = _local_size(batch_size, process_index, process_count)
    index = records.index(split)
    windows = [
        (record, start)
        for record, length in enumerate(index["length_N"])
        for start in range(0, int(length), config.frames * config.stride)
    ]
    windows += [(-1, 0)] * (-len(windows) % batch_size)
    aus = experiment_aus(config, records)
    load = Load(
        source=records.source(split),
        num_aus=len(records.aus),
        subject_N=index["subject_N"],
        straight=Projection.between(records.aus, aus),
        flipped=Projection.between(records.aus, aus),
        config=config,
    )
    dataset = grain.MapDataset.source(windows[process_index::process_count]).map(load.window)
    return _iterate(dataset, local, config)


def _local_size(batch_size: int, process_index: int, process_count: int) -> int:
    if batch_size % process_count:
        raise UserError(
            f"batch size {batch_size} does not divide over {process_count} processes; "
            f"take {-(-batch_size // process_count) * process_count}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"process {process_index} of {process_count}")
    return batch_size // process_count


# key of one row -> key of a batch
BATCH_KEYS = {
    "frames": "frames_BTHWC",
    "occurrence": "occurrence_BTA",
    "intensity": "intensity_BTA",
    "landmarks": "landmarks_BT682",
    "valence_arousal": "valence_arousal_BT2",
    "emotion": "emotion_B",
    "weight": "weight_B",
    "index": "index_B",
    "subject": "subject_B",
    "start": "start_B",
}


def _iterate(rows: grain.MapDataset, local: int, config: DataConfig) -> Iterator[Batch]:
    # cv2 would start its own threads inside each of ours.
    cv2.setNumThreads(1)
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.threads + 1)
    batches = rows.batch(local).to_iter_dataset(options)
    if config.workers:
        from absl import flags

        flags.FLAGS.mark_as_parsed()  # grain reads a flag, and we are not an absl application
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=config.workers))
    generator = _yield_batches(iter(batches), copy=config.workers > 0)
    _OPEN.add(generator)
    return generator


def _yield_batches(iterator: grain.DatasetIterator, *, copy: bool) -> Iterator[Batch]:
    """Renames the keys and ends the threads and workers with the generator.

    Workers answer in shared memory, which complains when it outlives them: `copy` takes it out.
    """
    try:
        for batch in iterator:
            yield {
                BATCH_KEYS[key]: np.array(value) if copy else value for key, value in batch.items()
            }
    finally:
        iterator.close()


# Python frees modules at exit before iterators that nobody closed, whose threads then complain.
_OPEN: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for generator in list(_OPEN):
        generator.close()


@dataclass(frozen=True, eq=False)
class _Rebalance:
    """With probability `share` puts a record drawn by weight in the place of the one in turn."""

    share: float
    cumulative_N: np.ndarray

    def __call__(self, record: int, rng: np.random.Generator) -> int:
        replace, where = rng.random(2)
        if replace >= self.share:
            return record
        return int(np.searchsorted(self.cumulative_N, where, side="right"))


def _rarity(config: DataConfig, records: RecordSet) -> np.ndarray:
    """Cumulative drawing probabilities: a clip weighs as much as its rarest AU is rare.

    The weight of an AU is the inverse of the number of clips that show it, so that drawing by
    weight alone shows AUs about equally often. Clips without any AU weigh like the commonest one.
    """
    if not experiment_aus(config, records):
        raise UserError("data.balance draws clips by their AUs, and these records have none")
    index = records.index(config.train_split)
    projection = Projection.between(records.aus, experiment_aus(config, records))
    present_FA = projection.occurrence(index["occurrence_FA"]) == 1
    first_N = np.cumsum(index["length_N"]) - index["length_N"]
    shown_NA = np.logical_or.reduceat(present_FA, first_N, axis=0)
    clips_A = np.maximum(shown_NA.sum(0), 1)
    floor = 1 / clips_A.max()
    weight_N = np.maximum(np.where(shown_NA, 1 / clips_A, 0).max(1), floor)
    cumulative_N = np.cumsum(weight_N)
    return cumulative_N / cumulative_N[-1]
