"""A few numbers of every process, told to all of them without anybody waiting for it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxfacs.runtime.clock import Clock, Interval

SLOW_FACTOR = 3.0  # times the others' wait for data that makes a process a straggler, and
SLOW_SHARE = 0.1  # the share of its time that it must wait, so that trifles are not told


@dataclass(frozen=True)
class Straggler:
    """The process that waited longest for its data.

    Attributes:
      process: its index.
      share: of its time that it waited, 0 to 1.
      others: the median of the other processes' shares.
    """

    process: int
    share: float
    others: float

    @property
    def ratio(self) -> float:
        """Its wait over the others'; waits below 1 % of the time count as 1 %."""
        return max(self.share, 0.01) / max(self.others, 0.01)

    @property
    def is_slow(self) -> bool:
        """Whether the others wait for it, in every step, for a reason that is its own."""
        return self.share >= SLOW_SHARE and self.ratio >= SLOW_FACTOR


class Exchange:
    """Gathers one row of numbers a process, as a computation of its own on the mesh's devices.

    `give` only puts it into the devices' queue, behind the step that was put there last; `read` one
    step later finds it done, so that the devices never run dry. Both must be called by every
    process at the same steps, and every process reads the same. A process that is alone needs no
    device for it.
    """

    def __init__(self, mesh: Mesh):
        owners = [device.process_index for device in mesh.devices.flat]
        self._mine = owners.count(jax.process_index())  # devices of this process
        self._first = [owners.index(process) for process in sorted(set(owners))]  # of each process
        self._sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._gather = jax.jit(
            lambda rows: rows, out_shardings=NamedSharding(mesh, PartitionSpec())
        )

    def give(self, row: Sequence[float]) -> jax.Array | np.ndarray:
        """Starts to gather the rows of all processes; the answer is for `read`."""
        rows = np.tile(np.asarray(row, np.float32), (self._mine, 1))  # one for each device
        if len(self._first) == 1:
            return rows
        return self._gather(jax.make_array_from_process_local_data(self._sharding, rows))

    def read(self, answer: jax.Array | np.ndarray) -> np.ndarray:
        """(processes, numbers) float32, on every process the same."""
        return np.asarray(answer)[self._first]


def slowest(data_P: Sequence[float], step_P: Sequence[float]) -> Straggler | None:
    """Who waited longest for data, of several processes; None if there is one.

    In one program on many devices a step takes as long everywhere as on the slowest, so that the
    time of steps tells nobody apart; what a host does by itself, waiting for its reader, does.

    Args:
      data_P: seconds in which each process waited for batches.
      step_P: seconds of its steps in the same time.
    """
    shares = [d / max(d + s, 1e-9) for d, s in zip(data_P, step_P, strict=True)]
    if len(shares) < 2:
        return None
    worst = max(range(len(shares)), key=shares.__getitem__)
    others = [share for process, share in enumerate(shares) if process != worst]
    return Straggler(worst, shares[worst], statistics.median(others))


@dataclass(frozen=True)
class Round:
    """What all processes know of the last few steps, each the same.

    Attributes:
      save: the first process says that it is time for a checkpoint.
      slowest: None for a process that is alone.
    """

    save: bool
    slowest: Straggler | None


class Rounds:
    """Once in `every` steps all processes tell each other where their time went.

    They begin one step before a multiple of `every`, so that at the multiple all have heard.
    """

    def __init__(self, exchange: Exchange, clock: Clock, *, every: int, save: Interval):
        self._exchange, self._clock, self._every, self._save = exchange, clock, every, save
        self._asked: jax.Array | np.ndarray | None = None
        self._mark = self._measured()

    def after(self, step: int) -> Round | None:
        """To be called once `step` is in the devices' queue; what was heard, if a round ended."""
        answer, self._asked = self._asked, None
        if (step + 1) % self._every == 0:
            now = self._measured()
            data, steps = (new - old for new, old in zip(now, self._mark, strict=True))
            self._mark = now
            self._asked = self._exchange.give((self._save.passed(), data, steps))
        if answer is None:
            return None
        save_P, data_P, step_P = self._exchange.read(answer).T.tolist()
        return Round(save_P[0] > 0, slowest(data_P, step_P))

    def saved(self) -> None:
        """A checkpoint was made: a wish for one that is still under way is met."""
        self._save.restart()
        self._asked = None

    def _measured(self) -> tuple[float, float]:
        seconds = self._clock.seconds
        return seconds.get("data", 0.0), seconds.get("step", 0.0)
