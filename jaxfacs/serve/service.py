"""Everything that the routes share: the network's thread, the films, the shares of clients."""

import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from jaxfacs.infer.predictor import Predictor
from jaxfacs.serve import faces, films
from jaxfacs.serve.batching import Batcher
from jaxfacs.serve.detectors import ThreadDetector
from jaxfacs.serve.jobs import Job, Jobs
from jaxfacs.serve.limits import Limits, Rates, Shares
from jaxfacs.serve.metrics import Metrics
from jaxfacs.serve.workplace import Workplace, remove_dead


@dataclass(frozen=True)
class Settings:
    """What the operator chose.

    Attributes:
      tokens: one of which a client must show; empty: nobody is asked.
      origins: addresses of other sites ("https://example.org") whose pages may ask.
      hosts: names under which this server may be asked for; None: any. Where no token is asked
        for, this keeps other sites' pages from reaching it by a name of theirs.
      keep: folder in which films and tables stay; None: nothing of a film is kept.
      workers: threads that look at live frames.
      temporary: folder for films while they are read; None: the system's.
    """

    tokens: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    hosts: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)
    keep: Path | None = None
    workers: int | None = None
    temporary: Path | None = None


class Service:
    """Started by `open`, which compiles the network, and ended by `close`."""

    def __init__(self, predictor: Predictor, settings: Settings):
        self.predictor, self.settings = predictor, settings
        self.limits = settings.limits
        self.metrics = Metrics()
        self.shares = Shares()
        self.rates = Rates(self.limits.frames_per_second)
        self.ready = False
        self.model = faces.describe(predictor)
        self.explain = predictor.reading.explain
        self.detector = ThreadDetector(str(predictor.settings["detector"]))
        spec = predictor.bundle.input
        self.batcher = Batcher(
            predictor.run,
            batch=predictor.batch,
            clip_shape=(spec.frames, spec.size, spec.size, 3),
            metrics=self.metrics,
        )
        # The network takes a core of its own; films are looked at by one more thread.
        workers = settings.workers or max(1, len(os.sched_getaffinity(0)) // 2)
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="look")
        self._gauges()

    def open(self) -> None:
        remove_dead(self.settings.temporary)
        self.workplace = Workplace(self.settings.temporary)
        self.jobs = Jobs(
            self._read,
            workplace=self.workplace,
            limits=self.limits,
            metrics=self.metrics,
            keep=self.settings.keep,
        )
        self.batcher.warm_up()
        self.jobs.start()
        self.ready = True

    def close(self) -> None:
        self.ready = False
        self.jobs.stop()
        self.batcher.stop()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.workplace.close()

    def allows(self, token: str | None) -> int | None:
        """The number of the token; None where it is none of ours. Takes as long for each."""
        found = None
        given = (token or "").encode()
        for number, right in enumerate(self.settings.tokens):
            if hmac.compare_digest(given, right.encode()):
                found = number
        return found

    def _read(self, job: Job, on_frame) -> films.Result:
        return films.read(
            self.predictor,
            job.film,
            job.options,
            batcher=self.batcher,
            client=job.client,
            limits=self.limits,
            on_frame=on_frame,
        )

    def _gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("jaxfacs_ready", lambda: {(): int(self.ready)})
        gauge("jaxfacs_live_sessions", lambda: {(): self.shares.held("sessions")})
        gauge(
            "jaxfacs_jobs",
            lambda: {(("state", s),): n for s, n in self.jobs.states().items()},
        )
        gauge(
            "jaxfacs_queue_length",
            lambda: {
                (("queue", "live clips"),): self.batcher.waiting()["live"],
                (("queue", "film clips"),): self.batcher.waiting()["film"],
                (("queue", "films"),): self.jobs.states()["queued"],
            },
        )
