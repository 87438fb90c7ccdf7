"""A real server on loopback: clients that are slow, leave, lie, or send far too much."""

import contextlib
import gc
import glob
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from loopback import finished, packed, wait_until
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.exceptions import ConnectionClosed

from jaxfacs.serve.films import Result
from jaxfacs.serve.protocol import _Read

EXAMPLES = Path(__file__).parents[2] / "examples"


def closed(connection, seconds=10.0):
    """What a connection still says until its other end closes it."""
    connection.settimeout(seconds)
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def uploads(folder: Path) -> list[str]:
    """Films under the folder; unlike Path.rglob, glob bears a folder that goes meanwhile."""
    return glob.glob(f"{folder}/**/film", recursive=True)


def test_two_clients_at_once_are_told_the_same_as_one(loopback, jpegs):
    server = loopback()

    def answers(start):
        live, ready = server.live()
        assert ready["type"] == "ready"
        with live:
            start.wait(10)
            heard = []
            for n, jpeg in enumerate(jpegs):
                live.send(packed((n, n / 10, jpeg)))
                heard.append(json.loads(live.recv(timeout=30))["faces"][0])
            return heard

    now = threading.Event()
    now.set()
    alone = answers(now)
    together, start = [None] * 3, threading.Event()

    def fill(place):
        together[place] = answers(start)

    threads = [threading.Thread(target=fill, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join(60)
    for heard in together:
        for mine, theirs in zip(alone, heard, strict=True):
            assert mine["box"] == theirs["box"]
            np.testing.assert_allclose(mine["p"], theirs["p"], atol=1.01e-4)  # a last decimal


def test_a_head_that_does_not_come_is_not_waited_for(loopback):
    server = loopback(limits={"header_s": 0.3})
    for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b"):
        with server.raw() as connection:
            connection.sendall(start)
            begun = time.monotonic()
            closed(connection)
            assert 0.1 < time.monotonic() - begun < 5
    with server.raw() as connection:  # nor a second request's on the same connection
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in connection.recv(4096)
        connection.sendall(b"GET /hea")
        begun = time.monotonic()
        closed(connection)
        assert time.monotonic() - begun < 4
    assert server.healthy()


def test_a_slow_head_is_not_waited_for_however_busy_it_looks(loopback):
    server = loopback(limits={"header_s": 0.5})
    with server.raw() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < 10:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.05)
        assert time.monotonic() - begun < 5
    assert server.healthy()


def test_a_head_beyond_all_bounds_is_refused(loopback):
    server = loopback()
    with server.raw() as connection:
        with contextlib.suppress(OSError):  # refused while it was being sent
            connection.sendall(b"GET / HTTP/1.1\r\nX-A: " + b"a" * (4 << 20))
        assert closed(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")
    assert server.healthy()


def test_an_upload_that_stalls_is_refused(loopback, film, folder):
    server = loopback(limits={"upload_stall_s": 0.3})
    with server.raw() as connection:
        head = f"POST /v1/films HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(film)}\r\n\r\n"
        connection.sendall(head.encode() + film[:2000])
        answer = closed(connection)
        assert answer.startswith(b"HTTP/1.1 408") and b"send it again" in answer
    wait_until(lambda: not uploads(folder))
    assert server.healthy()


def test_an_upload_that_trickles_is_refused(loopback, film, folder, monkeypatch):
    monkeypatch.setattr("jaxfacs.serve.uploads._GRACE_S", 0.3)
    server = loopback()
    with server.raw() as connection:
        head = f"POST /v1/films HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(film)}\r\n\r\n"
        connection.sendall(head.encode() + film[:600])
        for n in range(20):
            try:
                connection.sendall(film[600 + n : 601 + n])
            except OSError:
                break
            time.sleep(0.05)
        assert b"slower than" in closed(connection)
    assert not list(folder.rglob("film*"))


def test_an_upload_that_breaks_off_leaves_nothing(loopback, film, folder):
    server = loopback()
    with server.raw() as connection:
        head = f"POST /v1/films HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(film)}\r\n\r\n"
        connection.sendall(head.encode() + film[:5000])
        wait_until(lambda: uploads(folder))
    wait_until(lambda: not uploads(folder))
    assert server.healthy()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_beyond_its_limit_is_cut_off(loopback, film, folder, chunked):
    server = loopback(limits={"upload_bytes": 1 << 20})
    large = film + bytes(3 << 20)
    content = (large[i : i + 65536] for i in range(0, len(large), 65536)) if chunked else large
    answer = httpx.post(f"{server.url}/v1/films", content=content)
    assert answer.status_code == 413 and "larger than 1 MB" in answer.json()["error"]
    assert not list(folder.rglob("film"))
    answer = httpx.post(f"{server.url}/v1/films", content=film)
    with httpx.Client(base_url=server.url) as client:
        assert finished(client, answer)["state"] == "done"


def test_a_client_has_so_many_uploads_at_once(loopback, film):
    server = loopback(limits={"uploads": 1})
    with server.raw() as connection:
        head = "POST /v1/films HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
        connection.sendall(head.encode() + film[:1000])
        wait_until(lambda: server.service.shares.held("uploads") == 1)
        assert httpx.post(f"{server.url}/v1/films", content=film).status_code == 429
    wait_until(lambda: server.service.shares.held("uploads") == 0)


def test_a_client_that_leaves_in_the_middle_is_forgotten(loopback, jpegs):
    server = loopback()
    for _ in range(3):
        live, _ = server.live()
        live.send(packed(*[(n, n / 10, jpeg) for n, jpeg in enumerate(jpegs)]))
        live.socket.close()  # no farewell
    wait_until(lambda: server.service.shares.held("sessions") == 0)
    assert server.service.batcher.waiting() == {"live": 0, "film": 0}
    live, ready = server.live()
    with live:
        assert ready["type"] == "ready"


def test_connections_that_ended_are_forgotten(loopback):
    server = loopback()
    for _ in range(10):
        live, _ = server.live()
        live.close()
        httpx.get(f"{server.url}/healthz")
    wait_until(lambda: not server._server.server_state.connections)

    def alive():
        gc.collect()
        return [o for o in gc.get_objects() if isinstance(o, H11Protocol | _Read)]

    wait_until(lambda: not alive())


def test_half_a_message_is_no_message(loopback):
    server = loopback(limits={"idle_s": 0.4})
    live, _ = server.live()
    with live:
        live.socket.sendall(bytes([0x02, 0x85, 1, 2, 3, 4]) + b"abcde")  # a first fragment
        assert json.loads(live.recv(timeout=10))["type"] == "error"
        with pytest.raises(ConnectionClosed):
            live.recv(timeout=10)
        assert live.close_code == 4408
    assert server.healthy()


def test_a_message_beyond_its_limit_closes_its_session_only(loopback, jpegs):
    server = loopback(limits={"frame_bytes": 100_000})
    other, _ = server.live()
    live, _ = server.live()
    with live, pytest.raises(ConnectionClosed):
        live.send(bytes(1_000_000))
        live.recv(timeout=10)
    assert live.close_code == 1009
    with other:
        other.send(packed((0, 0.0, jpegs[0])))
        assert json.loads(other.recv(timeout=10))["type"] == "result"


@pytest.mark.parametrize(
    "frame",
    [
        bytes([0x83, 0x80, 0, 0, 0, 0]),  # a kind of frame that there is not
        bytes([0xF2, 0x81, 0, 0, 0, 0, 1]),  # bits that nobody agreed on
        bytes([0x82, 0x01, 7]),  # not masked
        bytes([0x81, 0x82, 0, 0, 0, 0, 0xFF, 0xFE]),  # text that is no UTF-8
        bytes([0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_websocket_frame_ends_its_session_only(loopback, frame):
    server = loopback()
    live, _ = server.live()
    with live:
        live.socket.sendall(frame)
        with pytest.raises(ConnectionClosed):
            live.recv(timeout=10)
    wait_until(lambda: server.service.shares.held("sessions") == 0)
    assert server.healthy()


def upgraded(server):
    """A connection that has become a websocket, small in what it takes of what it is sent."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.settimeout(10)
    connection.sendall(
        b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " in connection.recv(4096)
    return connection


def masked(data, kind):
    """One websocket frame of a client; a mask of zeros leaves the data as it is."""
    return bytes([0x80 | kind, 0xFE]) + len(data).to_bytes(2, "big") + bytes(4) + data


@pytest.mark.long
def test_a_live_client_that_does_not_read_is_closed(loopback, monkeypatch):
    monkeypatch.setattr("jaxfacs.serve.live_socket._SEND_S", 0.3)
    server = loopback(limits={"frames_per_second": 1e9, "unread_s": 0.3})
    with upgraded(server) as connection:
        connection.sendall(masked(b'{"type": "start", "format": "jpeg"}'.ljust(200), 1))
        wait_until(lambda: server.service.shares.held("sessions") == 1)
        number = 0
        with contextlib.suppress(OSError):
            while server.service.shares.held("sessions"):  # every frame is answered, and told
                frames = [(number + k, (number + k) / 1000, b"x") for k in range(16)]
                connection.sendall(masked(packed(*frames), 2))
                number += 16
        wait_until(lambda: not server._server.server_state.connections)
    assert server.healthy()


def test_results_that_nobody_takes_are_not_offered_for_ever(loopback, film):
    server = loopback(limits={"unread_s": 0.3})
    with httpx.Client(base_url=server.url) as client:
        job = finished(client, client.post("/v1/films", content=film))
    found = server.service.jobs.get(job["id"])
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    found.result = Result(packer.compress(bytes(30_000_000)) + packer.flush(), b"")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(
            f"GET /v1/jobs/{job['id']}/results HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        wait_until(lambda: server._server.server_state.tasks)
        wait_until(lambda: not server._server.server_state.connections)
    assert server.healthy()


def test_too_many_connections_are_turned_away(loopback):
    server = loopback(limits={"connections": 10})
    idle = [server.raw() for _ in range(12)]
    try:
        wait_until(lambda: httpx.get(f"{server.url}/healthz").status_code == 503)
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)


def test_live_goes_on_while_a_film_is_read(loopback, film, jpegs):
    server = loopback()
    with httpx.Client(base_url=server.url) as client:
        answer = client.post("/v1/films", content=film)
        live, _ = server.live()
        with live:
            for n, jpeg in enumerate(jpegs):
                live.send(packed((n, n / 10, jpeg)))
                assert json.loads(live.recv(timeout=30))["type"] == "result"
        assert finished(client, answer)["state"] == "done"


def test_the_example_client_talks_to_it(loopback, film, tmp_path):
    path = tmp_path / "drawn.avi"
    path.write_bytes(film)
    server = loopback()
    client = [sys.executable, str(EXAMPLES / "live_client.py"), str(path), server.url]
    done = subprocess.run(client, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" ") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(n) for n in range(12)]
    assert all(row[1] == "0" and row[3] for row in rows)
    lines = (EXAMPLES / "live_client.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= 32
