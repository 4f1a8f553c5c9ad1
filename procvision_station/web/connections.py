"""How long a client may take, and how many connections it may have: none holds a place that others need.

uvicorn bounds the pause between two requests alone. A client that sends a byte of a header a second, a body without an
end, or reads nothing of its answer, would hold its connection for ever, and with some hundred of them the page.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

LOOK_S = 1.0
"""How often a connection is looked at."""
MAX_CONNECTIONS = 500
"""Browsers and programs at a time; one more is told 503."""
MAX_OF_ONE_ADDRESS = 250
"""Of them, those of one address. Behind a proxy all have the proxy's, and it is not counted."""
HEADER_WITHIN_S = 10.0
"""From a request's first byte, or from the connection, to the end of the header."""
BODY_WITHIN_S, BODY_BYTES_PER_S = 20.0, 16 * 1024
"""A body may take so long, and so much longer as it has bytes: a bundle comes over a slow line, too."""
STALLED_S = 60.0
"""An answer of which nothing was taken for so long ends: a browser that sleeps asks again when it wakes."""


class BoundedProtocol(H11Protocol):
    """A connection that is looked at once a second."""

    proxies: bool
    """Whether reverse proxies are believed."""
    of_address: Counter[str]
    """Connections of the server, by the client's address."""
    look_s, header_within_s, body_within_s, stalled_s = LOOK_S, HEADER_WITHIN_S, BODY_WITHIN_S, STALLED_S
    most_of_one = MAX_OF_ONE_ADDRESS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._look: asyncio.TimerHandle | None = None
        self._address = ""
        self._header_since: float | None = None
        """When the header that is not whole yet began."""
        self._body_since, self._body_bytes = 0.0, 0
        self._unsent, self._stalled_since = 0, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless its address has too many."""
        super().connection_made(transport)
        now = self.loop.time()
        self._header_since = self._stalled_since = now
        self._address = str(self.client[0]) if self.client else ""
        self.of_address[self._address] += 1
        if self.of_address[self._address] > self.most_of_one and not self.proxies:
            transport.abort()
            return
        self._look = self.loop.call_later(self.look_s, self._looked_at)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        if self._look is not None:
            self._look.cancel()
        self.of_address[self._address] -= 1
        if not self.of_address[self._address]:
            del self.of_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note what has begun to come, and what is whole."""
        now = self.loop.time()
        before = self.scope
        if self._header_since is None and self.conn.their_state is h11.IDLE:
            self._header_since = now
        self._body_bytes += len(data)
        super().data_received(data)
        if self.scope is not before:
            self._body_since, self._body_bytes = now, 0
        if self.conn.their_state is not h11.IDLE:
            self._header_since = None

    def on_response_complete(self) -> None:
        """Begin with the next request, of which there may be something already."""
        self._header_since = None
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._header_since = self.loop.time()

    def _looked_at(self) -> None:
        now = self.loop.time()
        closing = self.transport.is_closing()  # it goes on until the client has taken what waits
        if self._is_stalled(now) or (not closing and self._body_is_late(now)):
            self.transport.abort()
            return
        if not closing and self._header_since is not None and now - self._header_since > self.header_within_s:
            self.send_400_response("The header took too long.")
        self._look = self.loop.call_later(self.look_s, self._looked_at)

    def _body_is_late(self, now: float) -> bool:
        """Return whether a body comes too slowly. While nobody reads it, that is no fault of the client."""
        if self.conn.their_state is not h11.SEND_BODY or self.flow.read_paused:
            return False
        return now - self._body_since > self.body_within_s + self._body_bytes / BODY_BYTES_PER_S

    def _is_stalled(self, now: float) -> bool:
        """Return whether the client took nothing of what waits for it."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._stalled_since = now
        self._unsent = unsent
        return now - self._stalled_since > self.stalled_s


def bounded(*, proxies: bool, **bounds: float) -> type[BoundedProtocol]:
    """Return the class of a server's connections. `bounds` are other numbers than those above, by their names."""
    return type("Connection", (BoundedProtocol,), {"proxies": proxies, "of_address": Counter(), **bounds})
