"""Many films in one call: read a few at a time, their clips together in full batches.

Each open film has a thread that decodes, finds faces and cuts them out (OpenCV lets the others work
meanwhile); it runs a few frames ahead and then waits. The calling thread cuts clips, runs the
network and gives results. So the network never waits for a film that is slow to decode while
another one is at hand, and memory is that of a few frames and batches, however long the films.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2

from jaxfacs.errors import UserError
from jaxfacs.infer.batches import Batches
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.sources.source import Source
from jaxfacs.infer.stream import Seen, Stream

AHEAD = 16  # frames of a film that are looked at before the network asks for them
_IDLE_S = 0.2
# What a film or the disk may do at any time; all else is a mistake of this program.
FAULTS = (UserError, OSError, cv2.error)


@dataclass(eq=False)
class Film:
    """One thing to read.

    Attributes:
      index: tells it apart in the events.
      source: its frames.
      stream: fresh, with the batches that all films share.
      state: of a `Mark`, to go on from there.
      mark_every: frames between two marks; 0: none.
      released: called when no more frames will be looked at.
      cancelled: set it, and the film ends where it is.
    """

    index: int
    source: Source
    stream: Stream
    state: Mapping[str, Any] | None = None
    mark_every: int = 0
    released: Callable[[], None] = lambda: None
    cancelled: bool = False


class Result(NamedTuple):
    """The next frame of a film."""

    film: Film
    result: FrameResult


class Mark(NamedTuple):
    """Every frame that the film has given so far came before this; `state` goes on from here."""

    film: Film
    state: Mapping[str, Any]


class Done(NamedTuple):
    """The film has ended; `error` says why, if it broke."""

    film: Film
    error: Exception | None = None


Event = Result | Mark | Done


class _Looked(NamedTuple):
    """What a film's thread hands over. The last one has no frame, and the error if one ended it."""

    film: "_Open"
    seen: Seen | None
    mark: Mapping[str, Any] | None = None
    error: BaseException | None = None


@dataclass(eq=False)
class _Open:
    """A film under way."""

    film: Film
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AHEAD))
    held: deque[_Looked] = field(default_factory=deque)  # came while the film stood still
    mark: Mapping[str, Any] | None = None  # to be made as soon as all its clips are answered
    ended: bool = False
    error: Exception | None = None
    stood: int = 0  # frames of others since it stands still

    @property
    def stands(self) -> bool:
        return self.ended or self.mark is not None


def read(
    films: Iterable[Film],
    batches: Batches,
    *,
    at_once: int,
    stop_live: threading.Event | None = None,
) -> Generator[Event, None, None]:
    """Reads films and yields what happens, the events of each film in order.

    Args:
      films: taken one by one, as there is room for them.
      batches: those of the films' streams.
      at_once: films whose frames are read at the same time.
      stop_live: where set, cameras and streams end.

    A film that fails ends, after the results of its frames so far, with the error in its `Done`;
    the others go on. A mark is made every
    `mark_every` frames counted from the film's beginning, when the network has answered all clips
    up to there: that the answers do not depend on where a film was interrupted.
    """
    with closing(_Run(films, batches, at_once, stop_live or threading.Event())) as run:
        yield from run.events()


class _Run:
    def __init__(self, films, batches: Batches, at_once: int, stop_live: threading.Event):
        self._films = iter(films)
        self._batches, self._at_once, self._stop_live = batches, at_once, stop_live
        self._stop = threading.Event()
        self._inbox: queue.SimpleQueue[_Looked] = queue.SimpleQueue()
        self._open: list[_Open] = []
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """Sends the threads home; one that waits for a camera is left to the end of the process."""
        self._stop.set()
        for opened in self._open:
            opened.room.release(
                2
            )  # for the frame that waits, and for the word that it was the last
        for thread in self._threads:
            thread.join(1.0)

    def events(self) -> Iterator[Event]:
        while self._fill():
            looked = self._next()
            if looked is not None:
                yield from self._take(looked)
            yield from self._moved()

    def _fill(self) -> bool:
        """Opens films while there is room; whether any is open."""
        most = self._at_once + self._batches.size
        while len(self._open) < most and sum(not o.ended for o in self._open) < self._at_once:
            film = next(self._films, None)
            if film is None:
                break
            opened = _Open(film)
            if film.state is not None:
                film.stream.restore(film.state["stream"], film.state["follow"])
                film.source.warnings[:] = film.state["warnings"]
            self._open.append(opened)
            # A camera that hangs must not keep the process alive: so daemons.
            thread = threading.Thread(target=self._look, args=(opened,), daemon=True)
            thread.start()
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        return bool(self._open)

    def _next(self) -> _Looked | None:
        """The next frame of any film that does not stand still; None: nothing moves without us."""
        for opened in self._open:
            if opened.held and not opened.stands:
                return opened.held.popleft()
        if all(opened.stands for opened in self._open):
            self._batches.flush()
            self._batches.settle()
            return None
        while True:
            try:
                stands = any(opened.stands for opened in self._open)
                looked = self._inbox.get(timeout=_IDLE_S if stands else None)
            except queue.Empty:  # a camera or pipe hangs: it shall not hold up the others
                self._batches.flush()
                self._batches.settle()
                return None
            if not looked.film.stands:
                return looked
            looked.film.held.append(looked)

    def _take(self, looked: _Looked) -> Iterator[Event]:
        opened, film = looked.film, looked.film.film
        opened.room.release()
        for other in self._open:
            other.stood += other.stands
        if looked.error is not None and not isinstance(looked.error, FAULTS):
            raise looked.error
        if looked.seen is None or film.cancelled:
            opened.error = looked.error
            opened.room.release(AHEAD + 2)  # a thread that waits shall notice that it is over
            film.stream.close()
            opened.ended = True
        else:
            film.stream.add(looked.seen)
            opened.mark = looked.mark
            for result in film.stream.take():
                yield Result(film, result)

    def _moved(self) -> Iterator[Event]:
        """What films that stand still have to say once their clips are answered."""
        for opened in [o for o in self._open if o.stands]:
            stream = opened.film.stream
            if stream.unanswered and opened.stood > stream.patience:
                self._batches.flush()
                self._batches.settle()
            if stream.unanswered:
                continue
            opened.stood = 0
            for result in stream.take():
                yield Result(opened.film, result)
            if opened.mark is not None:
                state, opened.mark = {**opened.mark, "stream": stream.state()}, None
                yield Mark(opened.film, state)
            else:
                for result in stream.last():
                    yield Result(opened.film, result)
                self._open.remove(opened)
                yield Done(opened.film, opened.error)

    def _look(self, opened: _Open) -> None:
        """The work of a film's thread."""
        try:
            self._look_at_frames(opened)
            last = _Looked(opened, None)
        except BaseException as error:  # handed on, and raised where it can be dealt with
            last = _Looked(opened, None, error=error)
        opened.film.released()
        opened.room.acquire()  # after the frames before it: their room is the queue's order
        self._inbox.put(last)

    def _look_at_frames(self, opened: _Open) -> None:
        film = opened.film
        first = 0 if film.state is None else int(film.state["frames"])
        frames = film.source.frames(first) if first else film.source.frames()
        try:
            for count, timed in enumerate(frames, first + 1):
                seen = film.stream.look(timed.frame_HWC, timed.timestamp, timed.number)
                mark = None
                if film.mark_every and count % film.mark_every == 0:
                    follow = film.stream.follow_state()
                    warnings = list(film.source.warnings)
                    mark = {"frames": count, "follow": follow, "warnings": warnings}
                    mark = None if follow is None else mark
                opened.room.acquire()
                if self._stop.is_set() or film.cancelled:
                    return
                self._inbox.put(_Looked(opened, seen, mark))
                if self._stop_live.is_set() and getattr(film.source, "live", False):
                    return
        finally:
            getattr(frames, "close", lambda: None)()  # a generator lets go of its film
