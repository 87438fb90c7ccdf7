"""A server on this machine that answers as badly as the web does; bounded in count and time."""

import csv
import io
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from jaxfacs.data.download_pictures import Settings, download

MAX_REQUESTS = 2000


def colours(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """Large even patches, so that JPEG keeps their colours."""
    small = np.random.default_rng(seed).integers(30, 220, (2, 2, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, form: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def jpeg(seed: int, **options) -> bytes:
    return encoded(colours(seed), quality=90, **options)


class Server:
    """Answers GET path with `answers[path]`: bytes, or a function of (handler, how often asked).

    Attributes:
      asked: how often each path was asked for. times: when each request came.
      most_at_once: the most requests in work at one time.
    """

    def __init__(self, answers: dict | None = None):
        self.answers = dict(answers or {})
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.headers: list[dict] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"
            timeout = 5

            def do_GET(self):
                outer.answer(self)

            def log_message(self, format: str, *args):
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass

        self.http = Http(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler) -> None:
        path = handler.path.partition("?")[0]
        with self._lock:
            self.asked[handler.path] += 1
            count = self.asked[handler.path]
            self.times.append(time.monotonic())
            self.headers.append(dict(handler.headers))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            assert len(self.times) < MAX_REQUESTS
            found = self.answers.get(handler.path, self.answers.get(path))
            if found is None:
                handler.send_error(404)
            elif callable(found):
                found(handler, count)
            else:
                send(handler, found)
        except OSError:
            pass  # the client left
        finally:
            with self._lock:
                self._at_once -= 1

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def send(handler, data: bytes, *, kind: str = "image/jpeg", length: int | None = -1, code=200):
    handler.send_response(code)
    handler.send_header("Content-Type", kind)
    if length is not None:
        handler.send_header("Content-Length", str(len(data) if length == -1 else length))
    handler.end_headers()
    handler.wfile.write(data)


def status(code: int, **headers: str):
    def answer(handler, _):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def in_turn(*answers):
    """Answer n for request n, the last one again and again."""

    def answer(handler, count):
        found = answers[min(count, len(answers)) - 1]
        found(handler, count) if callable(found) else send(handler, found)

    return answer


def typed(data: bytes, kind: str):
    return lambda handler, _: send(handler, data, kind=kind)


def redirect(to: str, code: int = 302):
    return status(code, Location=to)


def cut_off(data: bytes, *, announced: bool = True):
    """Half of the bytes, then the end."""
    return lambda handler, _: send(
        handler, data[: len(data) // 2], length=len(data) if announced else None
    )


def reset(handler, _):
    """RST instead of an answer."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def silent(handler, _):
    time.sleep(2.0)


def dripping(handler, _):
    """A byte now and then: no single read ever times out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b"\xff")
        handler.wfile.flush()
        time.sleep(0.03)


def dripping_headers(handler, _):
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    for _ in range(60):
        handler.wfile.write(b"a")
        handler.wfile.flush()
        time.sleep(0.03)


def endless(handler, _):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(400):
        handler.wfile.write(bytes(1 << 16))


def no_http(handler, _):
    handler.wfile.write(b"220 ftp.example.org ready\r\n")


def quick(**options) -> Settings:
    defaults = {
        "rate": 2000.0,
        "per_host": 8,
        "timeout_s": 0.5,
        "retries": 2,
        "first_pause_s": 0.002,
        "allow_private": True,
    }
    return Settings(**{**defaults, **options})  # type: ignore[arg-type]


def write_list(tmp_path: Path, urls: list[str], name: str = "list.txt") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(urls) + "\n")
    return path


def table(out: Path, name: str) -> list[dict[str, str]]:
    with open(out / name, newline="") as file:
        return list(csv.DictReader(file))


def fetch(tmp_path: Path, urls: list[str], **options) -> Path:
    out = tmp_path / "out"
    download((write_list(tmp_path, urls),), out, quick(**options))
    return out
