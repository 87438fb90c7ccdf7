"""One thread that runs the network on clips of all clients, a batch at a time."""

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError

import numpy as np

from jaxfacs.serve.metrics import Metrics

Outputs = Mapping[str, np.ndarray]

_WAIT_S = 0.004  # for other clients' clips to come, once one is there
_FILM_PATIENCE_S = 0.25  # after which film clips no longer give way to live ones
_MOST_WAITING = 1024  # clips of a lane


class Full(Exception):
    """So many clips wait that more would only come too late."""


class Stopped(Exception):
    """The server is stopping."""


class _Request:
    """The clips of one question; answered when all of them are."""

    def __init__(self, clips_BTHWC: np.ndarray):
        self.clips = clips_BTHWC
        self.future: Future[Outputs] = Future()
        self.asked = time.monotonic()
        self.taken = 0
        self.answered = 0
        self.rows: list[Outputs | None] = [None] * len(clips_BTHWC)

    def answer(self, row: int, outputs: Outputs) -> None:
        self.rows[row] = outputs
        self.answered += 1
        if self.answered < len(self.rows) or self.future.done():
            return
        rows = [r for r in self.rows if r is not None]
        self.future.set_result({name: np.stack([r[name] for r in rows]) for name in rows[0]})


class _Lane:
    """Requests by client: one clip of each client in turn, so that nobody keeps others waiting."""

    def __init__(self):
        self._clients: OrderedDict[str, deque[_Request]] = OrderedDict()
        self.clips = 0

    def add(self, client: str, request: _Request) -> None:
        self._clients.setdefault(client, deque()).append(request)
        self.clips += len(request.rows)

    def oldest(self) -> float:
        """When the one was asked that waits longest; infinity where nothing waits."""
        return min((q[0].asked for q in self._clients.values()), default=float("inf"))

    def take(self, most: int) -> list[tuple[_Request, int]]:
        taken: list[tuple[_Request, int]] = []
        while self._clients and len(taken) < most:
            client, requests = next(iter(self._clients.items()))
            request = requests[0]
            if request.taken == 0 and not request.future.set_running_or_notify_cancel():
                self.clips -= len(request.rows)
                requests.popleft()
            else:
                taken.append((request, request.taken))
                request.taken += 1
                self.clips -= 1
                if request.taken == len(request.rows):
                    requests.popleft()
            self._clients.move_to_end(client)
            if not requests:
                del self._clients[client]
        return taken

    def drain(self) -> list[_Request]:
        requests = [r for queue in self._clients.values() for r in queue]
        self._clients.clear()
        self.clips = 0
        return requests


class Batcher:
    """Gathers clips of live clients and films for the network, and hands out the answers.

    The network runs at two shapes only, one clip and `batch` clips, both compiled by `warm_up`.
    A few clips are run one by one where that is faster than a batch with empty places. Live clips
    go first; clips of films take the places that they leave, or go alone, and do not wait longer
    than a quarter of a second.

    Args:
      run: B×T×H×W×3 uint8 clips -> outputs, for B of 1 or `batch`; only one thread calls it.
      batch: clips of a full batch.
      clip_shape: T, H, W, 3.
      wait_s: for how long clips of others are waited for.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], Outputs],
        *,
        batch: int,
        clip_shape: tuple[int, ...],
        metrics: Metrics,
        wait_s: float = _WAIT_S,
    ):
        self._run, self.batch, self._shape = run, batch, clip_shape
        self._metrics, self._wait_s = metrics, wait_s
        self._changed = threading.Condition()
        self._live, self._films = _Lane(), _Lane()
        self._stopping = False
        self._singles = 1  # so many clips are faster one by one than as a batch
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)

    def warm_up(self) -> None:
        """Compiles both shapes, times them, and starts the thread."""
        seconds = {}
        for size in {1, self.batch}:
            clips = np.zeros((size, *self._shape), np.uint8)
            self._run(clips)
            start = time.perf_counter()
            self._run(clips)
            seconds[size] = max(1e-6, time.perf_counter() - start)
        if self.batch > 1:
            ratio = int(seconds[self.batch] / seconds[1])
            self._singles = min(max(1, ratio), self.batch - 1)
        self._thread.start()

    def ask(self, clips_BTHWC: np.ndarray, *, client: str, live: bool) -> Future[Outputs]:
        """The answer to some clips, B ≥ 1, once it is there; cancel it if nobody waits any more.

        Raises Full where too many wait, and Stopped.
        """
        request = _Request(clips_BTHWC)
        with self._changed:
            if self._stopping:
                raise Stopped
            lane = self._live if live else self._films
            if lane.clips + len(request.rows) > _MOST_WAITING and lane.clips:
                raise Full
            lane.add(client, request)
            self._changed.notify()
        return request.future

    def waiting(self) -> dict[str, int]:
        """Clips that wait, by lane."""
        return {"live": self._live.clips, "film": self._films.clips}

    def stop(self) -> None:
        """Ends the thread; what still waits fails with Stopped."""
        with self._changed:
            self._stopping = True
            left = self._live.drain() + self._films.drain()
            self._changed.notify()
        for request in left:
            _fail(request, Stopped())
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _work(self) -> None:
        while True:
            taken = self._next()
            if taken is None:
                return
            if taken:
                self._answer(taken)

    def _next(self) -> list[tuple[_Request, int]] | None:
        """The clips to run now; None: the server stops."""
        with self._changed:
            while not (self._live.clips or self._films.clips or self._stopping):
                self._changed.wait()
            deadline = self._live.oldest() + self._wait_s
            while not self._stopping and 0 < self._live.clips < self.batch:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._stopping:
                return None
            taken = self._live.take(self.batch)
            live = len(taken)
            overdue = time.monotonic() - self._films.oldest() > _FILM_PATIENCE_S
            if not taken or len(taken) > self._singles or overdue:
                taken += self._films.take(self.batch - len(taken))
        self._metrics.count("jaxfacs_clips_total", live, kind="live")
        self._metrics.count("jaxfacs_clips_total", len(taken) - live, kind="film")
        return taken

    def _answer(self, taken: list[tuple[_Request, int]]) -> None:
        start = time.monotonic()
        try:
            clips = np.stack([request.clips[row] for request, row in taken])
            outputs = self._outputs(clips)
        except Exception as error:  # whatever the network raises, the next batch is tried
            for request, _ in taken:
                _fail(request, error)
            return
        self._metrics.observe("jaxfacs_network_seconds", time.monotonic() - start)
        for number, (request, row) in enumerate(taken):
            request.answer(row, {name: value[number] for name, value in outputs.items()})

    def _outputs(self, clips_BTHWC: np.ndarray) -> Outputs:
        count = len(clips_BTHWC)
        if count <= self._singles and count < self.batch:
            parts = [self._run(clips_BTHWC[i : i + 1]) for i in range(count)]
            self._metrics.count("jaxfacs_batches_total", count, size="1")
            self._metrics.observe("jaxfacs_batch_fill", 1.0)
            return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        if count < self.batch:
            empty = np.zeros((self.batch - count, *clips_BTHWC.shape[1:]), np.uint8)
            clips_BTHWC = np.concatenate([clips_BTHWC, empty])
        self._metrics.count("jaxfacs_batches_total", size=str(self.batch))
        self._metrics.observe("jaxfacs_batch_fill", count / self.batch)
        return {name: value[:count] for name, value in self._run(clips_BTHWC).items()}


def _fail(request: _Request, error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):  # cancelled, or answered in part
        request.future.set_exception(error)
