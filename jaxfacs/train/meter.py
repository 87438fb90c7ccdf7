"""The host's side of the numbers: averages over a window, the progress line, the limit of skips."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxfacs.evaluate.sums import Counts
from jaxfacs.runtime.clock import Clock
from jaxfacs.runtime.exchange import Straggler
from jaxfacs.runtime.metrics import MetricWriter
from jaxfacs.train import spikes
from jaxfacs.train.config import Experiment
from jaxfacs.train.flops import utilisation

# What is averaged over the window, with all that begins so; counts (arrays over AUs) are added up
# over it; of all others the last step's number is written.
AVERAGED = ("loss", "grad_norm", "update_ratio")
SLOW_ROUNDS = 3  # of the exchange, after which a straggler is told

Numbers = dict[str, float | np.ndarray]


class TooManySkippedError(Exception):
    """So many steps in a row were skipped that going on is pointless."""


class Meter:
    """Gathers the metrics of single steps into lines of `log_every` steps.

    docs/watching.md says what each number of a line is. `carried` and the same-named argument take
    an unfinished window through a checkpoint, so that a resumed run writes the lines that the
    straight run would have written.

    Args:
      aus: what the counts over AUs are of.
      devices: of all processes.
      flops: of training on one clip, and what one device can do in a second; None: unknown.
    """

    def __init__(
        self,
        writer: MetricWriter,
        clock: Clock,
        *,
        experiment: Experiment,
        aus: Sequence[str],
        devices: int,
        flops: tuple[float, float] | None,
        carried: dict[str, Any] | None,
    ):
        self._writer, self._clock = writer, clock
        self._steps, self._log_every = experiment.steps, experiment.log_every
        self._max_skipped = experiment.max_skipped
        self._batch_size, self._devices = experiment.data.batch_size, devices
        self._aus, self._flops = aus, flops
        carried = carried or {}
        self._sums: Numbers = {
            name: np.asarray(total) if isinstance(total, list) else total
            for name, total in carried.get("sums", {}).items()
        }
        self._count: int = carried.get("count", 0)
        self._mark: tuple[float, float] | None = None  # set by the first step, which compiled
        self._mark_steps = self._bytes = 0
        self._straggler: Straggler | None = None
        self._slow: tuple[int | None, int] = None, 0  # a process, and for how many rounds in a row

    def carried(self) -> dict[str, Any]:
        sums = {name: np.asarray(total).tolist() for name, total in self._sums.items()}
        return {"sums": sums, "count": self._count}

    def fed(self, batch: Mapping[str, jax.Array]) -> None:
        """Counts the bytes of a batch, of all processes together, on their way to the devices."""
        self._bytes += sum(x.nbytes for x in batch.values())

    def heard(self, slowest: Straggler | None) -> None:
        """Takes who waited longest for data in a round; says so of one that keeps others waiting.

        Once, when it has done so for SLOW_ROUNDS in a row: one late batch is nothing to act on.
        """
        self._straggler = slowest
        slow = slowest.process if slowest and slowest.is_slow else None
        last, rounds = self._slow
        self._slow = slow, rounds + 1 if slow == last else 1
        if slowest and slow is not None and self._slow[1] == SLOW_ROUNDS:
            tell(
                f"every step waits for process {slow}, which waits for its data {slowest.share:.0%}"
                f" of its time (the others {slowest.others:.0%}); look at its disk, its CPUs and "
                f"--data.threads (heartbeat/process-{slow}.json names its host)"
            )

    def add(self, step: int, metrics: Numbers) -> None:
        """Takes the numbers of one step; writes and prints when its window is full.

        Raises TooManySkippedError, after writing, when the limit of skipped steps is reached.
        """
        in_row = int(metrics["skipped_in_row"])
        if in_row:
            scalars = {name: float(v) for name, v in metrics.items() if np.ndim(v) == 0}
            self._writer.write(step, "skipped", scalars)
        else:
            self._count += 1
            for name, value in metrics.items():
                if isinstance(value, np.ndarray):
                    self._sums[name] = self._sums.get(name, 0.0) + value.astype(np.float64)
                elif name.startswith(AVERAGED):
                    self._sums[name] = self._sums.get(name, 0.0) + value
        if self._mark is None:
            self._mark = self._measured()
            self._bytes = 0
        else:
            self._mark_steps += 1
        if step % self._log_every == 0 or step == self._steps:
            means = {
                name: total / self._count
                for name, total in self._sums.items()
                if isinstance(total, float)
            }
            last = {name: float(metrics[name]) for name in ("learning_rate", "skipped")}
            speed = self._speed()
            times = self._clock.told()
            line = {**means, **self._occurrence(), **last, **speed, **self._waits(), **times}
            self._writer.write(step, "train", line)
            self._print(step, means.get("loss"), {**speed, "goodput": times["goodput"]})
            self._sums, self._count = {}, 0
        if in_row >= self._max_skipped:
            raise TooManySkippedError(
                f"steps {step - in_row + 1} to {step} {spikes.why(metrics)} and were skipped"
            )

    def _occurrence(self) -> dict[str, float]:
        """F1 at 0.5 and the share of present ones, per AU, over the known labels of the window."""
        names = ("true_positive_A", "false_positive_A", "false_negative_A", "known_A")
        if not all(name in self._sums for name in names):
            return {}
        tp, fp, fn, known = (np.asarray(self._sums[name], np.int64) for name in names)
        counts = Counts(tp, fp, fn, known - tp - fp - fn)
        f1_A, rate_A = counts.f1(), counts.occurrence()
        found = {f"f1_AU{au}": float(v) for au, v in zip(self._aus, f1_A, strict=True)}
        found |= {f"base_rate_AU{au}": float(v) for au, v in zip(self._aus, rate_A, strict=True)}
        return {**found, "mean_f1": _mean(f1_A), "mean_occurrence": _mean(rate_A)}

    def _measured(self) -> tuple[float, float]:
        seconds = self._clock.seconds
        return seconds.get("data", 0.0), seconds.get("step", 0.0)

    def _speed(self) -> dict[str, float]:
        """Of the window, without evaluation, checkpoints and compilation; {} if nothing is left."""
        if self._mark is None or not self._mark_steps:
            return {}
        data, step = (now - then for now, then in zip(self._measured(), self._mark, strict=True))
        seconds = max(data + step, 1e-9)
        clips = self._mark_steps * self._batch_size / seconds
        found = {
            "clips_per_s": clips,
            "clips_per_s_device": clips / self._devices,
            "bytes_per_s": self._bytes / seconds,
            "data_wait": data / seconds,
        }
        if self._flops is not None:
            training, peak = self._flops
            found["mfu"] = utilisation(training, clips / self._devices, peak)
        self._mark, self._mark_steps, self._bytes = self._measured(), 0, 0
        return found

    def _waits(self) -> dict[str, float]:
        """Who of several processes waited longest for data."""
        if self._straggler is None:
            return {}
        worst = self._straggler
        return {
            "data_wait_process": worst.process,
            "data_wait_max": worst.share,
            "data_wait_ratio": worst.ratio,
        }

    def _print(self, step: int, loss: float | None, speed: dict[str, float]) -> None:
        shown = "no finite step" if loss is None else f"loss {loss:.4f}"
        text = f"step {step}/{self._steps}  {shown}"
        if "clips_per_s" in speed:
            left_s = (self._steps - step) * self._batch_size / speed["clips_per_s"]
            hours, minutes = divmod(round(left_s / 60), 60)
            left = f"{hours} h {minutes} min" if hours else f"{left_s / 60:.1f} min"
            mfu = f"  MFU {speed['mfu']:.1%}" if "mfu" in speed else ""
            text += (
                f"  {speed['clips_per_s']:.1f} clips/s ({speed['clips_per_s_device']:.1f} a "
                f"device){mfu}  data wait {speed['data_wait']:.0%}  goodput {speed['goodput']:.0%}"
                f"  left {left}"
            )
        tell(text)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def tell(text: str) -> None:
    """One line to whoever watches, from the first process only."""
    if jax.process_index() == 0:
        print(text, file=sys.stderr, flush=True)
