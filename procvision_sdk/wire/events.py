"""What a `Connection` tells its side of: the peer's messages, and these."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from procvision_sdk.wire.messages import AnyMessage, Error, Ping, Pong, Result


class Violation(msgspec.Struct, frozen=True):
    """The peer broke a rule. `reply` is the `error` frame to send, None where nothing can be sent any more.

    `kind` is the machine-readable rule, one of `wire.errors.REFUSALS`; `fatal` says that the connection is over:
    hang up after the reply, which can go out unless the same read closed the connection.
    For a host `request_id` is the refused frame's own; for a runner it is the call that has had its answer with
    this, since the refused frame was a `result` or an `error` of that id.
    """

    kind: str
    message: str
    fatal: bool
    reply: Error | None
    request_id: str | None = None


class UnexpectedAnswer(msgspec.Struct, frozen=True):
    """An answer that no call or ping is waiting for: late, doubled or invented. Never taken for another's."""

    message: Result | Error | Pong


class PeerClosed(msgspec.Struct, frozen=True):
    """The peer's stream ended between two frames."""


class HandshakeExpired(msgspec.Struct, frozen=True):
    """The peer's hello did not come within the handshake's timeout."""

    timeout_s: float


class PingDue(msgspec.Struct, frozen=True):
    """It is time to send this ping."""

    ping: Ping


class PongMissed(msgspec.Struct, frozen=True):
    """A ping was not answered in time; `unresponsive` once that happened as often in a row as is allowed."""

    misses: int
    unresponsive: bool


Event: TypeAlias = AnyMessage | Violation | UnexpectedAnswer | PeerClosed | HandshakeExpired | PingDue | PongMissed
