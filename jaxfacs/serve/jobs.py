"""Films that wait, are read, or were read: one after the other, in a thread of their own."""

import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.serve.films import Cancelled, Options, Result
from jaxfacs.serve.limits import Limits, TooMany
from jaxfacs.serve.log import event
from jaxfacs.serve.metrics import Metrics
from jaxfacs.serve.workplace import Workplace

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
STATES = (QUEUED, RUNNING, DONE, FAILED, CANCELLED)
_EXPIRE_S = 30.0  # between two looks for results that are too old
_OPEN = (QUEUED, RUNNING)


@dataclass(eq=False)
class Job:
    """One film of one client. Its `film` is removed when it ends, however it ends."""

    client: str
    film: Path
    options: Options
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = QUEUED
    frames: int = 0
    total: int | None = None
    error: str | None = None
    result: Result | None = None
    started: float = 0.0
    ended: float = 0.0

    def seconds_left(self) -> float | None:
        if self.state != RUNNING or not self.total or self.frames < 2:
            return None
        each_s = (time.monotonic() - self.started) / self.frames
        return round(max(0, self.total - self.frames) * each_s, 1)


class Jobs:
    """The queue of films and what came of them; callable from every thread.

    Args:
      read: reads a job's film; called in the worker thread with the job and a function to call
        after every frame.
      keep: where films and tables stay; None: nothing does.
    """

    def __init__(
        self,
        read: Callable[[Job, Callable[[int, int | None], None]], Result],
        *,
        workplace: Workplace,
        limits: Limits,
        metrics: Metrics,
        keep: Path | None = None,
    ):
        self._read, self._workplace, self._keep = read, workplace, keep
        self._limits, self._metrics = limits, metrics
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}  # in order of arrival
        self._last_read: dict[str, float] = {}  # client -> when a film of it was begun
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="films", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def check_room(self, client: str) -> None:
        """Raises TooMany where this client, or all, have as many films under way as they may."""
        with self._changed:
            under_way = [j for j in self._jobs.values() if j.state in _OPEN]
        if sum(j.client == client for j in under_way) >= self._limits.jobs:
            raise TooMany(
                f"{self._limits.jobs} films under way is the most for one client; wait for one "
                "to be done, or delete its job"
            )
        if len(under_way) >= self._limits.all_jobs:
            raise TooMany("the server has all the films that it can take; try again later")

    def add(self, client: str, film: Path, options: Options) -> Job:
        """Queues a film that lies in a folder of the workplace; raises TooMany."""
        self.check_room(client)
        job = Job(client, film, options)
        with self._changed:
            if self._stopping:
                raise TooMany("the server is stopping; try again later")
            self._jobs[job.id] = job
            self._changed.notify()
        event("film.queued", job=job.id[:8], client=client)
        return job

    def get(self, job_id: str) -> Job | None:
        self.expire()
        return self._jobs.get(job_id)

    def place(self, job: Job) -> int | None:
        """1 for the next to be read; None where it no longer waits."""
        with self._changed:
            waiting = self._in_line()
        return waiting.index(job) + 1 if job in waiting else None

    def cancel(self, job: Job) -> None:
        """Stops it if it is under way, and forgets it."""
        with self._changed:
            self._jobs.pop(job.id, None)
            waited, under_way = job.state == QUEUED, job.state in _OPEN
            if under_way:
                job.state = CANCELLED
            job.result = None
        if under_way:
            self._metrics.count("jaxfacs_jobs_total", state=CANCELLED)
            event("film.cancelled", job=job.id[:8])
        if waited:  # a running one is removed by the thread that reads it
            self._workplace.remove(job.film.parent)

    def expire(self) -> None:
        """Forgets what ended long ago, and the oldest where too many results are kept."""
        now = time.monotonic()
        with self._changed:
            ended = [j for j in self._jobs.values() if j.state not in _OPEN]
            ended.sort(key=lambda job: job.ended)
            surplus = max(0, len(ended) - self._limits.all_results)
            for number, job in enumerate(ended):
                if number < surplus or now - job.ended > 60 * self._limits.result_minutes:
                    del self._jobs[job.id]

    def states(self) -> dict[str, int]:
        counts = dict.fromkeys(STATES, 0)
        with self._changed:
            for job in self._jobs.values():
                counts[job.state] += 1
        return counts

    def stop(self) -> None:
        """Cancels everything and ends the thread."""
        with self._changed:
            self._stopping = True
            jobs = list(self._jobs.values())
            self._changed.notify()
        for job in jobs:
            self.cancel(job)
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            self._run(job)

    def _next(self) -> Job | None:
        with self._changed:
            while not self._stopping:
                waiting = self._in_line()
                if waiting:
                    job = waiting[0]
                    job.state, job.started = RUNNING, time.monotonic()
                    self._last_read[job.client] = job.started
                    return job
                self.expire()
                self._changed.wait(_EXPIRE_S)
        return None

    def _in_line(self) -> list[Job]:
        """Those that wait, the next first: clients take turns."""
        waiting = [j for j in self._jobs.values() if j.state == QUEUED]
        clients = {j.client for j in self._jobs.values()}
        self._last_read = {c: t for c, t in self._last_read.items() if c in clients}
        turns: dict[str, int] = {}
        order: list[tuple[int, float, int]] = []
        for n, job in enumerate(waiting):
            turns[job.client] = turns.get(job.client, 0) + 1
            order.append((turns[job.client], self._last_read.get(job.client, 0.0), n))
        return [waiting[n] for _, _, n in sorted(order)]

    def _run(self, job: Job) -> None:
        def on_frame(frames: int, total: int | None) -> None:
            if job.state == CANCELLED:
                raise Cancelled
            if frames > job.frames:
                self._metrics.count("jaxfacs_film_frames_total", frames - job.frames)
            job.frames, job.total = frames, total

        result, error = None, None
        try:
            result = self._read(job, on_frame)
        except Cancelled:
            pass
        except UserError as reason:
            error = " ".join(str(reason).split())
        except Exception:  # a bug of ours ends this job, not the server
            traceback.print_exc()
            error = "the server failed at this film; its log says why"
        finally:
            self._put_away(job, result)
        with self._changed:
            if job.state == CANCELLED:
                return
            job.result, job.error = result, error
            job.state, job.ended = (FAILED if error else DONE), time.monotonic()
        self._metrics.count("jaxfacs_jobs_total", state=job.state)
        event(
            f"film.{job.state}",
            job=job.id[:8],
            frames=job.frames,
            seconds=job.ended - job.started,
            **({"error": error} if error else {}),
        )
        self.expire()

    def _put_away(self, job: Job, result: Result | None) -> None:
        """Removes the film; with `keep` it and its table are moved there instead."""
        if self._keep is not None and job.state != CANCELLED and result is not None:
            name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + job.film.parent.name[:8]
            try:
                folder = self._keep / name
                folder.mkdir(parents=True)
                shutil.move(job.film, folder / job.film.name)
                (folder / "results.csv.gz").write_bytes(result.csv_gz)
            except OSError as error:
                event("keep.failed", folder=name, error=error.strerror or str(error))
        self._workplace.remove(job.film.parent)


def to_json(job: Job, place: int | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "frames": job.frames,
        "total": job.total,
        "seconds_left": job.seconds_left(),
        "error": job.error,
        "queue_place": place,
    }
