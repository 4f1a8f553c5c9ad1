"""The rules of the wire as data: who may say what in which state, and where that leads.

Two machines. The *connection state* is the wire's own, one on either side. The *host status* is what the host is
busy with, and what its pong tells. What does not stand in a table is illegal. `Connection` interprets the first
table, the host's `status.py` the second; the reference page and its diagrams are made from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TypeAlias


class Role(StrEnum):
    """Which end of the pipe a `Connection` is."""

    RUNNER = "runner"
    HOST = "host"


class ConnectionState(StrEnum):
    """The wire's states. `FAILED`: the incoming stream can't be followed any more, what is owed may still go out."""

    STARTING = "starting"
    HANDSHAKING = "handshaking"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"
    FAILED = "failed"


class HostStatus(StrEnum):
    """What a host is busy with, as its pong tells."""

    STARTING = "starting"
    READY = "ready"
    EXECUTING = "executing"
    DRAINING = "draining"


Direction: TypeAlias = Literal["send", "receive", "local"]
Act: TypeAlias = tuple[Direction, str]
"""A direction and a message type; `("receive", "end")` is the end of the peer's stream, `("receive", "garbage")` a
stream that can't be followed, `("local", "drain")` a host's own decision to leave (a signal, a FatalError)."""

_S = ConnectionState


def _all_to(target: ConnectionState, *acts: Act) -> dict[Act, ConnectionState]:
    return dict.fromkeys(acts, target)


_HOST: dict[ConnectionState, dict[Act, ConnectionState]] = {
    _S.STARTING: {
        ("send", "hello"): _S.HANDSHAKING,
        ("receive", "garbage"): _S.FAILED,
    },
    _S.HANDSHAKING: {
        ("receive", "hello"): _S.OPEN,
        ("receive", "shutdown"): _S.DRAINING,
        ("receive", "end"): _S.DRAINING,
        ("receive", "garbage"): _S.FAILED,
        ("local", "drain"): _S.DRAINING,
        **_all_to(_S.HANDSHAKING, ("receive", "ping"), ("receive", "error"), ("send", "pong"), ("send", "error")),
    },
    _S.OPEN: {
        ("receive", "shutdown"): _S.DRAINING,
        ("receive", "end"): _S.DRAINING,
        ("receive", "garbage"): _S.FAILED,
        ("local", "drain"): _S.DRAINING,
        **_all_to(_S.OPEN, ("receive", "call"), ("receive", "cancel"), ("receive", "ping"), ("receive", "error")),
        **_all_to(_S.OPEN, ("send", "result"), ("send", "error"), ("send", "pong")),
    },
    _S.DRAINING: {
        ("send", "shutdown"): _S.CLOSED,
        ("receive", "garbage"): _S.FAILED,
        **_all_to(_S.DRAINING, ("receive", "cancel"), ("receive", "ping"), ("receive", "error")),
        **_all_to(_S.DRAINING, ("receive", "shutdown"), ("receive", "end"), ("local", "drain")),
        **_all_to(_S.DRAINING, ("send", "result"), ("send", "error"), ("send", "pong")),
    },
    _S.FAILED: {
        ("send", "shutdown"): _S.CLOSED,
        # A pong is owed if the ping came in the same read as what could not be followed.
        **_all_to(_S.FAILED, ("send", "result"), ("send", "error"), ("send", "pong"), ("local", "drain")),
    },
    _S.CLOSED: {},
}

_RUNNER: dict[ConnectionState, dict[Act, ConnectionState]] = {
    _S.STARTING: {
        ("receive", "hello"): _S.HANDSHAKING,
        ("receive", "error"): _S.STARTING,
        ("receive", "end"): _S.CLOSED,
        ("receive", "garbage"): _S.FAILED,
        ("send", "error"): _S.STARTING,
    },
    _S.HANDSHAKING: {
        ("send", "hello"): _S.OPEN,
        ("send", "shutdown"): _S.DRAINING,
        ("receive", "shutdown"): _S.CLOSED,
        ("receive", "end"): _S.CLOSED,
        ("receive", "garbage"): _S.FAILED,
        **_all_to(_S.HANDSHAKING, ("send", "ping"), ("send", "error"), ("receive", "pong"), ("receive", "error")),
    },
    _S.OPEN: {
        ("send", "shutdown"): _S.DRAINING,
        ("receive", "shutdown"): _S.CLOSED,
        ("receive", "end"): _S.CLOSED,
        ("receive", "garbage"): _S.FAILED,
        **_all_to(_S.OPEN, ("send", "call"), ("send", "cancel"), ("send", "ping"), ("send", "error")),
        **_all_to(_S.OPEN, ("receive", "result"), ("receive", "error"), ("receive", "pong")),
    },
    _S.DRAINING: {
        ("receive", "shutdown"): _S.CLOSED,
        ("receive", "end"): _S.CLOSED,
        ("receive", "garbage"): _S.FAILED,
        **_all_to(_S.DRAINING, ("send", "cancel"), ("send", "ping"), ("send", "error"), ("send", "shutdown")),
        **_all_to(_S.DRAINING, ("receive", "result"), ("receive", "error"), ("receive", "pong")),
    },
    _S.FAILED: _all_to(_S.FAILED, ("send", "error"), ("send", "shutdown")),
    _S.CLOSED: {},
}

TRANSITIONS: Mapping[Role, Mapping[ConnectionState, Mapping[Act, ConnectionState]]] = MappingProxyType(
    {Role.HOST: MappingProxyType(_HOST), Role.RUNNER: MappingProxyType(_RUNNER)}
)

STATUS_TRANSITIONS: Mapping[HostStatus, Mapping[str, HostStatus]] = MappingProxyType(
    {
        HostStatus.STARTING: {"loaded": HostStatus.READY, "drain": HostStatus.DRAINING},
        HostStatus.READY: {"call": HostStatus.EXECUTING, "drain": HostStatus.DRAINING},
        HostStatus.EXECUTING: {"answered": HostStatus.READY, "drain": HostStatus.DRAINING},
        # A call that was taken before the drain began is still answered in it.
        HostStatus.DRAINING: {
            "drain": HostStatus.DRAINING,
            "call": HostStatus.DRAINING,
            "answered": HostStatus.DRAINING,
            "loaded": HostStatus.DRAINING,
        },
    }
)
