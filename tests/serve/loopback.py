"""A real server in a thread of this process, and words with it."""

import json
import socket
import struct
import threading
import time

import httpx
import uvicorn
from websockets.sync.client import connect

from jaxfacs.serve.run import configured


class Loopback:
    """uvicorn on a free port of 127.0.0.1, held as `jaxfacs serve` holds it."""

    def __init__(self, app, limits):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.service = app._service
        self._server = uvicorn.Server(configured(app, limits, stop_s=2))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self):
        self._server.should_exit = True
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def raw(self):
        """A connection on which a test says what it likes."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def live(self, **start):
        """A live session after its start; (websocket, the server's first answer)."""
        live = connect(f"ws://127.0.0.1:{self.port}/v1/live", max_size=None)
        live.send(json.dumps({"type": "start", "format": "jpeg", **start}))
        return live, json.loads(live.recv(timeout=30))

    def healthy(self):
        return httpx.get(f"{self.url}/healthz").json() == {"ready": True}


def packed(*frames):
    """(sequence, time, bytes) of frames as one message."""
    return b"".join(struct.pack("<IdI", n, t, len(data)) + data for n, t, data in frames)


def wait_until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def finished(client, answer, seconds=60.0):
    """The job of an accepted film, once it has ended. `client`: of starlette or httpx."""
    assert answer.status_code == 202, answer.text
    url = answer.json()["url"]
    end = time.monotonic() + seconds
    while (job := client.get(url).json())["state"] in ("queued", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.02)
    return job
