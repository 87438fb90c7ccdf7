"""Work spread over processes, answers in the order of the questions."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from jaxfacs.errors import UserError

Q = TypeVar("Q")
A = TypeVar("A")

# One thread for each process: more would fight over the cores, and the number of BLAS threads
# changes the last bits of a sum, so the bytes of a set would depend on the machine.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def ordered_map(
    function: Callable[[Q], A],
    questions: Iterable[Q],
    *,
    workers: int,
    setup: Callable[[], object] | None = None,
) -> Generator[A, None, None]:
    """Yields function(question) for each question, in order, computed by `workers` processes.

    Processes are started fresh (spawn), so that they hold no locks of this one's threads; even one
    worker is a process, so that its numbers are those of many. At most 2 · workers answers wait.

    Args:
      function: a module-level function or an instance of a module-level class.
      workers: number of processes; 0: one for each core that this process may use.
      setup: called once in each process.

    Raises:
      UserError: a process was killed (by the system when memory ran out, most often).
    """
    workers = workers or cores()
    waiting: deque[Future[A]] = deque()
    with _environment(_ONE_THREAD):
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(setup,)
        )
        try:
            for question in questions:
                waiting.append(pool.submit(function, question))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process died, most likely because memory ran out; use fewer --workers"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(setup: Callable[[], object] | None) -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent tells us
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if setup is not None:
        setup()


def _leave_with_parent() -> None:
    """A killed parent sends nothing: without this its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
