"""A live session: frames of one client in, answers out, in order; what is too much is told."""

import asyncio
import contextlib
import json
import time
import traceback
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from jaxfacs.faces.track import follower
from jaxfacs.infer.answers import AnswerSettings
from jaxfacs.infer.sources import picture
from jaxfacs.serve import faces, messages
from jaxfacs.serve.batching import Full, Stopped
from jaxfacs.serve.limits import TooMany
from jaxfacs.serve.log import event
from jaxfacs.serve.messages import BadMessage, Frame, Start
from jaxfacs.serve.pictures import decode_jpeg, too_long
from jaxfacs.serve.service import Service

BAD, NO_TOKEN, WRONG_ORIGIN, IDLE, TOO_LONG, TOO_MANY = 4400, 4401, 4403, 4408, 4410, 4429
_FAILED, _GOING_AWAY = 1011, 1012
_REFUSED = {401: NO_TOKEN, 403: WRONG_ORIGIN}

_SEND_S = 10.0  # in which a message must leave
_MOST_UNSENT = 1000  # replies that a client has not read
_DRAIN_S = 30.0  # for the frames that wait when a client says stop


class Ended(Exception):
    """The session is over: a close code, and one line for the client."""

    def __init__(self, code: int, error: str):
        super().__init__(error)
        self.code = code


@dataclass(eq=False)
class _Slot:
    """A place in the order of replies; `reply` is None while the frame waits or is looked at."""

    frame: Frame | None
    came: float
    reply: str | None = None


async def serve(websocket: WebSocket) -> None:
    """The route /v1/live."""
    service: Service = websocket.app.state.service
    await websocket.accept()
    refused = websocket.scope.get("refused")
    if refused is not None:
        await _close(websocket, Ended(_REFUSED.get(refused[0], BAD), refused[1]))
        service.metrics.count("jaxfacs_live_sessions_total", end="refused")
        return
    await Session(websocket, service, websocket.scope["client_name"]).run()


class Session:
    """One websocket from its first message to its last."""

    def __init__(self, websocket: WebSocket, service: Service, client: str):
        self._websocket, self._service, self._client = websocket, service, client
        self._limits = service.limits
        self._begun = time.monotonic()
        self._waiting: deque[_Slot] = deque()
        self._unsent: deque[_Slot] = deque()
        self._work, self._send = asyncio.Event(), asyncio.Event()
        self._last_sequence, self._last_time = -1, -1.0
        self._room = 0
        self._frames = 0
        self._dropped: Counter[str] = Counter()

    async def run(self) -> None:
        end = "closed"
        try:
            with self._service.shares.holding(
                "sessions",
                self._client,
                most=self._limits.sessions,
                most_of_all=self._limits.all_sessions,
            ):
                event("live.begun", client=self._client)
                await self._talk()
        except TooMany as error:
            end = "too many"
            await _close(self._websocket, Ended(TOO_MANY, str(error)))
        except BadMessage as error:
            end = "bad message"
            await _close(self._websocket, Ended(BAD, str(error)))
        except Ended as error:
            end = _ENDS.get(error.code, "failed")
            await _close(self._websocket, error)
        except WebSocketDisconnect:
            end = "disconnected"
        except Exception:  # a bug of ours ends this session, not the server
            end = "failed"
            traceback.print_exc()
            error = "the server failed at this; its log says why"
            await _close(self._websocket, Ended(_FAILED, error))
        finally:
            self._service.metrics.count("jaxfacs_live_sessions_total", end=end)
            event(
                "live.ended",
                client=self._client,
                end=end,
                frames=self._frames,
                dropped=sum(self._dropped.values()),
                seconds=time.monotonic() - self._begun,
            )

    async def _talk(self) -> None:
        first = await self._receive()
        if not isinstance(first, str):
            raise BadMessage('the first message is {"type": "start", ...}, not frames')
        self._start = messages.read_start(messages.read_text(first), self._limits)
        settings = AnswerSettings(
            baseline=self._start.baseline, smooth_s=self._start.smooth_s, causal=True
        )
        self._live = self._service.predictor.live(
            settings=settings, follow=follower(self._service.detector)
        )
        # Frames that are looked at together may wait together.
        self._least_room = max(self._limits.window, self._live.at_once)
        ready = {
            "type": "ready",
            "window": self._limits.window,
            "max_frames_per_message": self._limits.frames_per_message,
        }
        await self._write(json.dumps(ready))
        tasks = [
            asyncio.create_task(work) for work in (self._listen(), self._look_on(), self._reply())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(1000)

    async def _listen(self) -> None:
        """Takes messages until the client says stop and all that waited is answered."""
        while True:
            message = await self._receive()
            if isinstance(message, bytes):
                self._take(messages.read_frames(message, self._limits))
                continue
            words = messages.read_text(message)
            if words["type"] == "stop":
                break
            if words["type"] != "baseline":
                raise BadMessage('a message is of type "baseline" or "stop", or frames')
            self._baseline(messages.read_baseline(words))
        end = time.monotonic() + _DRAIN_S
        while self._unsent and time.monotonic() < end:
            await asyncio.sleep(0.005)
        stopped = {
            "type": "stopped",
            "frames": self._frames,
            "dropped": sum(self._dropped.values()),
        }
        await self._write(json.dumps(stopped))

    async def _receive(self) -> str | bytes:
        now = time.monotonic()
        left_s = self._begun + self._limits.session_s - now
        try:
            async with asyncio.timeout(max(0.0, min(left_s, self._limits.idle_s))):
                message = await self._websocket.receive()
        except TimeoutError:
            if left_s <= self._limits.idle_s:
                raise Ended(
                    TOO_LONG,
                    f"a session lasts {self._limits.session_s:g} s at most; start another",
                ) from None
            raise Ended(
                IDLE, f"nothing was sent for {self._limits.idle_s:g} s; start again when needed"
            ) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        data = message.get("bytes")
        return message.get("text") or "" if data is None else data

    def _take(self, frames: list[Frame]) -> None:
        """Puts frames in line, and drops, telling so, what is too much."""
        now = time.monotonic()
        self._room = max(self._room, self._least_room + len(frames) - 1)
        for frame in frames:
            if frame.sequence <= self._last_sequence:
                raise BadMessage("the sequence numbers of frames must rise")
            self._last_sequence = frame.sequence
            self._frames += 1
            self._service.metrics.count("jaxfacs_frames_received_total")
            slot = _Slot(frame, now)
            self._unsent.append(slot)
            reason = self._reason_to_drop(frame)
            if reason:
                self._drop(slot, reason)
                continue
            self._last_time = frame.timestamp
            self._waiting.append(slot)
        while len(self._waiting) > self._room:
            self._drop(self._waiting.popleft(), "behind")
        if len(self._unsent) > _MOST_UNSENT:
            raise Ended(IDLE, "the answers are not read; read them as they come")
        self._work.set()

    def _reason_to_drop(self, frame: Frame) -> str | None:
        if frame.timestamp <= self._last_time:
            return "time"
        if not self._service.rates.take(self._client):
            return "too fast"
        if len(frame.data) > self._limits.frame_bytes:
            return "too large"
        start = self._start
        if start.format == "raw":
            wanted = 3 * start.width * start.height
            if len(frame.data) != wanted:
                raise BadMessage(
                    f"a raw frame of {start.width}x{start.height} has {wanted} bytes, not "
                    f"{len(frame.data)}"
                )
            return None
        size = picture.size(frame.data)
        if size is not None and size[0] * size[1] > self._limits.frame_pixels:
            return "too many pixels"
        return "shape" if size is not None and too_long(*size) else None

    def _drop(self, slot: _Slot, reason: str) -> None:
        assert slot.frame is not None
        self._dropped[reason] += 1
        self._service.metrics.count("jaxfacs_frames_dropped_total", reason=reason)
        reply = {"type": "dropped", "sequence": slot.frame.sequence, "reason": reason}
        self._settle(slot, reply)

    def _settle(self, slot: _Slot, reply: dict[str, Any]) -> None:
        slot.reply, slot.frame = json.dumps(reply, separators=(",", ":")), None
        self._send.set()

    def _baseline(self, length_s: float | None) -> None:
        if length_s is None:
            self._live.clear_rest()
            is_set = False
        else:
            is_set = self._live.set_rest(length_s)
        slot = _Slot(None, time.monotonic())
        self._unsent.append(slot)
        self._settle(slot, {"type": "baseline", "set": is_set})

    async def _look_on(self) -> None:
        """Frames of this client, those that wait together: look, ask the network, answer."""
        while True:
            while not self._waiting:
                self._work.clear()
                await self._work.wait()
            slots = [
                self._waiting.popleft() for _ in range(min(self._live.at_once, len(self._waiting)))
            ]
            try:
                await self._answer(slots)
            except Full:
                for slot in slots:
                    self._drop(slot, "behind")
            except Stopped:
                raise Ended(_GOING_AWAY, "the server stops") from None

    async def _answer(self, slots: list[_Slot]) -> None:
        service = self._service
        frames = [slot.frame for slot in slots if slot.frame is not None]
        loop = asyncio.get_running_loop()
        clips, began, looked = await loop.run_in_executor(service.pool, self._look, frames)
        outputs = {}
        if len(clips):
            future = service.batcher.ask(clips, client=self._client_key, live=True)
            outputs = await asyncio.wrap_future(future)
        known = time.monotonic()
        results = self._live.answer_all(outputs)
        for slot, frame, result in zip(slots, frames, results, strict=True):
            seen = [faces.face(f, service.explain) for f in result.faces]
            stages = {
                "wait": began - slot.came,
                "detect": looked - began,
                "network": known - looked,
                "total": time.monotonic() - slot.came,
            }
            for stage, seconds in stages.items():
                service.metrics.observe("jaxfacs_live_seconds", seconds, stage=stage)
            service.metrics.count("jaxfacs_frames_answered_total")
            reply = {
                "type": "result",
                "sequence": frame.sequence,
                "timestamp": frame.timestamp,
                "latency_ms": {stage: round(1000 * s, 2) for stage, s in stages.items()},
                "faces": seen,
                "readable": result.readable,
            }
            self._settle(slot, reply)

    @property
    def _client_key(self) -> str:
        return f"{self._client} {id(self)}"

    def _look(self, frames: list[Frame]) -> tuple[np.ndarray, float, float]:
        """In a thread of the pool: the frames' clips, and when it began and was done."""
        began = time.monotonic()
        decoded = ((_decoded(f, self._start), f.timestamp, f.sequence) for f in frames)
        return self._live.look_all(decoded), began, time.monotonic()

    async def _reply(self) -> None:
        while True:
            while not self._unsent or self._unsent[0].reply is None:
                self._send.clear()
                await self._send.wait()
            slot = self._unsent[0]
            assert slot.reply is not None
            await self._write(slot.reply)
            self._unsent.popleft()

    async def _write(self, text: str) -> None:
        try:
            async with asyncio.timeout(_SEND_S):
                await self._websocket.send_text(text)
        except TimeoutError:
            raise Ended(IDLE, "the answers are not read; read them as they come") from None
        except RuntimeError:  # uvicorn's, where the connection had ended already
            raise WebSocketDisconnect(1006) from None


_ENDS = {
    IDLE: "idle",
    TOO_LONG: "too long",
    _GOING_AWAY: "server stopped",
}


def _decoded(frame: Frame, start: Start) -> np.ndarray | None:
    if start.format == "jpeg":
        return decode_jpeg(frame.data)
    return np.frombuffer(frame.data, np.uint8).reshape(start.height, start.width, 3)


async def _close(websocket: WebSocket, ended: Ended) -> None:
    """Tells why, and closes; a client that has left already is no error."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        text = json.dumps({"type": "error", "error": str(ended)})
        async with asyncio.timeout(_SEND_S):
            await websocket.send_text(text)
            await websocket.close(ended.code, str(ended)[:120])
