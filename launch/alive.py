"""Liveness probe: does the process of this container still get on?

    python alive.py WORKDIR INDEX --started FILE [--step-s 3600] [--start-s 3600]

Ends with 0 while it does, with 1 and a line on stdout when it does not. It remembers in FILE.seen
what the heartbeat said when it last looked, and counts the seconds for which that stayed the same:
`--start-s` before the first sign of this start and while it restores or compiles, `--step-s` after
that. No two clocks are compared, neither that of a file server nor that of whoever wrote an
earlier heartbeat, and the time of day may jump. FILE is what entrypoint.sh touches as it starts.

Steps, batches of an evaluation and saves are signs. Let `--step-s` be longer than the run's own
--watchdog-s (1800), which says what hangs and prints the stacks of all threads before it ends the
process. Only the standard library, so that it starts in a fraction of a second.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

SLOW = ("start", "restore", "compile")  # phases that give no sign until they end


def look(heartbeat: Path, started: Path, now: float) -> tuple[float, str]:
    """(seconds since the heartbeat changed, the phase it tells; "" before the first sign).

    Args:
      now: of a clock that only goes forward, the same one at every look.
    """
    memory = started.with_name(f"{started.name}.seen")
    start = os.stat(started).st_mtime_ns  # only whether it is the same is asked
    try:
        text = heartbeat.read_text()
        phase = str(json.loads(text)["phase"])
    except (OSError, ValueError, KeyError, TypeError):
        text = phase = ""  # none yet, or not readable this time
    try:
        seen = json.loads(memory.read_text())
        same_start = seen["start"] == start and seen["at"] <= now  # else FILE outlived a reboot
    except (OSError, ValueError, KeyError, TypeError):
        seen, same_start = {}, False
    if not same_start:  # what lies there may be an earlier start's
        seen = {"start": start, "text": text, "at": now, "phase": ""}
    elif text and text != seen["text"]:
        seen |= {"text": text, "at": now, "phase": phase}
    else:
        return now - seen["at"], seen["phase"]
    memory.write_text(json.dumps(seen))
    return 0.0, seen["phase"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Does this process still get on?")
    parser.add_argument("workdir", type=Path)
    parser.add_argument("index")
    parser.add_argument("--started", type=Path, required=True)
    parser.add_argument("--step-s", type=float, default=3600)
    parser.add_argument("--start-s", type=float, default=3600)
    given = parser.parse_args()
    heartbeat = given.workdir / "heartbeat" / f"process-{given.index}.json"
    try:
        seconds, phase = look(heartbeat, given.started, time.monotonic())
    except OSError:
        return 0  # entrypoint.sh has not run yet; or nothing can be remembered here
    limit = given.start_s if phase in ("", *SLOW) else given.step_s
    if seconds <= limit:
        return 0
    doing = f"in its phase '{phase}'" if phase else "since it started"
    print(
        f"no sign of life of process {given.index} {doing} for {seconds:.0f} s; {limit:.0f} s are "
        "allowed"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
