"""Carries the runs of a sweep on: which are done, and the others, one by one or several at once."""

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jaxfacs.errors import UserError
from jaxfacs.files import replacing
from jaxfacs.train import command
from jaxfacs.train import config as configs
from jaxfacs.train.runs import checkpoint_steps
from jaxfacs.train.sweep import Planned

FINISHED, DIVERGED, FAILED, STOPPED, WAITING = (
    *("finished", "diverged", "failed"),
    *("stopped", "not run"),
)
DONE = (FINISHED, DIVERGED)  # nothing is left to do
DIVERGED_CODE, STOPPED_CODE = 3, 75  # of `jaxfacs train`
SOME_FAILED = 1
LOG, CODE = "log.txt", "exit_code"  # in the folder of a run
LOG_TAIL = 65_536  # bytes in which the reason of a failure is looked for
PROMPT = "\n$ jaxfacs "  # before each command in a log
ERROR_LINE = re.compile(r"(jaxfacs \w+: |[\w.]*(Error|Exception|Interrupt)\b)")
MAX_REASON = 300  # characters
POLL_S = 0.1
CACHE = "JAX_COMPILATION_CACHE_DIR"


@dataclass(frozen=True)
class Outcome:
    """Where a run stands.

    Attributes:
      state: one of the five above.
      why: of a run that failed, the last line of its log.
      report: the content of report.json of a finished run.
    """

    state: str
    why: str = ""
    report: dict[str, Any] = field(default_factory=dict)


def outcome(out: Path, run: Planned) -> Outcome:
    """Where a run stands, from its folder alone."""
    workdir = out / run.name
    report = _report(workdir, run)
    if report:
        return Outcome(FINISHED, report=report)
    code = _code(workdir)
    if code == DIVERGED_CODE:
        return Outcome(DIVERGED)
    if code not in (None, 0, STOPPED_CODE):
        return Outcome(FAILED, why=f"exit code {code}: {reason(workdir / LOG)}")
    return Outcome(STOPPED if (workdir / "config.json").exists() else WAITING)


def refuse_changed(out: Path, planned: Sequence[Planned]) -> None:
    """Raises UserError if a folder holds the run of another config under the same name."""
    for run in planned:
        path = out / run.name / "config.json"
        try:
            old = json.loads(path.read_text())["experiment"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not begun; or damaged, which train tells
        new = configs.to_json(run.experiment)
        if run.experiment.mesh.batch_per_device:  # the global size is known once devices are
            old["data"]["batch_size"] = new["data"]["batch_size"]
        changes = configs.differences(old, new)
        if changes:
            raise UserError(
                f"{path.parent} holds a run with another config ({'; '.join(changes)}); give the "
                "same fields, or another --out"
            )


def run_all(
    out: Path, planned: Sequence[Planned], *, jobs: int, smoke: bool, metric: str = ""
) -> int:
    """Runs what is not done; returns 0, 1 if a run failed, or 75 if it was told to stop.

    Args:
      jobs: processes at once; 0: in this process.
      metric: that is told of each finished run.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out) as lock:
            todo = [run for run in planned if outcome(out, run).state not in DONE]
            done = len(planned) - len(todo)
            if done:
                _tell(f"{done} of {len(planned)} runs are done already")
            work = _Work(out, len(planned), done, smoke=smoke, metric=metric)
            if jobs:
                _in_jobs(work, todo, jobs, lock)
            else:
                _in_this_process(work, todo)
    except OSError as error:
        raise UserError(
            f"cannot write to --out {out} ({error.strerror or error}); give a folder you may write"
        ) from error
    if work.stopped:
        _tell("stopped; the same command goes on")
        return STOPPED_CODE
    return SOME_FAILED if work.failed else 0


@contextmanager
def locked(out: Path) -> Iterator[IO[str]]:
    """Refuses a second sweep in one folder.

    The lock is of an open file that the runs inherit: it ends when the last of them has, however
    that came about, and also holds while runs outlive a sweep that was killed.
    """
    with (out / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"a sweep, or a run that it started, is still at work in {out}; wait for it, or "
                "end it"
            ) from None
        yield file


@dataclass
class _Work:
    """What is told of the work, and where it stands."""

    out: Path
    count: int
    done: int
    smoke: bool
    metric: str
    failed: int = 0
    stopped: bool = False
    began: float = field(default_factory=time.monotonic)
    here: int = 0

    def commands(self, run: Planned) -> list[list[str]]:
        return commands(self.out, run, smoke=self.smoke)

    def ended(self, run: Planned, code: int) -> None:
        """Keeps the exit code of a run and says what became of it."""
        workdir = self.out / run.name
        with replacing(workdir / CODE) as path:
            path.write_text(f"{code}\n")
        if code == STOPPED_CODE:
            self.stopped = True
            return _tell(f"{run.name}: stopped after saving")
        self.done, self.here = self.done + 1, self.here + 1
        found = outcome(self.out, run)
        self.failed += found.state not in DONE
        told = {
            FINISHED: "finished",
            DIVERGED: "diverged: too many steps were not finite",
            FAILED: f"failed, the others go on; {found.why}; see {workdir / LOG}",
        }.get(found.state, "ended without a report")
        left_s = (time.monotonic() - self.began) / self.here * (self.count - self.done)
        left = f"; about {left_s / 60:.0f} min left" if left_s >= 60 else ""
        return _tell(f"[{self.done}/{self.count}] {run.name}: {told}{_number(found, self)}{left}")


def _number(found: Outcome, work: _Work) -> str:
    from jaxfacs.train.sweep_table import flat_report

    value = flat_report(found.report).get(work.metric) if work.metric else None
    return "" if value is None else f", {work.metric} {value:.4g}"


def commands(out: Path, run: Planned, *, smoke: bool) -> list[list[str]]:
    """What a run is: the words of `train` and of `evaluate`, without the program."""
    workdir = str(out / run.name)
    train = ["train", run.config, "--workdir", workdir, *(["--smoke"] if smoke else [])]
    # Not by --out alone: the people of an overlap that the config allows are allowed here too.
    overlap = ["--allow-overlap"] if run.experiment.data.allow_overlap else []
    return [
        [*train, *run.arguments],
        ["evaluate", "--workdir", workdir, "--split", run.split, *overlap],
    ]


def _in_this_process(work: _Work, todo: Sequence[Planned]) -> None:
    # Else the first run would take its own folder, for all.
    os.environ.setdefault(CACHE, str(work.out.absolute() / "compiled"))
    for run in todo:
        workdir = work.out / run.name
        _begin(workdir)
        _tell(f"[{work.done + 1}/{work.count}] {run.name}")
        code = 0
        with (workdir / LOG).open("a") as log:
            for words in work.commands(run):
                code = code or _call(words, run, workdir, log)
        work.ended(run, code)
        if work.stopped:
            return


def _call(words: list[str], run: Planned, workdir: Path, log: IO[str]) -> int:
    print(f"{PROMPT}{shlex.join(words)}", file=log, flush=True)
    try:
        if words[0] == "train":
            return command.train(words[1:], "jaxfacs train")
        allow = run.experiment.data.allow_overlap
        return command.evaluate(workdir, split=run.split, allow_overlap=allow)
    except UserError as error:
        print(f"jaxfacs {words[0]}: {error}", file=log, flush=True)
        return 2
    except Exception:  # a bug of one run, or of a user's own network, is not the others'
        traceback.print_exc(file=log)
        log.flush()
        return SOME_FAILED


@dataclass
class _Job:
    run: Planned
    slot: int
    left: list[list[str]]
    process: subprocess.Popen
    told: int = 0  # signals


def _in_jobs(work: _Work, todo: Sequence[Planned], jobs: int, lock: IO[str]) -> None:
    """Each command a process with its output in the run's log; signals are handed to them."""
    waiting, free = list(todo), list(range(jobs))
    active: list[_Job] = []
    asked: list[int] = []

    def stop(number: int, frame: object) -> None:
        del frame
        asked.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while active or (waiting and not asked):
            while waiting and free and not asked:
                run, slot = waiting.pop(0), free.pop(0)
                first, *rest = work.commands(run)
                _tell(f"{run.name}: started, log {work.out / run.name / LOG}")
                process = _start(work.out, run, first, slot, jobs, lock)
                active.append(_Job(run, slot, rest, process))
            for job in active:
                if job.told < len(asked):  # once: it saves and ends; twice: it ends
                    job.told = len(asked)
                    job.process.send_signal(signal.SIGTERM if job.told == 1 else signal.SIGKILL)
            for job in [job for job in active if job.process.poll() is not None]:
                active.remove(job)
                code = job.process.returncode
                code = 128 - code if code < 0 else code
                if asked and code != 0:
                    code = STOPPED_CODE  # at whatever point the signal met it
                if code == 0 and job.left and not asked:
                    first, *rest = job.left
                    process = _start(work.out, job.run, first, job.slot, jobs, lock)
                    active.append(_Job(job.run, job.slot, rest, process))
                    continue
                free.append(job.slot)
                work.ended(job.run, STOPPED_CODE if job.left and code == 0 else code)
            time.sleep(POLL_S)
    finally:
        for job in active:  # something was raised here
            job.process.terminate()
        for number, handler in before.items():
            signal.signal(number, handler)
    work.stopped |= bool(asked)


def _start(
    out: Path, run: Planned, words: list[str], slot: int, jobs: int, lock: IO[str]
) -> subprocess.Popen:
    workdir = out / run.name
    _begin(workdir)
    with (workdir / LOG).open("a") as log:
        print(f"{PROMPT}{shlex.join(words)}", file=log, flush=True)
        return subprocess.Popen(
            program(words),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment(out, slot, jobs),
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C is for the sweep, which then tells its runs once
        )


def _begin(workdir: Path) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / CODE).unlink(missing_ok=True)  # of an earlier attempt


def program(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "jaxfacs", *words]


def environment(out: Path, slot: int, jobs: int) -> dict[str, str]:
    """A run's environment: compilations of equal programs are shared, and so are the GPUs.

    With at least as many GPUs as jobs each has its own; otherwise those of one GPU share its
    memory, of which JAX would take three quarters for each process.
    """
    found = {CACHE: str(out.absolute() / "compiled"), **os.environ}
    gpus = _gpus()
    if jobs > 1 and gpus:
        mine = gpus[slot::jobs] if len(gpus) >= jobs else [gpus[slot % len(gpus)]]
        found["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        sharing = -(-jobs // len(gpus))
        if sharing > 1:
            found.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / sharing:.3f}")
    return found


def _gpus() -> list[str]:
    """Those that may be seen, as CUDA_VISIBLE_DEVICES names them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name for name in told.split(",") if name.strip()]
    found = Path("/dev").glob("nvidia[0-9]*")
    return [str(i) for i in range(sum(1 for _ in found))]


def _report(workdir: Path, run: Planned) -> dict[str, Any]:
    """The newest report of the finished run on its split; {} if there is none."""
    if run.experiment.steps not in checkpoint_steps(workdir):
        return {}
    found = sorted(
        (workdir / "evaluation" / run.split).glob("*/report.json"),
        key=lambda path: path.stat().st_mtime,
    )
    last = workdir / "checkpoints" / str(run.experiment.steps)
    if not found or found[-1].stat().st_mtime < last.stat().st_mtime:
        return {}  # none, or one of a look at the run before its end
    try:
        report = json.loads(found[-1].read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _code(workdir: Path) -> int | None:
    try:
        return int((workdir / CODE).read_text())
    except (OSError, ValueError):
        return None


def reason(path: Path) -> str:
    """Why the last command of a log failed, in a line; "" if it says nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - LOG_TAIL, 0))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.rpartition(PROMPT)[2].splitlines()[1:] if line.strip()]
    # What JAX and Orbax print after an exception is not the reason.
    errors = [line for line in lines if ERROR_LINE.match(line)]
    return (errors or lines or [""])[-1][:MAX_REASON]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
