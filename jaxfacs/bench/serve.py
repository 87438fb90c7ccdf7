"""`jaxfacs bench serve`: live clients at a steady rate, and what becomes of each frame."""

import asyncio
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import source as sources

_DRAIN_S = 30.0  # for the answers to the last frames
_STAGES = ("wait", "detect", "network", "total")


@dataclass
class Client:
    """What one client saw: when frames left, when they were answered, and how."""

    sent: dict[int, float] = field(default_factory=dict)
    round_trip_ms: list[float] = field(default_factory=list)
    stages_ms: list[tuple[float, ...]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    error: str = ""


def main(
    *,
    model: Path | None = None,
    address: str | None = None,
    token: str | None = None,
    film: Path | None = None,
    clients: int = 8,
    fps: float = 10.0,
    seconds: float = 60.0,
    batch: int | None = None,
    workers: int | None = None,
) -> int:
    """Measure a server under live clients that each send frames at a steady rate.

    Starts a server on this machine, unless --address names one. Every frame must be answered or be
    told as dropped; exit code 1 if one was not. Latency is from a frame's sending to its answer, as
    the client sees it, then the server's own stages.

    Args:
      model: a .jaxfacs file; without it a 3D-MobileNetV2 of 16x112x112 with random weights, 17 AUs
        (random weights cost what trained ones cost).
      address: of a server that runs, as in http://127.0.0.1:8000.
      token: of that server.
      film: whose frames are sent, as JPEGs; without it a rendered face in 640x360.
      clients: how many send at once.
      fps: frames a second of each.
      seconds: how long.
      batch: as in `jaxfacs serve`.
      workers: as in `jaxfacs serve`.
    """
    with tempfile.TemporaryDirectory() as folder:
        jpegs = _frames(film, Path(folder))
        if address is not None:
            return _measure(address, token, jpegs, clients, fps, seconds, None)
        server, address = start(
            model or _untrained(Path(folder)),
            "--limits.sessions", str(clients),
            "--limits.all-sessions", str(clients),
            "--limits.frames-per-second", str(2 * clients * fps),
            *(("--batch", str(batch)) if batch else ()),
            *(("--workers", str(workers)) if workers else ()),
            log=Path(folder) / "log",
        )  # fmt: skip
        try:
            return _measure(address, None, jpegs, clients, fps, seconds, server.pid)
        finally:
            server.terminate()
            server.wait(timeout=30)


def start(model: Path, *args: str, log: Path) -> tuple[subprocess.Popen, str]:
    """A server in a process of its own on a free port; (process, address) once it is ready.

    What it says on stderr goes to `log`.
    """
    command = [sys.executable, "-m", "jaxfacs", "serve", "--model", str(model), "--port", "0"]
    with log.open("w") as file:
        server = subprocess.Popen([*command, *args], stdout=subprocess.PIPE, stderr=file, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line.startswith("jaxfacs serves "):
        said = log.read_text().strip().splitlines() or ["nothing"]
        raise UserError(f"the server did not start; it said: {said[-1]}")
    return server, line.split()[2].rstrip("/")


def process_use(pid: int) -> tuple[float, float]:
    """(CPU seconds so far, resident MB) of a process of this machine."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s = (int(parts[11]) + int(parts[12])) / ticks
    return cpu_s, int(parts[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _measure(
    address: str,
    token: str | None,
    jpegs: list[bytes],
    clients: int,
    fps: float,
    seconds: float,
    pid: int | None,
) -> int:
    asyncio.run(_all(address, token, jpegs, 1, fps, 2.0))  # warm: the first frames of a face
    before = process_use(pid) if pid else None
    begun = time.monotonic()
    seen = asyncio.run(_all(address, token, jpegs, clients, fps, seconds))
    elapsed = time.monotonic() - begun
    after = process_use(pid) if pid else None
    return _report(seen, clients, fps, seconds, elapsed, before, after)


async def _all(
    address: str, token: str | None, jpegs: list[bytes], clients: int, fps: float, seconds: float
) -> list[Client]:
    seen = [Client() for _ in range(clients)]
    begun = time.monotonic() + 0.2
    talks = [
        _talk(address, token, jpegs, one, fps, seconds, begun + n / clients / fps)
        for n, one in enumerate(seen)
    ]
    await asyncio.gather(*talks)
    return seen


async def _talk(
    address: str,
    token: str | None,
    jpegs: list[bytes],
    seen: Client,
    fps: float,
    seconds: float,
    begun: float,
) -> None:
    from websockets.asyncio.client import connect

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    live = address.replace("http", "ws", 1) + "/v1/live"
    async with connect(live, additional_headers=headers, max_size=None) as socket:
        await socket.send(json.dumps({"type": "start", "format": "jpeg"}))
        ready = json.loads(await socket.recv())
        if ready["type"] != "ready":
            raise UserError(f"{address} refuses a live client: {ready.get('error')}")
        listening = asyncio.create_task(_listen(socket, seen))
        for n in range(round(seconds * fps)):
            await asyncio.sleep(max(0.0, begun + n / fps - time.monotonic()))
            jpeg = jpegs[n % len(jpegs)]
            seen.sent[n] = time.monotonic()
            await socket.send(struct.pack("<IdI", n, n / fps, len(jpeg)) + jpeg)
        await socket.send(json.dumps({"type": "stop"}))
        await asyncio.wait_for(listening, _DRAIN_S)


async def _listen(socket: Any, seen: Client) -> None:
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "stopped":
            return
        if message["type"] == "error":
            seen.error = message["error"]
            return
        sent = seen.sent.pop(message["sequence"])
        if message["type"] == "dropped":
            seen.dropped[message["reason"]] += 1
            continue
        seen.round_trip_ms.append(1000 * (time.monotonic() - sent))
        seen.stages_ms.append(tuple(message["latency_ms"][s] for s in _STAGES))
        seen.faces += len(message["faces"])


def _report(
    seen: list[Client],
    clients: int,
    fps: float,
    seconds: float,
    elapsed: float,
    before: tuple[float, float] | None,
    after: tuple[float, float] | None,
) -> int:
    answered = sum(len(one.round_trip_ms) for one in seen)
    dropped = sum((one.dropped for one in seen), Counter())
    silent = sum(len(one.sent) for one in seen)
    sent = answered + dropped.total() + silent
    cores = len(os.sched_getaffinity(0))
    print(f"{clients} clients, {fps:g} frames/s each, {seconds:g} s, {cores} cores")
    reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items()) or "none"
    print(f"sent {sent}, answered {answered}, dropped and told {dropped.total()} ({reasons})")
    print(f"neither answered nor told: {silent}")
    for error in {one.error for one in seen if one.error}:
        print(f"a session ended: {error}")
    print(f"answers/s {answered / elapsed:.1f}, faces {sum(one.faces for one in seen)}")
    if answered:
        rows = {"round trip": [ms for one in seen for ms in one.round_trip_ms]}
        stages = np.array([row for one in seen for row in one.stages_ms])
        rows |= {f"server: {name}": stages[:, i].tolist() for i, name in enumerate(_STAGES)}
        print(f"{'ms':<18}{'p50':>8}{'p95':>8}{'p99':>8}")
        for name, values in rows.items():
            p50, p95, p99 = np.percentile(values, (50, 95, 99))
            print(f"{name:<18}{p50:>8.1f}{p95:>8.1f}{p99:>8.1f}")
    if before and after:
        share = (after[0] - before[0]) / elapsed
        print(f"server: {share:.2f} cores, memory {before[1]:.0f} -> {after[1]:.0f} MB")
    return 1 if silent else 0


def _frames(film: Path | None, folder: Path) -> list[bytes]:
    """JPEGs of a film, at most 250."""
    (opened,) = sources.find([str(film or _render(folder / "film.avi"))])
    jpegs = []
    for (_, _, frame), _ in zip(opened.frames(), range(250), strict=False):
        if frame is not None:
            jpegs.append(cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes())
    return jpegs


def _render(path: Path) -> Path:
    from jaxfacs.bench import predict

    return predict._render(path, 48)


def _untrained(folder: Path) -> Path:
    from jaxfacs.bench import predict

    return predict._untrained(folder)
