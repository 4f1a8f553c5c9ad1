"""What a row is played against: `Target` for anything behind a pipe, `ConnectionTarget` for our own wire.

The host and the runner in here are the smallest that can be built on a `Connection`. They say what the wire says and
no more, so that a row which fails against them is a fault in the wire, and not in a host.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, runtime_checkable

import msgspec

from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.events import Event, HandshakeExpired, PeerClosed, UnexpectedAnswer, Violation
from procvision_sdk.wire.frames import FrameSplitter
from procvision_sdk.wire.greeting import hello_frame
from procvision_sdk.wire.messages import (
    PHASES,
    AnyMessage,
    Call,
    Cancel,
    Error,
    HostHello,
    Message,
    Ping,
    Pong,
    Result,
    RunnerHello,
    Shutdown,
)
from procvision_sdk.wire.tables import ConnectionState, Role
from procvision_testing.conformance.segments import HandedArena


class Target(Protocol):
    """Bytes in, frames out. Whatever waits has its patience as an argument."""

    role: Role

    @property
    def arena(self) -> HandedArena | None:
        """The arena that it was handed; None where there is none."""

    def write(self, data: bytes) -> None:
        """Give it bytes to read."""

    def end(self) -> None:
        """End the stream that it reads."""

    def signal(self, name: str) -> None:
        """Send it a signal that asks it to leave: `SIGTERM` or `SIGINT`."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def frame(self, patience_s: float) -> dict[str, Any] | None:
        """Return its next frame; None if none comes."""

    def ended(self, patience_s: float) -> bool:
        """Return whether its own stream has ended."""

    def exit_status(self, patience_s: float) -> int | None:
        """Return the status it exits with; None while it runs."""

    def evidence(self) -> str:
        """Return what helps the reader of a failure."""


@runtime_checkable
class Inspectable(Protocol):
    """A target that shows its inside and sends on request."""

    events: list[dict[str, Any]]

    @property
    def state(self) -> str:
        """The connection's state."""

    def ask(self, message: dict[str, Any]) -> bool:
        """Have it send a message; False if it refuses to."""


_SENDABLE: dict[str, type[Any]] = {
    "call": Call,
    "cancel": Cancel,
    "ping": Ping,
    "pong": Pong,
    "result": Result,
    "error": Error,
    "shutdown": Shutdown,
}


def message_of(fields: dict[str, Any], role: Role) -> AnyMessage:
    """Return the message object for a table's JSON, as `role` sends it."""
    hello = HostHello if role is Role.HOST else RunnerHello
    message: AnyMessage = msgspec.convert(fields, {**_SENDABLE, "hello": hello}[fields["type"]])
    return message


class ConnectionTarget:
    """A `Connection` of either role, in memory, with a clock that only `wait` moves."""

    def __init__(self, role: Role, options: dict[str, Any] | None = None) -> None:
        self.role = role
        self.arena: HandedArena | None = None
        self.events: list[dict[str, Any]] = []
        self._now = 0.0
        self._connection = Connection(role, now=0.0, **(options or {}))
        self._out = FrameSplitter(2**32)
        self._frames: deque[bytes] = deque()
        self._calls: deque[Call] = deque()
        self._exit_status: int | None = None
        if role is Role.HOST:
            self._frames += self._out.feed(hello_frame("conformance", 1))
            self._connection.hello_was_written()

    def __enter__(self) -> ConnectionTarget:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def state(self) -> str:
        """The connection's state."""
        return str(self._connection.state)

    def ask(self, message: dict[str, Any]) -> bool:
        """Have it send a message; False if the wire refuses to."""
        try:
            self._send(message_of(message, self.role))
        except LocalProtocolError:
            return False
        return True

    def write(self, data: bytes) -> None:
        """Give it bytes to read."""
        self._handle(self._connection.receive(data, self._now))

    def end(self) -> None:
        """End the stream that it reads."""
        self._handle(self._connection.receive_end())

    def signal(self, name: str) -> None:  # noqa: ARG002 - they all say the same
        """It decides to leave."""
        self._leave(0)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._handle(self._connection.tick(self._now))

    def frame(self, patience_s: float) -> dict[str, Any] | None:  # noqa: ARG002 - memory needs no patience
        """Return its next frame; None if there is none."""
        return msgspec.json.decode(self._frames.popleft()) if self._frames else None

    def ended(self, patience_s: float) -> bool:  # noqa: ARG002
        """Return whether it has left."""
        return self._exit_status is not None

    def exit_status(self, patience_s: float) -> int | None:  # noqa: ARG002
        """Return the status it exits with."""
        return self._exit_status

    def evidence(self) -> str:
        """Return the state and what was not asked for."""
        return f"  connection: {self.state}, events not looked at: {self.events[:5]}"

    def _send(self, message: AnyMessage) -> None:
        self._frames += self._out.feed(self._connection.send(message, self._now))

    def _handle(self, events: list[Event]) -> None:
        self.events += map(event_as_json, events)
        for event in events:
            if isinstance(event, Violation) and event.reply is not None:
                self._send(event.reply)
            if self.role is Role.HOST and self._exit_status is None:
                self._as_host(event)
        while self._calls and self._exit_status is None:
            self._answer(self._calls.popleft())

    def _as_host(self, event: Event) -> None:
        if isinstance(event, Ping):
            self._send(Pong(request_id=event.request_id, state="executing" if self._calls else "ready"))
        elif isinstance(event, Call):
            self._calls.append(event)
        elif isinstance(event, Cancel):
            for call in [call for call in self._calls if call.request_id == event.request_id]:
                self._calls.remove(call)
                self._send(
                    error_message(
                        ErrorCode.CANCELLED, "cancelled", "taken out of the queue", request_id=call.request_id
                    )
                )
        elif isinstance(event, (Shutdown, PeerClosed)):
            shaken = self._connection.peer_hello is not None or isinstance(event, Shutdown)
            self._leave(0 if shaken else 69)
        elif isinstance(event, HandshakeExpired):
            self._send(error_message(ErrorCode.TIMEOUT, "handshake_timeout", "no hello came"))
            self._leave(69)
        elif isinstance(event, Violation) and event.fatal:
            self._leave(69 if event.kind == "incompatible_version" else 65)

    def _leave(self, status: int) -> None:
        while self._calls:
            self._answer(self._calls.popleft())
        self._connection.drain()
        if status == 0:
            self._send(Shutdown(status="OK"))
        self._exit_status = status

    def _answer(self, call: Call) -> None:
        if call.phase in PHASES:
            self._send(Result(request_id=call.request_id, phase=call.phase, step_index=call.step_index, status="OK"))
        else:
            self._send(error_message(ErrorCode.PROTOCOL, "unknown_phase", "no phase", request_id=call.request_id))


def event_as_json(event: Event) -> dict[str, Any]:
    """Return an event as the tables spell it."""
    if isinstance(event, Message):
        return {"event": "message", "message": msgspec.to_builtins(event)}
    name = "".join("_" + char.lower() if char.isupper() else char for char in type(event).__name__)[1:]
    fields = msgspec.structs.asdict(event)
    if isinstance(event, (UnexpectedAnswer, Violation)):
        fields = {key: msgspec.to_builtins(value) for key, value in fields.items()}
    return {"event": name, **fields}


__all__ = ["ConnectionState", "ConnectionTarget", "Inspectable", "Target", "event_as_json", "message_of"]
