"""Connections that must say what they want in time, and take what they asked for.

uvicorn closes idle connections after an answer, but waits for ever for the head of a first request,
and for a client that does not read what it is sent: each would keep its connection.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


def http(header_s: float, unread_s: float) -> type[H11Protocol]:
    """uvicorn's HTTP, with two bounds.

    Args:
      header_s: in which the head of a request must arrive.
      unread_s: for which a client may leave unread what it was sent.
    """

    class Http(_Read, H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None
        _unread_s = unread_s

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.get_protocol() is not self:  # a websocket now: nothing ends this one
                self._stop_waiting()
                self._stop_looking()
            elif self._between_requests():
                self._await_head()
            else:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _between_requests(self) -> bool:
            return self.conn.their_state is h11.IDLE

        def _await_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(header_s, self._give_up)

        def _stop_waiting(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            self._head_timer = None
            if self._between_requests() and not self.transport.is_closing():
                self.transport.close()

    return Http


def websocket(unread_s: float) -> type[WebSocketsSansIOProtocol]:
    """uvicorn's websockets; `unread_s` as for `http`."""

    class WebSocket(_Read, WebSocketsSansIOProtocol):
        _unread_s = unread_s

    return WebSocket


class _Read:
    """Mixed in before a protocol: gives up on a peer that takes nothing of what it is sent.

    A closing transport waits for what it still has to send, without an end of its own.
    """

    loop: asyncio.AbstractEventLoop
    transport: Any
    _unread_s: float
    _unread: int | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._unread_timer = self.loop.call_later(self._unread_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_looking()
        super().connection_lost(exc)  # type: ignore[misc]

    def _stop_looking(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _look(self) -> None:
        left = self.transport.get_write_buffer_size()
        # As much as before: nothing was taken, or as much was added, which a live client's window
        # and an answer's flow control do not allow.
        if left and left == self._unread:
            self.transport.abort()
            return
        self._unread = left
        self._unread_timer = self.loop.call_later(self._unread_s, self._look)
