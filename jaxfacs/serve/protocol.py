"""HTTP connections that must say what they want in time.

uvicorn closes idle connections after an answer, but waits for ever for the head of a first request,
or for the rest of one: a client that sends a byte a minute would keep its connection.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def protocol(header_s: float) -> type[H11Protocol]:
    """uvicorn's protocol, which closes where the head of a request takes longer than `header_s`."""

    class Impatient(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._between_requests():
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

    return Impatient
