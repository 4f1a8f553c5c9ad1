"""When a draining host is asked for its stacks and when it is killed."""

from __future__ import annotations

from procvision_host.process.watchdog import DRAIN_LIMIT_S, DUMP_TIME_S, Bite, Watchdog


def test_sleeps_until_the_drain_begins() -> None:
    """A host that lives is none of its business."""
    watchdog = Watchdog()
    assert watchdog.deadline is None
    assert watchdog.bite(1e9) is None


def test_asks_for_the_stacks_and_then_for_the_end() -> None:
    """Each once, and the time runs from the first sign of the drain."""
    watchdog = Watchdog()
    watchdog.drain_began(100.0)
    watchdog.drain_began(105.0)
    assert watchdog.deadline == 100.0 + DRAIN_LIMIT_S
    assert watchdog.bite(109.9) is None
    assert watchdog.bite(110.0) is Bite.DUMP
    assert watchdog.bite(110.0) is None
    assert not watchdog.killed
    assert watchdog.bite(110.0 + DUMP_TIME_S) is Bite.KILL
    assert watchdog.killed
    watchdog.drain_began(120.0)
    assert watchdog.bite(1e9) is None
