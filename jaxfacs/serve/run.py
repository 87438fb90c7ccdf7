"""Running the application: one process, its threads, and how it ends."""

import contextlib
import ctypes
import logging
import signal
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import uvicorn
from starlette.types import ASGIApp

from jaxfacs.infer.predictor import load
from jaxfacs.serve import protocol
from jaxfacs.serve.app import create_app
from jaxfacs.serve.limits import Limits
from jaxfacs.serve.log import event
from jaxfacs.serve.service import Settings

_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 20  # malloc.h
_NAMES = ("localhost", "127.0.0.1", "::1")
_STOP_S = 10  # for requests under way when the server is asked to stop
_HEAD_BYTES = 16 << 10  # of a request's head


def run(
    model: str | Path,
    listener: socket.socket,
    *,
    tokens: tuple[str, ...],
    origins: tuple[str, ...],
    host: str | None,
    behind_proxy: bool,
    keep: Path | None,
    detector: str | None,
    batch: int | None,
    workers: int | None,
    limits: Limits,
) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
      listener: bound, not listening; it listens once the network is compiled.
      host: the name it is bound to, where only this machine's own names may be asked for.
    """
    _give_memory_back()
    cv2.setNumThreads(1)  # the network's threads and ours already take every core
    predictor = load(model, detector=detector, batch=batch)
    hosts = None
    if host is not None:
        hosts = frozenset((*_NAMES, host, *(urlsplit(o).hostname or "" for o in origins)))
    settings = Settings(tokens, origins, hosts, limits, keep, workers)
    app = create_app(predictor, settings)
    _log_errors_in_a_line()
    event("compiling", model=predictor.bundle.path.name, temporary=tempfile.gettempdir())
    server = _Server(configured(app, limits, behind_proxy=behind_proxy))
    name, port = listener.getsockname()[:2]
    server.address = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
    with contextlib.suppress(KeyboardInterrupt):  # raised again after the server has stopped
        server.run(sockets=[listener])
    event("stopped")


def configured(
    app: ASGIApp, limits: Limits, *, behind_proxy: bool = False, stop_s: int = _STOP_S
) -> uvicorn.Config:
    """How connections are held: bounded in number, in time and in size, before they reach us."""
    return uvicorn.Config(
        app,
        http=protocol.http(limits.header_s, limits.unread_s),
        ws=protocol.websocket(limits.unread_s),
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=behind_proxy,
        ws_max_size=limits.message_bytes,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # pictures do not shrink, but bombs do
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=stop_s,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )


def _give_memory_back() -> None:
    """Large blocks go back to the system when they are freed, as far as the C library is glibc.

    Else one film of large frames raises, for good, what a small one takes.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class _Server(uvicorn.Server):
    address = ""

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"jaxfacs serves {self.address}  (Ctrl-C stops it)", flush=True)

    def handle_exit(self, sig: int, frame) -> None:
        super().handle_exit(sig, frame)
        # uvicorn would kill itself by the same signal at the end; we end by returning.
        self._captured_signals = [s for s in self._captured_signals if s != signal.SIGTERM]


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage() + (f" {type(error).__name__}: {error}" if error else "")
        event("http.server", level=record.levelname, text=" ".join(text.split()))


def _log_errors_in_a_line() -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_OneLine(level=logging.ERROR)]
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
