"""What a connection may take of the server: how many a visitor may have, and how long a question may be on its way."""

import asyncio
from collections import Counter
from typing import Any, ClassVar, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tcd_hf.app.server import DEFAULT_MAX_CONNECTIONS

__all__ = ["Limits", "limited"]

REFUSAL = b"Too many connections from your address: close some of them, or try again later.\n"


class Limits(NamedTuple):
    """Limits of connections.

    Attributes:
        connections (`int`): that one address may have at once; 0 for any number. A browser has up to six.
        header_seconds (`float`): within which the headers of a question must have come, from the begin of the
            connection, or from the end of the answer before.
        body_seconds (`float`), body_bytes (`int`): of a body, at least so many bytes must come every so many seconds.
    """

    connections: int = DEFAULT_MAX_CONNECTIONS
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    body_bytes: int = 10_000


def limited(limits: Limits) -> type[H11Protocol]:
    """What uvicorn speaks on each connection (its option `http`), within limits.

    Uvicorn by itself waits for the rest of a question for ever. An answer may be taken as slowly as one likes: a
    browser that plays a video fetches the next bytes when it needs them.
    """
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits, "connections_of": Counter()})


class _LimitedProtocol(H11Protocol):
    limits: ClassVar[Limits]
    connections_of: ClassVar[Counter[str]]  # addresses
    _address: str | None = None  # of one who was let in
    _awaited: Any = None  # what is on its way: the headers (h11.IDLE) or the body (h11.SEND_BODY) of a question
    _deadline: asyncio.TimerHandle | None = None
    _received = 0  # bytes of a body

    def connection_made(self, transport: Any) -> None:
        address = (transport.get_extra_info("peername") or [""])[0]
        if 0 < self.limits.connections <= self.connections_of[address]:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 10\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(REFUSAL), REFUSAL)
            )
            transport.close()  # nothing that it sends is read
            return
        self._address = address
        self.connections_of[address] += 1
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        if self._address is None:
            return
        self.connections_of[self._address] -= 1
        if not self.connections_of[self._address]:
            del self.connections_of[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Sets a deadline when it begins to wait for something of a question; none while the question is answered."""
        awaited = self.conn.their_state if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) else None
        if awaited is not self._awaited:
            self._awaited = awaited
            seconds = {h11.IDLE: self.limits.header_seconds, h11.SEND_BODY: self.limits.body_seconds}
            self._set_deadline(seconds.get(awaited))

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._received = 0
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        """Ends the connection, unless enough of a body has come, or what has come is still to be taken."""
        enough = self._received >= self.limits.body_bytes or self.flow.read_paused
        if self._awaited is h11.SEND_BODY and enough:
            self._set_deadline(self.limits.body_seconds)
        else:
            self.transport.close()
