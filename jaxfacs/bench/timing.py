"""Measuring things against each other on a machine that others use as well."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata, util

from jaxfacs.errors import UserError

# Thread pools of one library may spin for a while after its work; let them fall asleep.
SETTLE_S = 0.01


def interleaved(
    functions: dict[str, Callable[[], object]], *, rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Runs every function once a round; returns seconds, one a round, for each.

    What disturbs the machine disturbs neighbours in a round alike, so compare within rounds
    (`ratio`). The functions must wait for their own results.
    """
    for _ in range(warmup):
        for function in functions.values():
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Returns the median over rounds of slow/fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def core_count() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine(*packages: str) -> str:
    """Returns one line: processor cores in use, Python, versions of installed packages."""
    versions = [f"{p} {metadata.version(p)}" for p in packages if util.find_spec(p)]
    return f"{core_count()} cores · Python {platform.python_version()} · {' · '.join(versions)}"


def parse_clip(text: str) -> tuple[int, int, int]:
    """Reads "16x112x112" as frames, height and width."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise UserError(f"clip '{text}' is not FRAMESxHEIGHTxWIDTH, as in 16x112x112")
    return int(parts[0]), int(parts[1]), int(parts[2])
