"""Every state x role x message: what the table says, what the code's table says, and what a `Connection` does."""

from __future__ import annotations

from typing import Any

import pytest

from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.events import PeerClosed, UnexpectedAnswer, Violation
from procvision_sdk.wire.messages import (
    MESSAGE_TYPES,
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
from procvision_sdk.wire.tables import TRANSITIONS, ConnectionState, Role
from procvision_testing.conformance import read_table
from procvision_testing.conformance.rows import TABLES

TABLE = read_table(TABLES / "transitions.json")
GARBAGE = b"\xff\xff\xff\xff"
S = ConnectionState


def message(name: str, sender: Role) -> AnyMessage:
    """A well-formed message of this type, as `sender` would send it."""
    hello = HostHello(sdk_version="1.0") if sender is Role.HOST else RunnerHello(runner_version="1.0")
    return {
        "hello": hello,
        "call": Call(request_id="x", phase="info"),
        "cancel": Cancel(request_id="x"),
        "ping": Ping(request_id="x"),
        "pong": Pong(request_id="x", state="ready"),
        "result": Result(request_id="x", phase="info", status="OK"),
        "error": Error(request_id="x", message="note"),
        "shutdown": Shutdown(),
    }[name]


def frame_of(name: str, sender: Role) -> bytes:
    """Its bytes, whether or not `sender` may send it anywhere."""
    from procvision_sdk.wire.codec import Codec
    from procvision_sdk.wire.frames import frame

    return frame(Codec(sender).encode(message(name, sender)))


def connection_in(role: Role, state: ConnectionState) -> Connection:
    """A connection that came into `state` by legal steps alone."""
    connection = Connection(role, now=0.0)
    if role is Role.HOST:
        hello, peer_hello = connection.hello_was_written, lambda: connection.receive(frame_of("hello", Role.RUNNER))
        steps: dict[ConnectionState, list[Any]] = {
            S.STARTING: [],
            S.HANDSHAKING: [hello],
            S.OPEN: [hello, peer_hello],
            S.DRAINING: [hello, peer_hello, connection.drain],
            S.FAILED: [hello, peer_hello, lambda: connection.receive(GARBAGE)],
            S.CLOSED: [hello, peer_hello, connection.drain, lambda: connection.send(Shutdown())],
        }
    else:
        hello, own = lambda: connection.receive(frame_of("hello", Role.HOST)), message("hello", Role.RUNNER)
        steps = {
            S.STARTING: [],
            S.HANDSHAKING: [hello],
            S.OPEN: [hello, lambda: connection.send(own)],
            S.DRAINING: [hello, lambda: connection.send(own), lambda: connection.send(Shutdown())],
            S.FAILED: [hello, lambda: connection.receive(GARBAGE)],
            S.CLOSED: [hello, connection.receive_end],
        }
    for step in steps[state]:
        step()
    assert connection.state is state
    return connection


CASES = [
    (Role(role), ConnectionState(state), direction, act, outcome)
    for role in Role
    for state, acts in TABLE[role].items()
    for direction in ("receive", "send")
    for act, outcome in acts[direction].items()
]


def test_table_covers_everything() -> None:
    """No state, no direction and no message is left out."""
    for role in Role:
        assert set(TABLE[role]) == set(ConnectionState)
        for acts in TABLE[role].values():
            assert set(acts["receive"]) == {*MESSAGE_TYPES, "end", "garbage"}
            assert set(acts["send"]) == set(MESSAGE_TYPES)
            assert ("drain" in acts) is (role is Role.HOST)
    assert len(CASES) == 2 * 6 * (10 + 8)


@pytest.mark.parametrize(("role", "state", "direction", "act", "outcome"), CASES)
def test_code_has_the_same_table(role: Role, state: ConnectionState, direction: str, act: str, outcome: str) -> None:
    """The transition tables of the code say what the JSON says, which was written by hand."""
    coded = TRANSITIONS[role][state].get((direction, act))  # type: ignore[call-overload]
    if coded is None and act == "end":
        coded = state  # the end is told whenever it comes; it need not lead anywhere
    assert (coded or "refused") == (outcome if outcome in set(ConnectionState) else "refused")


RECEIVE = [case for case in CASES if case[2] == "receive" and case[3] in MESSAGE_TYPES]


@pytest.mark.parametrize(("role", "state", "direction", "act", "outcome"), RECEIVE)
def test_received_message_does_what_the_table_says(
    role: Role, state: ConnectionState, direction: str, act: str, outcome: str
) -> None:
    """Legal: an event and the next state. Refused: a violation, a reply where one can go out, and nothing moves."""
    connection = connection_in(role, state)
    peer = Role.RUNNER if role is Role.HOST else Role.HOST
    events = connection.receive(frame_of(act, peer))
    if outcome == "ignored":
        assert events == []
        assert connection.state is state
    elif outcome in {"illegal_in_state", "draining_refusal"}:
        (event,) = events
        assert isinstance(event, Violation)
        assert event.kind == ("draining" if outcome == "draining_refusal" else outcome)
        assert not event.fatal
        assert connection.state is state
        may_answer = TABLE[role][state]["send"]["error"] != "refused" and act != "error"
        assert (event.reply is not None) is may_answer
        if event.reply is not None:
            assert event.reply.error_code == "1000"
            assert event.reply.request_id == message(act, peer).request_id
            connection.send(event.reply)
            assert connection.state is state
    else:
        (event,) = events
        assert isinstance(event, (Message, UnexpectedAnswer))
        assert connection.state == outcome


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("state", ConnectionState)
def test_end_and_garbage_do_what_the_table_says(role: Role, state: ConnectionState) -> None:
    """The end of the stream and a stream that can't be followed, in every state."""
    acts = TABLE[role][state]["receive"]
    connection = connection_in(role, state)
    assert connection.receive_end() == [PeerClosed()]
    assert connection.state == acts["end"]
    connection = connection_in(role, state)
    events = connection.receive(GARBAGE)
    if acts["garbage"] == "ignored":
        assert events == []
        assert connection.state is state
    else:
        assert [(type(event), getattr(event, "fatal", None)) for event in events] == [(Violation, True)]
        assert connection.state == acts["garbage"]


SEND = [case for case in CASES if case[2] == "send"]


@pytest.mark.parametrize(("role", "state", "direction", "act", "outcome"), SEND)
def test_sent_message_does_what_the_table_says(
    role: Role, state: ConnectionState, direction: str, act: str, outcome: str
) -> None:
    """Legal: one whole frame and the next state. Refused: LocalProtocolError, and nothing moves."""
    connection = connection_in(role, state)
    if outcome == "refused":
        with pytest.raises(LocalProtocolError, match=f"{role} may not send {act}.* {state}"):
            connection.send(message(act, role))
        assert connection.state is state
        assert connection.pending == 0
    else:
        assert connection.send(message(act, role)) == frame_of(act, role)
        assert connection.state == outcome


@pytest.mark.parametrize("state", ConnectionState)
def test_host_drains_as_the_table_says(state: ConnectionState) -> None:
    """A host's own decision to leave, in every state."""
    connection = connection_in(Role.HOST, state)
    connection.drain()
    assert connection.state == TABLE["host"][state]["drain"]
