"""Liveness probe: is the process of this container still making steps?

    python alive.py WORKDIR INDEX --started FILE [--step-s 3600] [--start-s 3600]

Ends with 0 while it is, with 1 and a line on stdout when it is not. Before the first step, which
may compile for long, it has `--start-s` seconds from FILE's time on (entrypoint.sh touches it);
then its heartbeat may be `--step-s` seconds old. An evaluation and a save write no heartbeat: let
`--step-s` be longer than both, and longer than the run's own --watchdog-s (1800), which prints the
stacks of all threads before it ends the process and so tells more. Only the standard library, so
that it starts in a fraction of a second.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path


def silent_for(workdir: Path, index: str, started: float) -> tuple[float, bool]:
    """(seconds since the last sign of life, whether this start made a step already).

    The heartbeat's own time is read, not the file's: the clock of a file server may differ.
    """
    path = workdir / "heartbeat" / f"process-{index}.json"
    try:
        beat = float(json.loads(path.read_text())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        beat = 0.0  # no step yet, or not readable this time
    stepped = beat > started  # else a former start wrote it
    return time.time() - max(beat, started), stepped


def main() -> int:
    parser = argparse.ArgumentParser(description="Is this process still making steps?")
    parser.add_argument("workdir", type=Path)
    parser.add_argument("index")
    parser.add_argument("--started", type=Path, required=True)
    parser.add_argument("--step-s", type=float, default=3600)
    parser.add_argument("--start-s", type=float, default=3600)
    given = parser.parse_args()
    try:
        started = os.stat(given.started).st_mtime
    except OSError:
        return 0  # entrypoint.sh has not run yet
    seconds, stepped = silent_for(given.workdir, given.index, started)
    limit, what = (given.step_s, "step") if stepped else (given.start_s, "first step")
    if seconds <= limit:
        return 0
    print(f"no {what} of process {given.index} for {seconds:.0f} s; {limit:.0f} s are allowed")
    return 1


if __name__ == "__main__":
    sys.exit(main())
