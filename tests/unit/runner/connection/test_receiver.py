"""What a host's frames mean for the runner, read from a real pipe."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted_host import ScriptedProcess, error, hello, result

from procvision_runner.connection import receiver as module
from procvision_runner.connection.call_table import CallTable
from procvision_runner.connection.observer import Observer
from procvision_runner.connection.pending_call import PendingCall
from procvision_runner.connection.receiver import Receiver
from procvision_runner.errors import CallFailedError, ProtocolViolationError
from procvision_runner.exit_causes import EndKind
from procvision_runner.process.host_log import HostLog
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from procvision_sdk.wire.messages import Call, Error, Ping, Pong, RunnerHello, Shutdown
from procvision_sdk.wire.tables import Role


class Rig(Observer):
    """A receiver, and what it made of what came."""

    def __init__(self, heartbeat: HeartbeatPolicy | None = None) -> None:
        self.host = ScriptedProcess()
        self.told: list[tuple[Any, ...]] = []
        self.leaves_the_end_to_us = False
        log = HostLog(self.host.stderr, 10, None)
        self.connection = Connection(Role.RUNNER, now=time.monotonic(), heartbeat=heartbeat)
        self.table = CallTable(self.connection, 4, log, self)
        self.receiver = Receiver(
            self.host,  # type: ignore[arg-type]
            self.table,
            log,
            self,
            deque(maxlen=32),
            send=self._send,
            time_out=lambda answer, _: self.told.append(("timed out", answer.request_id)),
            kill=lambda kind, _: self.told.append(("kill", kind)),
            host_leaves=lambda: self.told.append(("leaves",)),
            host_is_gone=lambda: self.told.append(("gone",)),
        )

    def open(self) -> None:
        """Shake hands."""
        self.host.say(hello())
        self.receiver.read()
        self._send(RunnerHello(runner_version="1.0"), 0.0)
        self.host.hear(RunnerHello)

    def call(self) -> PendingCall:
        """A call that the host has."""
        now = time.monotonic()
        pending = PendingCall(Call(phase="execute"), now, 10.0, None, deadline=now + 10.0)
        os.write(self.host.stdin, self.table.begin(pending))
        self.host.hear(Call)
        return pending

    def _send(self, message: Any, _: float) -> bool:
        data = self.table.frame(message, time.monotonic())
        if data is None:
            return False
        os.write(self.host.stdin, data)
        return True

    def missed_pong(self, misses: int) -> None:
        self.told.append(("missed", misses))

    def unresponsive(self, misses: int) -> bool:
        self.told.append(("unresponsive", misses))
        return self.leaves_the_end_to_us

    def violated(self, kind: str, message: str) -> None:
        assert message
        self.told.append(("violated", kind))


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    """Rigs that have shaken hands, and are gone afterwards."""
    made: list[Rig] = []

    def opened(heartbeat: HeartbeatPolicy | None = None) -> Rig:
        made.append(Rig(heartbeat))
        made[-1].open()
        return made[-1]

    yield opened
    for rig in made:
        rig.host.end(0)
        rig.host.release()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


def test_the_hello_is_kept(rig: Rig) -> None:
    """With what the host can do."""
    assert rig.receiver.hello is not None
    assert "cancel" in rig.receiver.hello.capabilities


def test_a_read_that_waits_ends_at_its_deadline(rig: Rig) -> None:
    """Nothing came: nothing happened."""
    began = time.monotonic()
    assert rig.receiver.read_once(began, began + 0.02) >= began + 0.02
    assert rig.told == []


def test_a_frame_that_comes_in_pieces_is_read_once_it_is_whole(rig: Rig) -> None:
    """A piece alone ends no call."""
    pending = rig.call()
    data = rig.host.connection.send(result(pending.call))
    rig.host.write(data[:7])
    rig.receiver.read()
    assert not pending.ended
    rig.host.write(data[7:])
    rig.receiver.read()
    assert pending.answer is not None


def test_an_error_is_what_its_call_ended_with(rig: Rig) -> None:
    """Code, kind and whether to try again are the host's; so is the text."""
    pending = rig.call()
    rig.host.say(error(pending.call, "1004", "gpu_out_of_memory", retryable=True))
    rig.receiver.read()
    ended = pending.error
    assert isinstance(ended, CallFailedError)
    assert (ended.error_code, ended.kind, ended.retryable) == ("1004", "gpu_out_of_memory", True)
    assert (str(ended), ended.request_id) == ("it went wrong", "call-1")


def test_an_error_without_data_is_of_no_known_kind(rig: Rig) -> None:
    """And not to be retried."""
    pending = rig.call()
    rig.host.say(Error(request_id=pending.call.request_id, message="no"))
    rig.receiver.read()
    assert isinstance(pending.error, CallFailedError)
    assert (pending.error.kind, pending.error.retryable) == ("unknown", False)


def test_an_answer_in_the_algorithms_place_is_no_end_for_the_picture(rig: Rig) -> None:
    """The client decides on it: the call is still in the table."""
    pending = rig.call()
    rig.host.say(error(pending.call, "1005", "timeout", retryable=True))
    rig.receiver.read()
    assert rig.told == [("timed out", "call-1")]
    assert (pending.ended, pending.freed) == (False, False)


def test_a_timeout_of_another_kind_is_an_error_like_any_other(rig: Rig) -> None:
    """An algorithm may use the code for something of its own."""
    pending = rig.call()
    rig.host.say(error(pending.call, "1005", "recoverable", retryable=True))
    rig.receiver.read()
    assert isinstance(pending.error, CallFailedError)
    assert pending.freed


def test_an_error_without_an_id_is_of_the_host_and_ends_no_call(rig: Rig) -> None:
    """It is kept, for what the host's end is told with."""
    pending = rig.call()
    rig.host.say(Error(message="the model is gone", error_code="1003"))
    rig.receiver.read()
    assert rig.receiver.host_error is not None
    assert rig.receiver.host_error.message == "the model is gone"
    assert not pending.ended


def test_several_frames_of_one_read_are_all_handled(rig: Rig) -> None:
    """Two results and a last frame."""
    first, second = rig.call(), rig.call()
    rig.host.connection.drain()
    rig.host.say(result(first.call), result(second.call), Shutdown(status="OK"))
    rig.receiver.read()
    assert first.answer is not None
    assert second.answer is not None
    assert rig.receiver.acknowledged


def test_a_malformed_answer_ends_its_call_and_is_told_to_the_host(rig: Rig) -> None:
    """It is never read as a verdict."""
    pending = rig.call()
    rig.host.write(frame(b'{"type": "result", "request_id": "call-1", "phase": "execute", "status": "ok"}'))
    rig.receiver.read()
    assert isinstance(pending.error, ProtocolViolationError)
    assert rig.told == [("violated", "bad_field")]
    assert rig.host.hear(Error).data.kind == "bad_field"


def test_what_cannot_be_followed_is_the_end_of_the_host(rig: Rig) -> None:
    """Text between the frames is a length out of bounds."""
    rig.host.write(b"Segmentation fault")
    rig.receiver.read()
    assert rig.told == [("violated", "frame_too_large"), ("kill", EndKind.PROTOCOL_VIOLATION)]


def test_the_end_of_the_stream_is_the_end_of_the_host(rig: Rig) -> None:
    """Whatever stood before it has been handled."""
    pending = rig.call()
    rig.host.say(result(pending.call))
    rig.host.end(0)
    rig.receiver.read()
    assert pending.answer is not None
    assert rig.told == []
    rig.receiver.read()
    assert rig.told == [("gone",)]


def test_an_interrupted_read_ends_the_host(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between a read and what it means: no frame after that can be told from another."""

    def interrupted(*_: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "read", interrupted)
    rig.host.say(Pong(state="ready"))
    with pytest.raises(KeyboardInterrupt):
        rig.receiver.read_once(time.monotonic(), time.monotonic() + 10.0)
    assert rig.told == [("kill", EndKind.STOPPED)]


def test_a_heartbeat_is_sent_when_it_is_due_and_its_pong_ends_the_wait(make: Callable[..., Rig]) -> None:
    """Also by a caller that reads: `read_once` wakes for it."""
    rig = make(HeartbeatPolicy(interval_s=0.02, grace_s=30.0))
    now = time.monotonic()
    rig.receiver.read_once(now, now + 10.0)
    ping = rig.host.hear(Ping)
    assert rig.receiver.pong_awaited
    rig.host.say(Pong(request_id=ping.request_id, state="ready"))
    rig.receiver.read()
    assert not rig.receiver.pong_awaited


@pytest.mark.parametrize("left_to_us", [False, True])
def test_a_host_that_misses_its_pings_is_ended(make: Callable[..., Rig], left_to_us: bool) -> None:
    """By the client, unless its observer sees to that."""
    rig = make(HeartbeatPolicy(interval_s=0.01, grace_s=0.01, misses_allowed=2))
    rig.leaves_the_end_to_us = left_to_us
    deadline = time.monotonic() + 20.0
    while ("unresponsive", 2) not in rig.told and time.monotonic() < deadline:
        rig.receiver.read_once(time.monotonic(), deadline)
    ended = [] if left_to_us else [("kill", EndKind.UNRESPONSIVE)]
    assert rig.told == [("missed", 1), ("missed", 2), ("unresponsive", 2), *ended]
    assert not rig.receiver.pong_awaited


def test_a_host_is_asked_for_a_call_that_lingers(rig: Rig) -> None:
    """Once, until its pong comes."""
    pending = rig.call()
    answer = error(pending.call, "1005", "timeout")
    rig.host.say(answer)
    rig.receiver.read()
    rig.table.time_out(answer, time.monotonic())
    rig.receiver.tick()
    rig.receiver.tick()
    ping = rig.host.hear(Ping)
    assert rig.host.hears_nothing(Ping)
    rig.host.say(Pong(request_id=ping.request_id, state="ready"))
    rig.receiver.read()
    assert pending.freed
