"""The connection's bookkeeping and its time. Its states and its conversations are in tests/conformance."""

from __future__ import annotations

import pytest

from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection, major
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.events import HandshakeExpired, PeerClosed, PingDue, PongMissed, UnexpectedAnswer, Violation
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.greeting import hello_frame
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from procvision_sdk.wire.messages import Call, Error, Ping, Pong, Result, RunnerHello, Shutdown
from procvision_sdk.wire.tables import ConnectionState, Role


def open_pair(**options: float) -> tuple[Connection, Connection]:
    """A runner and a host that have shaken hands at 0 s."""
    runner = Connection(Role.RUNNER, now=0.0, heartbeat=HeartbeatPolicy())
    host = Connection(Role.HOST, now=0.0, **options)  # type: ignore[arg-type]
    host.hello_was_written()
    runner.receive(hello_frame("x", 1))
    host.receive(runner.send(RunnerHello(runner_version="1.0"), 0.0))
    return runner, host


def info(request_id: str | None) -> Call:
    """A call that needs nothing."""
    return Call(request_id=request_id, phase="info")


def answer(request_id: str | None) -> Result:
    """Its answer."""
    return Result(request_id=request_id, phase="info", status="OK")


@pytest.mark.parametrize(("version", "expected"), [("1.0", "1"), ("1", "1"), ("2.17.3", "2"), ("", "")])
def test_major_is_the_text_before_the_first_dot(version: str, expected: str) -> None:
    """What both sides must share."""
    assert major(version) == expected


def test_both_sides_know_the_other_s_hello() -> None:
    """With what it is able to do."""
    runner, host = open_pair()
    assert runner.peer_hello is not None
    assert "cancel" in runner.peer_hello.capabilities
    assert host.peer_hello == RunnerHello(runner_version="1.0")
    assert runner.state is host.state is ConnectionState.OPEN


def test_hello_is_said_once() -> None:
    """A second one is a fault of the caller, not a KeyError."""
    host = Connection(Role.HOST, now=0.0)
    host.hello_was_written()
    with pytest.raises(LocalProtocolError, match="may not send hello"):
        host.hello_was_written()


# --- calls and answers ---------------------------------------------------------------------------------------------


def test_pending_counts_until_the_answer() -> None:
    """On both sides."""
    runner, host = open_pair()
    host.receive(runner.send(info("a")) + runner.send(info("b")))
    assert (runner.pending, host.pending) == (2, 2)
    runner.receive(host.send(answer("a")))
    assert (runner.pending, host.pending) == (1, 1)
    runner.receive(host.send(error_message(ErrorCode.UNKNOWN, "program", "boom", request_id="b")))
    assert (runner.pending, host.pending) == (0, 0)


def test_call_that_cannot_be_sent_is_not_pending() -> None:
    """Nothing has changed after a LocalProtocolError."""
    runner, _ = open_pair()
    small = Connection(Role.RUNNER, now=0.0, max_frame_bytes=400)
    small.receive(hello_frame("x", 1))
    small.send(RunnerHello(runner_version="1.0"))
    with pytest.raises(LocalProtocolError, match=r"takes \d+ bytes.*hint:"):
        small.send(Call(request_id="a", user_params={"x": "y" * 400}))
    with pytest.raises(LocalProtocolError, match="finite"):
        runner.send(Call(request_id="a", user_params={"x": float("nan")}))
    assert runner.pending == small.pending == 0


def test_answer_that_cannot_be_sent_leaves_the_call_open() -> None:
    """So that an error may answer it instead."""
    runner, host = open_pair()
    host.receive(runner.send(info("a")))
    with pytest.raises(LocalProtocolError):
        host.send(Result(request_id="a", phase="info", status="OK", data={"x": b"bytes"}))
    assert host.pending == 1
    runner.receive(host.send(error_message(ErrorCode.INVALID_PARAMS, "bad_result", "bytes", request_id="a")))
    assert runner.pending == host.pending == 0


@pytest.mark.parametrize("code", [ErrorCode.UNKNOWN, ErrorCode.INVALID_PID, "V-17"])
def test_error_without_id_settles_a_call_without_id(code: str) -> None:
    """A runner of the seed gives no ids; its calls must not fill the queue."""
    _, host = open_pair()
    host.receive(frame(b'{"type":"call","phase":"info"}'))
    assert host.pending == 1
    host.send(error_message(code, "program", "boom"))
    assert host.pending == 0


def test_refusal_settles_no_call_without_id() -> None:
    """It answers the frame that was refused."""
    _, host = open_pair()
    host.receive(frame(b'{"type":"call","phase":"info"}'))
    (violation,) = host.receive(frame(b"[]"))
    assert isinstance(violation, Violation)
    assert violation.reply is not None
    host.send(violation.reply)
    assert host.pending == 1


def test_busy_call_of_a_waiting_id_does_not_free_its_place() -> None:
    """The refusal carries no id, and the queue stays full."""
    runner, host = open_pair(max_pending=1)
    host.receive(runner.send(info("a")))
    (violation,) = host.receive(frame(b'{"type":"call","phase":"info","request_id":"a"}'))
    assert isinstance(violation, Violation)
    assert violation.kind == "duplicate_request_id"
    assert violation.reply is not None
    assert violation.reply.request_id is None
    (error,) = runner.receive(host.send(violation.reply))
    assert isinstance(error, Error)
    assert (runner.pending, host.pending) == (1, 1)


def test_malformed_result_is_its_call_s_failure() -> None:
    """The caller need not wait for more."""
    runner, _ = open_pair()
    runner.send(info("a"))
    (violation,) = runner.receive(frame(b'{"type":"result","request_id":"a","phase":"info"}'))
    assert isinstance(violation, Violation)
    assert violation.request_id == "a"
    assert runner.pending == 0


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"progress","request_id":"a"}',
        b'{"type":"ping","request_id":"a"}',
        b'{"type":"pong","request_id":"a"}',
    ],
)
def test_other_refused_frames_settle_no_call(payload: bytes) -> None:
    """Though they carry its id, which their refusal repeats."""
    runner, _ = open_pair()
    runner.send(info("a"))
    (violation,) = runner.receive(frame(payload))
    assert isinstance(violation, Violation)
    assert violation.request_id is None
    assert violation.reply is not None
    assert violation.reply.request_id == "a"
    assert runner.pending == 1


def test_error_is_never_answered_with_an_error() -> None:
    """Two sides at odds would do nothing else."""
    for connection in open_pair():
        (violation,) = connection.receive(frame(b'{"type":"error","status":"FINE"}'))
        assert isinstance(violation, Violation)
        assert violation.reply is None


def test_host_gives_what_a_killed_runner_left() -> None:
    """Calls before the end, then the end."""
    runner, host = open_pair()
    events = [*host.receive(runner.send(info("a"))), *host.receive_end()]
    assert events == [info("a"), PeerClosed()]
    assert host.state is ConnectionState.DRAINING


def test_nothing_is_read_after_a_fatal_violation() -> None:
    """Not what came in the same read, either."""
    host = Connection(Role.HOST, now=0.0)
    host.hello_was_written()
    data = frame(b'{"type":"hello","runner_version":"2.0"}') + frame(b'{"type":"ping"}') + b"\xff\xff\xff\xff"
    assert [getattr(event, "kind", None) for event in host.receive(data)] == ["incompatible_version"]
    assert host.receive(frame(b'{"type":"ping"}')) == []
    assert host.receive_end() == [PeerClosed()]


# --- time ----------------------------------------------------------------------------------------------------------


def test_handshake_expires_once() -> None:
    """At its deadline, for either role."""
    for role in Role:
        connection = Connection(role, now=10.0)
        if role is Role.HOST:
            connection.hello_was_written()
        assert connection.deadline == 12.0
        assert connection.tick(11.999) == []
        assert connection.tick(12.0) == [HandshakeExpired(2.0)]
        assert connection.deadline is None
        assert connection.tick(99.0) == []


def test_handshake_timeout_of_0_waits_for_ever() -> None:
    """There is no deadline."""
    connection = Connection(Role.HOST, now=10.0, handshake_timeout_s=0)
    assert connection.deadline is None
    assert connection.tick(1e9) == []


def test_host_that_drains_misses_no_hello() -> None:
    """A shutdown before the hello is obeyed, whatever time it takes."""
    host = Connection(Role.HOST, now=0.0)
    host.hello_was_written()
    host.receive(frame(b'{"type":"shutdown"}'))
    assert host.deadline is None
    assert host.tick(100.0) == []


def test_runner_blames_no_host_for_its_own_slowness() -> None:
    """The host's hello has come."""
    runner = Connection(Role.RUNNER, now=0.0)
    runner.receive(hello_frame("x", 1))
    assert runner.deadline is None
    assert runner.tick(100.0) == []


def test_runner_pings_and_counts_misses() -> None:
    """The heartbeat begins when the connection is open."""
    runner, host = open_pair()
    assert runner.deadline == 5.0
    (due,) = runner.tick(5.0)
    assert isinstance(due, PingDue)
    (ping,) = host.receive(runner.send(due.ping, 5.0))
    assert ping == due.ping
    assert runner.deadline == 7.0
    missed, again = runner.tick(7.0)
    assert missed == PongMissed(1, unresponsive=False)
    assert isinstance(again, PingDue)
    assert again.ping.request_id != due.ping.request_id
    runner.send(again.ping, 7.0)
    assert runner.tick(9.0) == [PongMissed(2, unresponsive=True)]
    assert runner.deadline is None
    (pong,) = runner.receive(host.send(Pong(request_id=due.ping.request_id, state="ready")), 9.5)
    assert isinstance(pong, Pong)
    assert runner.deadline == 14.5


def test_pong_that_was_not_asked_for_is_unexpected() -> None:
    """Late, doubled or invented."""
    runner, host = open_pair()
    (event,) = runner.receive(host.send(Pong(request_id="zz", state="ready")))
    assert isinstance(event, UnexpectedAnswer)


def test_deadline_ends_with_the_connection() -> None:
    """A loop that waits for it must not spin."""
    runner, host = open_pair()
    runner.receive(host.send(Error(message="note")))
    runner.receive_end()
    assert runner.state is ConnectionState.CLOSED
    assert runner.deadline is None
    assert runner.tick(1e9) == []


def test_heartbeat_goes_on_while_the_host_drains() -> None:
    """A host may hang in its teardown, too."""
    runner, _ = open_pair()
    runner.send(Shutdown())
    assert isinstance(runner.tick(5.0)[0], PingDue)
    assert runner.send(Ping(request_id="x"), 5.0)
