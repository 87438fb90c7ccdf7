"""The host's side of the numbers: averages over a window, the progress line, the limit of skips."""

import sys
from typing import Any

import jax

from jaxfacs.runtime.clock import Clock
from jaxfacs.runtime.metrics import MetricWriter
from jaxfacs.train.config import Experiment

AVERAGED = ("loss", "grad_norm")  # and every loss_*; the others are the last step's


class TooManySkippedError(Exception):
    """So many steps in a row were not finite that going on is pointless."""


class Meter:
    """Gathers the metrics of single steps into lines of `log_every` steps.

    `carried` and the same-named argument take an unfinished window through a checkpoint, so that a
    resumed run writes the lines that the straight run would have written.
    """

    def __init__(
        self,
        writer: MetricWriter,
        clock: Clock,
        *,
        experiment: Experiment,
        devices: int,
        carried: dict[str, Any] | None,
    ):
        self._writer, self._clock = writer, clock
        self._steps, self._log_every = experiment.steps, experiment.log_every
        self._max_skipped = experiment.max_skipped
        self._batch_size, self._devices = experiment.data.batch_size, devices
        carried = carried or {}
        self._sums: dict[str, float] = dict(carried.get("sums", {}))
        self._count: int = carried.get("count", 0)
        self._mark: tuple[float, float] | None = None  # set by the first step, which compiled
        self._mark_steps = 0

    def carried(self) -> dict[str, Any]:
        return {"sums": self._sums, "count": self._count}

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Takes the numbers of one step; writes and prints when its window is full.

        Raises TooManySkippedError, after writing, when the limit of skipped steps is reached.
        """
        in_row = int(metrics["skipped_in_row"])
        if in_row:
            self._writer.write(step, "skipped", metrics)
        else:
            self._count += 1
            for name, value in metrics.items():
                if name in AVERAGED or name.startswith("loss_"):
                    self._sums[name] = self._sums.get(name, 0.0) + value
        if self._mark is None:
            self._mark = self._measured()
        else:
            self._mark_steps += 1
        if step % self._log_every == 0 or step == self._steps:
            means = {name: total / self._count for name, total in self._sums.items()}
            last = {name: metrics[name] for name in ("learning_rate", "skipped")}
            speed = self._speed()
            self._writer.write(step, "train", {**means, **last, **speed})
            self._print(step, means.get("loss"), speed)
            self._sums, self._count = {}, 0
        if in_row >= self._max_skipped:
            raise TooManySkippedError(
                f"steps {step - in_row + 1} to {step} were not finite and were skipped"
            )

    def _measured(self) -> tuple[float, float]:
        seconds = self._clock.seconds
        return seconds.get("data", 0.0), seconds.get("step", 0.0)

    def _speed(self) -> dict[str, float]:
        """Of the window, without evaluation, checkpoints and compilation; {} if nothing is left."""
        if self._mark is None or not self._mark_steps:
            return {}
        data, step = (now - then for now, then in zip(self._measured(), self._mark, strict=True))
        clips = self._mark_steps * self._batch_size / max(data + step, 1e-9)
        self._mark, self._mark_steps = self._measured(), 0
        return {
            "clips_per_s": clips,
            "clips_per_s_device": clips / self._devices,
            "data_wait": data / max(data + step, 1e-9),
        }

    def _print(self, step: int, loss: float | None, speed: dict[str, float]) -> None:
        shown = "no finite step" if loss is None else f"loss {loss:.4f}"
        text = f"step {step}/{self._steps}  {shown}"
        if speed:
            left_s = (self._steps - step) * self._batch_size / speed["clips_per_s"]
            hours, minutes = divmod(round(left_s / 60), 60)
            left = f"{hours} h {minutes} min" if hours else f"{left_s / 60:.1f} min"
            text += (
                f"  {speed['clips_per_s']:.1f} clips/s ({speed['clips_per_s_device']:.1f} a "
                f"device)  data wait {speed['data_wait']:.0%}  left {left}"
            )
        tell(text)


def tell(text: str) -> None:
    """One line to whoever watches, from the first process only."""
    if jax.process_index() == 0:
        print(text, file=sys.stderr, flush=True)
