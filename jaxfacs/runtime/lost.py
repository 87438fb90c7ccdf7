"""The end of a run of several processes: when one of them gives up, or is gone, all end.

JAX has no word for it. A collective may raise, hang, or be cut short by abort() once the heartbeat
of the lost one is missed; and a process that ends by an error waits at exit for all others, which
wait for it. So who gives up says so in JAX's key-value store, where the others look every second.
"""

import atexit
import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax

from jaxfacs.errors import UserError

EXIT_CODE = 6  # another process of the run was lost
BAD_INPUT = 2
LOOK_S = 1.0
HEARD_S = 3.0  # that process 0, which keeps the store, stays until the others have looked
GONE_S = 0.5  # until those are gone: JAX aborts, with many words, whoever sees the store close
WORD, HEARD = "jaxfacs/ended", "jaxfacs/heard"

# What is said of a peer that is gone: a status that is not of this process's own making (memory,
# arguments), and a word of the network. JAX also raises ValueError where a program is begun, but so
# does storage, which speaks of connections as well.
_STATUS = re.compile(r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED)\b")
_COLLECTIVE = r"gloo|nccl|coordination"
_NETWORK = {
    jax.errors.JaxRuntimeError: rf"{_COLLECTIVE}|connection|socket|peer\b|heartbeat|barrier",
    ValueError: _COLLECTIVE,
}

_ending = threading.Lock()  # the first reason to end is the one that is told


def abort_means_lost() -> None:
    """Lets abort() end this process with code 6: so JAX ends one whose run lost another.

    The C function _exit takes the place of a handler and is given the signal's number, 6. No Python
    runs: the thread that aborts may hold, or wait for, anything.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc._exit, ctypes.c_void_p))


def watch() -> None:
    """From now on a thread looks whether another process gave up, and ends this one then."""
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(LOOK_S):
            if (told := _told()) is not None:
                end_all(*told)

    thread = threading.Thread(target=look, name="others", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join()

    atexit.register(stop)  # runs before JAX's own, which shuts down what the thread asks


@contextlib.contextmanager
def ending_all(prog: str) -> Iterator[None]:
    """Around a run: an error in one of several processes ends all of them, within seconds.

    A UserError ends every process with code 2 and one line. A collective that failed because
    another process is gone ends this one with 6. Anything else is told with its traceback and ends
    this process with 1 (130 for Ctrl-C), the others with 6. A process that is alone just raises.
    """
    try:
        yield
    except BaseException as error:
        if _processes() == 1 or isinstance(error, SystemExit):
            raise
        if isinstance(error, UserError) and not is_loss(error):
            end_all(BAD_INPUT, f"{prog}: {error}")
        if isinstance(error, KeyboardInterrupt):
            end_all(130, f"{prog}: interrupted")
        if is_loss(error):
            # The others may hang in the same collective: they are to hear of it as well. One that
            # gave up said so before it went.
            code, line = _told() or (
                EXIT_CODE,
                f"{prog}: another process was lost: {_loss(error)}",
            )
            end_all(code, line)
        traceback.print_exc()
        end_all(1, f"{prog}: {type(error).__name__}")


def is_loss(error: BaseException | None) -> bool:
    """Whether a collective failed for want of another process, in this error or in its causes."""
    return _loss(error) is not None


def end_all(code: int, line: str) -> NoReturn:
    """Ends this process, and lets the others know first."""
    with _ending:
        sys.stdout.flush()
        print(line, file=sys.stderr, flush=True)
        state = _jax()
        # Where two give up at once the first one's word stays; where 0 is gone there is no store.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            state.client.key_value_set(WORD, f"{state.process_id} {code} {line}")
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            _hear(state)
        os._exit(code)


def _hear(state: Any) -> None:
    """Marks the word as heard; process 0 waits a little until all others have done so."""
    if state.process_id:
        state.client.key_value_set(f"{HEARD}/{state.process_id}", "yes")
        return
    end = time.monotonic() + HEARD_S
    for other in range(1, state.num_processes):
        left_ms = max(int(1000 * (end - time.monotonic())), 1)
        state.client.blocking_key_value_get(f"{HEARD}/{other}", left_ms)
    time.sleep(GONE_S)


def _told() -> tuple[int, str] | None:
    """(code for this process, line) once another one gave up."""
    try:
        index, code, line = _jax().client.key_value_try_get(WORD).split(" ", 2)
    except jax.errors.JaxRuntimeError:  # nobody did; or process 0 is gone, which JAX notices
        return None
    if int(code) == BAD_INPUT:
        return BAD_INPUT, line
    return EXIT_CODE, f"process {index} of this run ended with code {code} ({line})"


def _loss(error: BaseException | None) -> str | None:
    """What was said of the loss, in this error or in its causes."""
    while error is not None:
        text = str(error).strip()
        for kind, words in _NETWORK.items():
            if isinstance(error, kind) and _STATUS.match(text) and re.search(words, text, re.I):
                return text.splitlines()[0][:200]
        error = error.__cause__ or error.__context__
    return None


def _processes() -> int:
    """Not `jax.process_count()`, which starts a backend where there is none yet."""
    state = _jax()
    return state.num_processes if state.client is not None else 1


def _jax() -> Any:
    """JAX's own record of the processes, with the client of its store; Orbax uses it as well."""
    from jax._src import distributed

    return distributed.global_state
