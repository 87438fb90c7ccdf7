"""Progress of long work: a bar where there is a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

PLAIN_INTERVAL_S = 10.0  # without a terminal (logs, CI): one line in ten seconds


def track(
    items: Iterable[T],
    *,
    label: str,
    total: int | None = None,
    unit: str = "it",
    amount: Callable[[T], int] = lambda _: 1,
) -> Iterator[T]:
    """Yields `items` and shows rate and time left on stderr.

    Args:
      items: what is worked through; `len(items)` is used where `total` is not given.
      label: what is done, as a verb and its object ("rendering clips").
      total: how many there are, if that is known.
      unit: what is counted ("clip", "frame").
      amount: how many units an item stands for.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        with tqdm(desc=label, total=total, unit=unit, dynamic_ncols=True) as bar:
            for item in items:
                yield item
                bar.update(amount(item))
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += amount(item)
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL_S:
            last = now
            print(_plain_line(label, done, total, unit, now - start), file=sys.stderr, flush=True)
    print(
        _plain_line(label, done, total, unit, time.monotonic() - start), file=sys.stderr, flush=True
    )


def _plain_line(label: str, done: int, total: int | None, unit: str, elapsed_s: float) -> str:
    rate = done / max(elapsed_s, 1e-9)
    unit += "es" if unit.endswith("ch") else "s"
    if total is None or done >= total:
        return f"{label}: {done} {unit} in {elapsed_s:.1f} s ({rate:.1f} {unit}/s)"
    left_s = (total - done) / max(rate, 1e-9)
    return f"{label}: {done}/{total} {unit}, {rate:.1f} {unit}/s, {left_s:.0f} s left"
