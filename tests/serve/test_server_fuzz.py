"""Ten thousand broken messages and films: the server lives, answers what is right, and stays small.

Run alone, with its numbers: pytest tests/serve/test_server_fuzz.py -n 0 -s
"""

import json
import random
import socket
import time

import fuzz
import httpx
import pytest
from loopback import finished, packed
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from jaxfacs.bench.serve import process_use, start

HARMLESS, FATAL, UPLOADS, REQUESTS = 4000, 2500, 1500, 2000
ROUNDS = 20  # all kinds in turn, so that memory is compared between alike
MOST_MB = 50


def right_requests(url, film, jpegs):
    """One film and one live frame as they should be."""
    with httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/healthz").json() == {"ready": True}
        answer = client.post("/v1/films", content=film)
        assert finished(client, answer)["state"] == "done"
        client.delete(answer.json()["url"])
    with connect(url.replace("http", "ws") + "/v1/live") as live:
        live.send('{"type": "start", "format": "jpeg"}')
        assert json.loads(live.recv(timeout=30))["type"] == "ready"
        live.send(packed((0, 0.0, jpegs[0])))
        answer = json.loads(live.recv(timeout=30))
        assert answer["type"] == "result" and len(answer["faces"]) == 1


def send_harmless(draw, url, jpegs, count):
    with connect(url.replace("http", "ws") + "/v1/live") as live:
        live.send('{"type": "start", "format": "jpeg"}')
        live.recv(timeout=30)
        for n in range(count):
            live.send(fuzz.harmless(draw, jpegs, n))
            answer = json.loads(live.recv(timeout=30))
            assert answer["type"] in ("result", "dropped") and answer["sequence"] == n


def send_fatal(draw, url, count):
    for n in range(count):
        message, text = fuzz.fatal(draw)
        with connect(url.replace("http", "ws") + "/v1/live") as live:
            try:
                if n % 2:
                    live.send('{"type": "start", "format": "jpeg"}')
                live.send(message, text=text)
                live.socket.shutdown(socket.SHUT_WR) if n % 7 == 0 else live.send('{"type":"stop"}')
                while json.loads(live.recv(timeout=30))["type"] not in ("error", "stopped"):
                    pass
            except (ConnectionClosed, OSError):
                pass


def send_uploads(draw, url, film, jpegs, count):
    seen = set()
    with httpx.Client(base_url=url, timeout=60) as client:
        for _ in range(count):
            query = draw.choice(("", "?name=../../x", "?every=3", "?smooth_s=x", "?baseline=[]"))
            body = fuzz.upload(draw, film, jpegs)
            answer = client.post(f"/v1/films{query}", content=body)
            seen.add(answer.status_code)
            if answer.status_code == 202:
                seen.add(finished(client, answer)["state"])
                client.delete(answer.json()["url"])
            else:
                error = answer.json()["error"]
                assert answer.status_code in (400, 415) and "\n" not in error
    return seen


def send_requests(draw, port, count):
    for n in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                connection.sendall(fuzz.request(draw))
                if n % 3 == 0:  # the others leave without hearing the answer
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(65536)
                    assert b" 500 " not in answer.split(b"\r\n")[0], answer
            except OSError:
                pass


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_ten_thousand_broken_messages_and_films(model, film, jpegs, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    server, url = start(model, "--limits.frames-per-second", "1000000", log=tmp_path / "log")
    port = int(url.rpartition(":")[2])
    draw, begun, sizes, seen = random.Random(6), time.monotonic(), [], set()
    try:
        for _ in range(ROUNDS):
            send_harmless(draw, url, jpegs, HARMLESS // ROUNDS)
            send_fatal(draw, url, FATAL // ROUNDS)
            seen |= send_uploads(draw, url, film, jpegs, UPLOADS // ROUNDS)
            send_requests(draw, port, REQUESTS // ROUNDS)
            right_requests(url, film, jpegs)
            assert server.poll() is None
            sizes.append(process_use(server.pid)[1])
        assert {"done", "failed", 415, 400} <= seen
        time.sleep(1)
        left = [p for p in temporary.rglob("*") if p.is_file() and p.name != "lock"]
        assert left == []
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log
        print(
            f"\n{HARMLESS + FATAL + UPLOADS + REQUESTS} in {time.monotonic() - begun:.0f} s; "
            f"MB after each {1 / ROUNDS:.0%}: {' '.join(f'{mb:.0f}' for mb in sizes)}"
        )
        assert max(sizes[2:]) - min(sizes[2:]) < 2 * MOST_MB
        assert abs(sizes[-1] - sizes[2]) < MOST_MB
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert list(temporary.glob("jaxfacs-serve-*")) == []
