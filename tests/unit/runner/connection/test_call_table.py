"""The table of calls, with both ends of the wire in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_host import error, eventually, hello, in_thread, result

from procvision_runner.connection.call_table import CallTable, host_timeout_ms
from procvision_runner.connection.leadership import Reading
from procvision_runner.connection.observer import Observer
from procvision_runner.connection.pending_call import PendingCall
from procvision_runner.errors import CallTimeoutError, HostDiedError, ProtocolViolationError, RunnerStoppedError
from procvision_runner.exit_causes import EndKind, HostEnd
from procvision_runner.process.host_log import HostLog
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.messages import AnyMessage, Call, InFlight, Pong, RunnerHello
from procvision_sdk.wire.tables import Role

NOW = 1000.0


class Seen(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def unexpected(self, answer: Any) -> None:
        self.told.append(answer)

    def died(self, end: HostEnd) -> None:
        self.told.append(end)


class Wire:
    """A table whose host is a `Connection` beside it."""

    def __init__(self, log: HostLog, max_in_flight: int = 4) -> None:
        self.seen = Seen()
        self.host = Connection(Role.HOST, now=NOW, handshake_timeout_s=0)
        runner = Connection(Role.RUNNER, now=NOW)
        runner.receive(self.host.send(hello()), NOW)
        self.host.receive(runner.send(RunnerHello(runner_version="1.0"), NOW), NOW)
        self.table = CallTable(runner, max_in_flight, log, self.seen)

    def begin(self, *, at: float = NOW, timeout_s: float = 10.0, submitted: bool = False) -> PendingCall:
        """A call that the host has taken."""
        pending = a_call(at=at, timeout_s=timeout_s, submitted=submitted)
        (taken,) = self.host.receive(self.table.begin(pending), at)
        assert isinstance(taken, Call)
        assert taken.request_id == pending.call.request_id
        return pending

    def answer(self, message: AnyMessage, at: float = NOW) -> Any:
        """The host says something; what the table makes of the bytes."""
        return self.table.receive(self.host.send(message), at)


def a_call(*, at: float = NOW, timeout_s: float = 10.0, submitted: bool = False) -> PendingCall:
    """A call that waits to be sent."""
    future = Future[Any]() if submitted else None
    return PendingCall(Call(phase="execute"), at, timeout_s, None, future, deadline=at + timeout_s)


@pytest.fixture
def log() -> Iterator[HostLog]:
    """The log of a host that says nothing."""
    read, write = os.pipe()
    yield HostLog(read, 10, None)
    os.close(read)
    os.close(write)


@pytest.fixture
def wire(log: HostLog) -> Wire:
    return Wire(log)


# --- a call begins ----------------------------------------------------------------------------------------------


def test_calls_have_ids_of_their_own_and_the_first_caller_leads(wire: Wire) -> None:
    """The others wait to be told."""
    first, second = wire.begin(), wire.begin()
    assert [first.call.request_id, second.call.request_id] == ["call-1", "call-2"]
    assert wire.table.leadership.leader is first
    assert not wire.table.try_to_lead(second)
    assert second.woken is not None
    assert not second.woken.is_set()


def test_a_submitted_call_wakes_a_reader_that_does_not_read(wire: Wire) -> None:
    """Not one that reads and wakes in time."""
    assert wire.begin(submitted=True).needs_wake
    reader = object()
    wire.table.leadership.reader_thread = reader
    assert wire.table.lead_from_reader_thread(reader, needed=False)
    wire.table.next_deadline()
    assert not wire.begin(submitted=True).needs_wake
    assert wire.begin(submitted=True, timeout_s=-60.0).needs_wake


def test_a_call_waits_for_room_and_gets_it_from_an_answer(log: HostLog) -> None:
    """Or it is refused when its time is over, and frees its slot."""
    wire = Wire(log, max_in_flight=1)
    first = wire.begin()
    refused = a_call(at=0.0, timeout_s=0.0)
    with pytest.raises(CallTimeoutError, match="1 calls are on their way already"):
        wire.table.begin(refused)
    assert refused.freed
    waits = a_call(at=NOW * 1000, timeout_s=NOW * 1000)
    running = in_thread(wire.table.begin, waits)
    eventually(lambda: wire.table.waiting_for_room == 1, "it waits")
    wire.answer(result(first.call))
    wire.host.receive(running.result(), NOW)
    assert waits.call.request_id == "call-2"


def test_a_call_that_no_frame_can_carry_is_refused_and_leaves_nothing(wire: Wire) -> None:
    """The table is as it was, the slot is free."""
    pending = a_call()
    pending.call.pid = "x" * wire.table.connection.max_frame_bytes
    with pytest.raises(LocalProtocolError, match="a frame holds at most"):
        wire.table.begin(pending)
    assert pending.freed
    assert not wire.table.calls
    assert wire.table.leadership.state is Reading.NOBODY


# --- answers ----------------------------------------------------------------------------------------------------


def test_the_result_that_a_caller_waits_for_is_no_event(wire: Wire) -> None:
    """Its call has ended, and so has its lead: nobody else waits."""
    pending = wire.begin()
    assert wire.answer(result(pending.call), NOW + 0.5) == ((), None)
    assert pending.answer is not None
    assert (pending.ended, pending.freed, pending.took_s) == (True, True, 0.5)
    assert wire.table.leadership.state is Reading.NOBODY


def test_a_leader_with_its_answer_hands_over_to_a_caller_that_waits(wire: Wire) -> None:
    """It leads on until it does so."""
    first, second = wire.begin(), wire.begin()
    wire.table.try_to_lead(second)
    wire.answer(result(first.call))
    assert not wire.table.hand_over(second)
    assert wire.table.leadership.leader is first
    assert not wire.table.hand_over(first)
    assert second.woken is not None
    assert second.woken.is_set()
    assert wire.table.try_to_lead(second)


def test_the_reader_thread_has_to_take_over_where_only_submitted_calls_wait(wire: Wire) -> None:
    """It is told so once, by the leader that stops."""
    first, submitted = wire.begin(), wire.begin(submitted=True)
    wire.answer(result(first.call))
    assert wire.table.hand_over(first)
    assert not wire.table.hand_over(first)
    reader = object()
    assert wire.table.lead_from_reader_thread(reader, needed=False)
    _, ended = wire.answer(result(submitted.call))
    assert ended is submitted
    wire.table.resolve(submitted)
    assert submitted.future is not None
    assert submitted.future.result(0)[1] == 0.0


def test_the_reader_thread_reads_for_nobody(wire: Wire) -> None:
    """Unless something is needed of it."""
    assert not wire.table.lead_from_reader_thread(object(), needed=False)
    assert wire.table.lead_from_reader_thread(object(), needed=True)


def test_a_calls_time_begins_when_the_one_before_it_has_ended(wire: Wire) -> None:
    """Its deadline is what it may be at most, until it is known."""
    first, second = wire.begin(timeout_s=10.0), wire.begin(timeout_s=3.0)
    assert second.deadline == NOW + 13.0
    wire.answer(result(first.call), NOW + 1.0)
    assert second.deadline == NOW + 4.0


def test_a_submitted_call_that_is_due_earlier_wakes_a_reader_that_sleeps(wire: Wire) -> None:
    """A caller leads, and is told to do so."""
    first, _ = wire.begin(timeout_s=10.0), wire.begin(timeout_s=3.0, submitted=True)
    wire.table.next_deadline()
    assert not wire.table.reader_oversleeps
    wire.answer(result(first.call), NOW + 1.0)
    assert wire.table.reader_oversleeps


def test_an_answer_that_comes_twice_is_kept_and_nobodys(wire: Wire) -> None:
    """It ends no other call."""
    pending, other = wire.begin(), wire.begin()
    twice = wire.host.send(result(pending.call)) * 2
    events, _ = wire.table.receive(twice, NOW)
    assert [type(event).__name__ for event in events] == ["Result", "UnexpectedAnswer"]
    assert not other.ended


# --- calls whose time is over -----------------------------------------------------------------------------------


def test_a_call_that_times_out_is_free_when_its_late_answer_comes(wire: Wire) -> None:
    """The caller has its error at once, the host may still look at the picture."""
    pending = wire.begin()
    assert wire.table.give_up(pending, NOW + 10.0)
    assert not wire.table.give_up(pending, NOW + 10.0)
    assert (type(pending.error), pending.freed, wire.table.overdue) == (CallTimeoutError, False, 1)
    late = result(pending.call)
    wire.answer(late, NOW + 11.0)
    assert (pending.answer, pending.freed, wire.table.overdue) == (None, True, 0)
    assert [answer.request_id for answer in wire.table.unexpected] == [late.request_id]
    assert wire.seen.told == wire.table.unexpected


@pytest.mark.parametrize("given_up", [False, True])
def test_a_call_that_the_host_gave_up_is_free_when_a_pong_tells_that_it_is_not_executed(
    wire: Wire, given_up: bool
) -> None:
    """Whether its caller had given up before or not."""
    pending, behind = wire.begin(), wire.begin()
    if given_up:
        wire.table.give_up(pending, NOW + 9.9)
    answer = error(pending.call, "1005", "timeout")
    wire.answer(answer)
    ended = wire.table.time_out(answer, NOW + 9.9)
    assert (ended is pending) == (not given_up)
    assert type(pending.error) is CallTimeoutError
    assert len(wire.table.unexpected) == given_up
    assert wire.table.ask_is_due(NOW + 9.9)
    assert not wire.table.ask_is_due(NOW + 99.0)
    wire.table.free_finished(Pong(state="executing", executing=InFlight(request_id="call-1", elapsed_ms=1)), NOW + 10)
    wire.table.free_finished(Pong(state="executing"), NOW + 10)
    assert (pending.freed, wire.table.overdue) == (False, 1)
    assert wire.table.ask_is_due(NOW + 11.0)
    wire.table.free_finished(Pong(state="executing", executing=InFlight(request_id="call-2", elapsed_ms=1)), NOW + 12)
    assert (pending.freed, wire.table.overdue, list(wire.table.calls)) == (True, 0, ["call-2"])
    assert not behind.ended
    assert not wire.table.ask_is_due(NOW + 99.0)


def test_a_call_whose_caller_was_interrupted_is_the_reader_threads(wire: Wire) -> None:
    """Until its answer; one that has ended is nobody's."""
    pending = wire.begin()
    assert wire.table.orphan(pending)
    assert wire.table.submitted == 1
    wire.answer(result(pending.call))
    assert wire.table.submitted == 0
    assert not wire.table.orphan(pending)


@given(st.floats(min_value=0.002, max_value=1e9))
def test_the_host_has_less_time_than_the_caller(timeout_s: float) -> None:
    """And never none."""
    told = host_timeout_ms(timeout_s)
    assert told is not None
    assert 1 <= told < timeout_s * 1000
    assert told >= timeout_s * 1000 - 251


@pytest.mark.parametrize(
    ("timeout_s", "told"), [(30.0, 29_750), (1.0, 950), (0.1, 80), (0.01, 5), (0.0, 1), (inf, None)]
)
def test_what_the_host_is_told_of_a_calls_time(timeout_s: float, told: int | None, log: HostLog) -> None:
    """It stands in the call; who waits for ever leaves it out."""
    wire = Wire(log)
    assert wire.begin(timeout_s=timeout_s).call.timeout_ms == told


# --- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (EndKind.CRASHED, HostDiedError),
        (EndKind.PROTOCOL_VIOLATION, ProtocolViolationError),
        (EndKind.STOPPED, RunnerStoppedError),
    ],
)
def test_the_hosts_end_ends_and_frees_every_call(wire: Wire, kind: EndKind, expected: type[Exception]) -> None:
    """Each with the cause; told once, by the first who knows."""
    calls = [wire.begin(), wire.begin(submitted=True), wire.begin()]
    wire.table.give_up(calls[2], NOW)
    end = HostEnd(kind, "was ended by SIGSEGV", -11)
    wire.table.end_all(end, NOW)
    wire.table.end_all(HostEnd(EndKind.EXITED, "something else"), NOW)
    assert [type(call.error) for call in calls] == [expected, expected, CallTimeoutError]
    assert all(call.freed for call in calls)
    assert calls[1].future is not None
    assert type(calls[1].future.exception(0)) is expected
    assert wire.seen.told == [end]
    assert wire.table.leadership.state is Reading.ENDED
    late = a_call()
    with pytest.raises(HostDiedError, match="the host is gone: was ended by SIGSEGV") as caught:
        wire.table.begin(late)
    assert (late.freed, caught.value.sent) == (True, False)


def test_a_table_that_stops_takes_no_calls(wire: Wire) -> None:
    """The error says that nothing was sent."""
    wire.table.stopping = True
    with pytest.raises(RunnerStoppedError) as caught:
        wire.table.begin(a_call())
    assert not caught.value.sent


def test_a_callback_may_make_and_end_calls(wire: Wire) -> None:
    """No lock is held while it runs."""
    inner: list[Callable[[], PendingCall]] = [lambda: wire.begin(submitted=True)]
    pending = wire.begin(submitted=True)
    made: list[PendingCall] = []
    assert pending.future is not None
    pending.future.add_done_callback(lambda _: made.append(inner[0]()))
    wire.answer(result(pending.call))
    wire.table.resolve(pending)
    assert [call.call.request_id for call in made] == ["call-2"]
    assert not wire.table.leadership.callbacks
