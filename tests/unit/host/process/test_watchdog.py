"""When a draining host is asked for its stacks and when it is killed."""

from __future__ import annotations

import pytest

from procvision_host.process.watchdog import DUMP_TIME_S, END_TIME_S, Bite, Watchdog
from procvision_sdk.wire.greeting import MAX_DRAIN_TIMEOUT_S

KILL_AT = 100.0 + MAX_DRAIN_TIMEOUT_S - END_TIME_S


def test_sleeps_until_the_drain_begins() -> None:
    """A host that lives is none of its business."""
    watchdog = Watchdog()
    assert watchdog.deadline is None
    assert watchdog.bite(1e9) is None


def test_asks_for_the_stacks_and_then_for_the_end() -> None:
    """Each once, the time runs from the first sign of the drain, and the host is gone before it is over."""
    watchdog = Watchdog()
    watchdog.drain_began(100.0)
    watchdog.drain_began(105.0)
    assert watchdog.deadline == KILL_AT - DUMP_TIME_S
    assert watchdog.bite(109.4) is None
    assert watchdog.bite(109.5) is Bite.DUMP
    assert watchdog.bite(109.5) is None
    assert not watchdog.killed
    assert watchdog.bite(KILL_AT) is Bite.KILL
    assert watchdog.killed
    watchdog.drain_began(120.0)
    watchdog.leave_within(1.0, 120.0)
    assert watchdog.bite(1e9) is None


def test_less_time_counts_from_when_it_was_asked_for() -> None:
    """Also in a drain that has begun; what it says of its bound is the time since that began."""
    watchdog = Watchdog()
    watchdog.drain_began(100.0)
    watchdog.leave_within(2.0, 101.0)
    assert watchdog.limit_s == pytest.approx(3.0)
    assert watchdog.deadline == pytest.approx(102.5)


def test_more_time_than_there_was_changes_nothing() -> None:
    """A runner can only ask for less."""
    watchdog = Watchdog(4.0)
    watchdog.drain_began(100.0)
    before = watchdog.deadline
    watchdog.leave_within(3.5, 101.0)
    watchdog.leave_within(60.0, 100.0)
    assert (watchdog.deadline, watchdog.limit_s) == (before, 4.0)


def test_stacks_are_asked_for_once_however_often_the_time_is_cut() -> None:
    """What is cut after them is the time until the end."""
    watchdog = Watchdog()
    watchdog.drain_began(100.0)
    assert watchdog.bite(109.6) is Bite.DUMP
    watchdog.leave_within(0.1, 109.6)
    assert watchdog.bite(109.65) is None
    assert watchdog.bite(109.7) is Bite.KILL


@pytest.mark.parametrize("limit_s", [0.1, 0.25, 1.0, 10.0])
def test_the_host_is_killed_before_its_time_is_over(limit_s: float) -> None:
    """However short it is, half of it is left to leave by itself."""
    watchdog = Watchdog(limit_s)
    watchdog.drain_began(0.0)
    assert watchdog.bite(limit_s / 2 - 0.001) is None
    dumped = watchdog.deadline
    assert dumped is not None
    assert watchdog.bite(dumped) is Bite.DUMP
    assert watchdog.deadline is not None
    assert dumped < watchdog.deadline < limit_s
