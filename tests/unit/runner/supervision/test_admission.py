"""The waiting line, with hosts that are only counted in."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest

from procvision_runner.errors import BrokenError, CallTimeoutError, SessionLostError
from procvision_runner.supervision.admission import Admission
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.ticket import Ticket


class CountedHost:
    def __init__(self) -> None:
        self.in_flight = self.overdue = 0
        self.ready = True
        self.closing = self.draining = False


def admission(**changes: Any) -> tuple[Admission, Any]:
    admission = Admission(attrs.evolve(SupervisorOptions(queue_timeout_s=5.0), **changes))
    host: Any = CountedHost()
    admission.install(host)
    return admission, host


def queued(admission: Admission, session_id: str | None = None) -> tuple[Ticket, list[str]]:
    """A ticket whose job notes that it was decided."""
    noted: list[str] = []
    ticket = Ticket(session_id, final=False, job=lambda: noted.append("decided"))
    assert not admission.enter_or_queue(ticket)
    return ticket, noted


def closed(admission: Admission) -> None:
    admission.close(lambda: BrokenError("over"))


def test_no_more_calls_than_the_depth_are_in_a_host() -> None:
    line, host = admission(depth=2)
    tickets = [Ticket(None, final=False) for _ in range(2)]
    assert [line.enter(ticket) for ticket in tickets] == [host, host]
    third, _ = queued(line)
    assert third.host is None
    line.leave(tickets[0], answered=True, done=True)
    assert third.host is host
    assert host.in_flight == 2
    closed(line)


def test_line_is_first_come_first_served() -> None:
    line, _ = admission(depth=1)
    first = Ticket(None, final=False)
    line.enter(first)
    waiting = [queued(line)[0] for _ in range(5)]
    for place, ticket in enumerate(waiting):
        line.leave(first if place == 0 else waiting[place - 1], answered=True, done=True)
        assert [other.host is not None for other in waiting[place:]] == [True] + [False] * (4 - place)
        assert ticket.host is not None
    closed(line)


def test_retry_keeps_its_place_in_the_line() -> None:
    line, host = admission(depth=1)
    first = Ticket(None, final=False, job=lambda: None)
    line.enter(first)
    second, _ = queued(line)
    host.ready = False
    line.leave(first, answered=False, done=False)
    assert not line.enter_or_queue(first)
    host.ready = True
    line.look_again()
    assert (first.host, second.host) == (host, None)
    closed(line)


def test_calls_of_a_session_go_one_at_a_time_and_hold_up_nobody_else() -> None:
    line, host = admission(depth=2)
    first = Ticket("s", final=False)
    line.enter(first)
    second, _ = queued(line, "s")
    other, _ = queued(line)
    assert (second.host, other.host) == (None, host)
    line.leave(first, answered=True, done=True)
    assert second.host is host
    closed(line)


def test_retry_of_a_session_is_not_overtaken_by_its_next_call() -> None:
    line, host = admission(depth=2)
    first = Ticket("s", final=False, job=lambda: None)
    line.enter(first)
    second, _ = queued(line, "s")
    line.leave(first, answered=False, done=False)
    line.look_again()
    assert second.host is None
    line.enter_or_queue(first)
    assert (first.host, second.host) == (host, None)
    closed(line)


def test_swapped_out_host_gets_its_own_sessions_only() -> None:
    line, old = admission()
    begun = Ticket("s", final=False)
    line.enter(begun)
    line.leave(begun, answered=True, done=True)
    old.draining = True
    new: Any = CountedHost()
    line.install(new)
    assert line.enter(Ticket("s", final=False)) is old
    assert line.enter(Ticket("t", final=False)) is new
    assert line.enter(Ticket(None, final=False)) is new
    closed(line)


def test_lost_session_is_told_and_not_given_to_another_host() -> None:
    line, old = admission()
    begun = Ticket("s", final=False)
    line.enter(begun)
    line.leave(begun, answered=True, done=True)
    assert line.lose(old, "the host crashed") == 1
    line.install(CountedHost())  # type: ignore[arg-type]
    with pytest.raises(SessionLostError, match="the host crashed"):
        line.enter(Ticket("s", final=False))
    closed(line)


def test_host_with_an_overdue_call_gets_no_other() -> None:
    line, host = admission()
    host.overdue = 1
    ticket, _ = queued(line)
    assert ticket.host is None
    host.overdue = 0
    line.look_again()
    assert ticket.host is host
    closed(line)


def test_wait_for_room_is_bounded() -> None:
    line, host = admission(queue_timeout_s=0.05)
    host.closing = True
    with pytest.raises(CallTimeoutError, match="no host had room") as caught:
        line.enter(Ticket(None, final=False))
    assert not caught.value.sent
    ticket, _ = queued(line)
    for _ in range(200):
        if ticket.error is not None:
            break
        threading.Event().wait(0.01)
    assert isinstance(ticket.error, CallTimeoutError)
    closed(line)


def test_refusal_reaches_those_who_wait_and_those_who_come() -> None:
    line, host = admission()
    host.closing = True
    waiting, noted = queued(line)
    line.refuse(lambda: BrokenError("too many restarts"))
    assert isinstance(waiting.error, BrokenError)
    with pytest.raises(BrokenError):
        line.enter(Ticket(None, final=False))
    closed(line)
    assert noted == ["decided"]
