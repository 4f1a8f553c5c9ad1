"""Who reads: the table, and the class that follows it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_runner.connection.leadership import TRANSITIONS, Leadership, Reading, ReadingEvent

LEADING = frozenset({Reading.HANDSHAKE, Reading.CALLER, Reading.READER_THREAD})


def test_every_state_and_every_event_stands_in_the_table() -> None:
    """And every state can be reached."""
    assert set(TRANSITIONS) == set(Reading)
    assert {event for ways in TRANSITIONS.values() for event in ways} == set(ReadingEvent)
    assert {target for ways in TRANSITIONS.values() for target in ways.values()} == set(Reading)


def test_the_end_of_the_host_ends_everybodys_lead_for_good() -> None:
    """From every state there is a way to the end, and from the end there is none."""
    for state, ways in TRANSITIONS.items():
        assert (ReadingEvent.HOST_ENDED in ways) == (state is not Reading.ENDED)
    assert not TRANSITIONS[Reading.ENDED]


def test_nobody_becomes_the_leader_while_another_leads() -> None:
    """But a caller within the leader's own callback."""
    for state in LEADING:
        new = {event for event, target in TRANSITIONS[state].items() if target in LEADING}
        assert new <= {ReadingEvent.NESTED_CALL}


@given(st.lists(st.sampled_from(ReadingEvent)))
def test_there_is_a_leader_in_the_states_that_have_one(events: list[ReadingEvent]) -> None:
    """Whatever comes in whatever order; what the table does not have changes nothing."""
    leadership = Leadership()
    for event in events:
        before = leadership.state, leadership.leader
        leads = TRANSITIONS[leadership.state].get(event) in LEADING
        followed = leadership.follow(event, object() if leads else None)
        assert followed == (event in TRANSITIONS[before[0]])
        if not followed:
            assert (leadership.state, leadership.leader) == before
        assert (leadership.leader is not None) == (leadership.state in LEADING)


def test_the_first_caller_leads_and_the_second_waits() -> None:
    """Until the first hands over."""
    leadership = Leadership()
    first, second = object(), object()
    assert leadership.lead(first)
    assert not leadership.lead(second)
    assert leadership.leader is first
    assert leadership.stop(first)
    assert leadership.lead(second)


def test_only_the_leader_can_stop_leading() -> None:
    """A thread whose lead was ended for it must not depose its successor."""
    leadership = Leadership()
    deposed, successor = object(), object()
    leadership.lead(deposed)
    leadership.enter_callbacks(reading=True)
    assert leadership.free(None)
    leadership.lead(successor)
    assert not leadership.stop(deposed)
    assert leadership.leader is successor


@pytest.mark.parametrize("reading", [True, False])
def test_a_thread_in_a_callback_goes_on_reading_for_the_call_within(reading: bool) -> None:
    """Where it led; another's lead it can't take."""
    leadership = Leadership()
    outer, within = object(), object()
    leadership.lead(outer)
    assert leadership.enter_callbacks(reading=reading)
    assert leadership.lead(within) == reading
    leadership.leave_callbacks()
    assert leadership.leader is (within if reading else outer)


def test_another_thread_is_no_part_of_a_callback() -> None:
    """It waits, as it would for any leader."""
    leadership = Leadership()
    leadership.lead(object())
    leadership.enter_callbacks(reading=True)
    assert not _elsewhere(lambda: leadership.lead(object()))


def test_only_the_outermost_callback_ends_it() -> None:
    """A callback may end a call whose callback runs at once."""
    leadership = Leadership()
    assert leadership.enter_callbacks(reading=False)
    assert not leadership.enter_callbacks(reading=True)
    assert leadership.callbacks == {threading.get_ident(): None}
    leadership.leave_callbacks()
    assert not leadership.callbacks


def test_a_leader_that_is_in_no_callback_is_not_freed() -> None:
    """Unless it is the one that is named."""
    leadership = Leadership()
    assert not leadership.free(None)
    reader = object()
    leadership.follow(ReadingEvent.READER_NEEDED, reader)
    assert not leadership.free(None)
    assert not leadership.free(object())
    assert leadership.free(reader)
    assert leadership.state is Reading.NOBODY


def _elsewhere(function: Callable[[], bool]) -> bool:
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(function()))
    thread.start()
    thread.join()
    return told[0]
