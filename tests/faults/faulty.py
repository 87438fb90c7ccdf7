"""Runs `jaxfacs` in a process in which a fault happens at a chosen moment.

    python faulty.py WHEN:N:WHAT[+SECONDS] train CONFIG ...

WHEN is a phase of `runtime.clock.Clock` ("compile", "data", "step", "evaluation", "checkpoint",
"restore") at its N-th entry, "start" (the records are opened) or "born" (nothing is imported yet);
or, within their phases, the N-th batch of "reader" (training) or "validation", or the N-th "save".
N is 0 for each of them. WHAT is `term` or `kill` (the signal, to this very process), `stall` (for
an hour), `nap` (for half a second), `raise`, `skew` (the time of day is wrong from then on), or
`shell` (what JAXFACS_TEST_SHELL says); after SECONDS, where these are given, in a thread, so that
it meets what comes after. In a run of several processes it happens in that of JAXFACS_TEST_FAULTY
(0).

Signals are real and nothing in the package knows of this file. Tests use
`start`, `several` and `finish`.
"""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


def main() -> int:
    fault, *arguments = sys.argv[1:]
    when, number, what = fault.split(":")
    chosen = os.environ.get("JAXFACS_TEST_FAULTY", "0")
    if os.environ.get("JAXFACS_PROCESS_INDEX", "0") != chosen:
        when = "never"
    if when == "born":
        happen(what)
    from jaxfacs import cli
    from jaxfacs.runtime import clock
    from jaxfacs.train import setup

    entries = 0

    def met(name: str) -> None:
        nonlocal entries
        if name == when:
            entries += 1
            if int(number) in (0, entries):
                happen(what)
        elif what == "term" and name == "step" and entries:
            time.sleep(0.2)  # JAX looks for a signal once a second, and the run is short

    enter, opened = clock.Clock.__call__, setup.open_data

    def entered(self, phase):
        met(phase)
        return enter(self, phase)

    def opening(config):
        met("start")
        return opened(config)

    clock.Clock.__call__, setup.open_data = entered, opening

    def meeting(name, action):
        def act(*given, **named):
            met(name)
            return action(*given, **named)

        return act

    def reading(name, batches):
        def read(*given, **named):
            for batch in batches(*given, **named):
                met(name)
                yield batch

        return read

    setup.train_batches = reading("reader", setup.train_batches)
    setup.evaluation_batches = reading("validation", setup.evaluation_batches)
    setup.Checkpoints.save = meeting("save", setup.Checkpoints.save)
    return cli.main(arguments)


def happen(what: str) -> None:
    deed, _, seconds = what.partition("+")
    if seconds:
        threading.Timer(float(seconds), do, (deed,)).start()
    else:
        do(deed)


def do(deed: str) -> None:
    if deed == "stall":
        time.sleep(3600)
    if deed == "nap":
        return time.sleep(0.5)
    if deed == "skew":
        return skew()
    if deed == "shell":
        subprocess.run(os.environ["JAXFACS_TEST_SHELL"], shell=True, check=True)
        return
    if deed == "refuse":
        from jaxfacs.errors import UserError

        raise UserError("a refusal of the tests")
    if deed == "raise":
        raise RuntimeError("a fault of the tests")
    os.kill(os.getpid(), {"term": signal.SIGTERM, "kill": signal.SIGKILL}[deed])


def skew() -> None:
    """The time of day is an hour ahead, goes back by hours, and again and again on by two minutes.

    As Python reads it; the libraries below have clocks of their own. Orbax takes a save for lost if
    the time of day goes on by more than 5 minutes meanwhile (`futures.future.get_remaining_time`).
    """
    right, right_ns, reads = time.time, time.time_ns, itertools.count()

    def wrong_s() -> int:
        read = next(reads)
        return 3600 - 3600 * (read // 100) + 120 * (read // 10 % 2)

    time.time = lambda: right() + wrong_s()
    time.time_ns = lambda: right_ns() + wrong_s() * 10**9


def start(fault: str, *arguments: object, devices: int = 1, **environment: str) -> subprocess.Popen:
    """A command of the package with a fault in it; "" is none."""
    import tiny

    head = [sys.executable, __file__, fault] if fault else [sys.executable, "-m", "jaxfacs"]
    return subprocess.Popen(
        [*head, *map(str, arguments)],
        env=tiny.environment(devices, **environment),
        cwd=tiny.REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def several(
    count: int, fault: str, *arguments: object, faulty: int = 0, **environment: str
) -> list[subprocess.Popen]:
    """As many processes of one run over loopback; `fault` happens in that of number `faulty`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ours = {
        "JAXFACS_COORDINATOR": address,
        "JAXFACS_PROCESS_COUNT": str(count),
        "JAXFACS_TEST_FAULTY": str(faulty),
        "JAXFACS_HEARTBEAT_TIMEOUT_S": "10",
        **environment,
    }
    return [
        start(fault, *arguments, **ours, JAXFACS_PROCESS_INDEX=str(index)) for index in range(count)
    ]


def finish(process: subprocess.Popen, timeout: float = 120) -> tuple[int, str]:
    """(exit code as a shell says it, what it said)."""
    try:
        said = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[1]
        raise AssertionError(f"it did not end in {timeout} s: {said}") from None
    code = process.returncode
    return (128 - code if code < 0 else code), said


def ends(processes: list[subprocess.Popen], timeout: float = 150) -> list[tuple[int, str]]:
    """What `finish` answers for each; none of them is left running."""
    try:
        return [finish(process, timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()


def assert_ends_as(straight: Path, workdir: Path, step: int = 60) -> None:
    """The same bits in every array and the same lines of metrics as the run nobody disturbed."""
    import tiny

    assert tiny.digests(workdir, step) == tiny.digests(straight, step)
    assert tiny.lines(workdir) == tiny.lines(straight)


if __name__ == "__main__":
    sys.exit(main())
