"""When to ping, when a pong is missed."""

from __future__ import annotations

import pytest

from procvision_sdk.wire.heartbeat import Heartbeat, HeartbeatPolicy


def beat() -> Heartbeat:
    """Begun at 100 s, with the protocol's policy."""
    return Heartbeat(HeartbeatPolicy(), 100.0)


def test_policy_is_the_protocol_s() -> None:
    """A ping every 5 s, answered within 2 s, two misses."""
    policy = HeartbeatPolicy()
    assert (policy.interval_s, policy.grace_s, policy.misses_allowed) == (5.0, 2.0, 2)


@pytest.mark.parametrize("wrong", [{"interval_s": 0}, {"grace_s": -1}, {"misses_allowed": 0}, {"held_up_s": -1}])
def test_policy_without_time_is_refused(wrong: dict[str, float]) -> None:
    """It would ping without end, or never forgive."""
    with pytest.raises(ValueError, match="must be"):
        HeartbeatPolicy(**wrong)  # type: ignore[arg-type]


def test_ping_is_due_after_the_interval() -> None:
    """Not before."""
    heart = beat()
    assert heart.deadline == 105.0
    assert not heart.ping_due(104.999)
    assert heart.ping_due(105.0)


def test_pong_in_time_begins_the_next_interval() -> None:
    """Counted from the pong."""
    heart = beat()
    heart.sent("a", 105.0)
    assert heart.deadline == 107.0
    assert not heart.ping_due(106.0)
    assert heart.answered("a", 106.0)
    assert heart.deadline == 111.0
    assert heart.misses == 0


def test_a_pong_that_is_put_off_is_missed_at_last() -> None:
    """A host that the machine holds up gets its time once more, and once more, and not for ever."""
    heart = beat()
    heart.sent("a", 105.0)
    assert heart.late_s(106.9) is None
    assert heart.late_s(107.5) == 0.5
    heart.put_off(107.5)
    assert (heart.deadline, heart.late_s(109.0), heart.missed(109.0)) == (109.5, None, False)
    heart.put_off(124.0)
    assert heart.deadline == 125.0
    heart.put_off(125.0)
    assert heart.missed(125.0)
    assert not heart.unresponsive
    heart.put_off(125.0)
    assert heart.ping_due(125.0)


def test_missed_pong_makes_the_next_ping_due_at_once() -> None:
    """A dead host is known soon."""
    heart = beat()
    heart.sent("a", 105.0)
    assert not heart.missed(106.999)
    assert heart.missed(107.0)
    assert not heart.missed(107.0)
    assert heart.ping_due(107.0)
    assert not heart.unresponsive


def test_host_is_unresponsive_after_the_allowed_misses() -> None:
    """And is pinged no more."""
    heart = beat()
    heart.sent("a", 105.0)
    assert heart.missed(107.0)
    heart.sent("b", 107.0)
    assert heart.missed(109.0)
    assert heart.unresponsive
    assert heart.deadline is None
    assert not heart.ping_due(1000.0)


def test_late_pong_ends_the_row_of_misses() -> None:
    """Also that of the first ping."""
    heart = beat()
    heart.sent("a", 105.0)
    heart.missed(107.0)
    heart.sent("b", 107.0)
    heart.missed(109.0)
    assert heart.answered("a", 109.5)
    assert not heart.unresponsive
    assert heart.deadline == 114.5
    assert not heart.answered("b", 110.0)


def test_pong_that_nobody_asked_for_changes_nothing() -> None:
    """Nor does one without an id."""
    heart = beat()
    heart.sent("a", 105.0)
    assert not heart.answered("zz", 105.5)
    assert not heart.answered(None, 105.5)
    assert heart.deadline == 107.0


def test_ping_in_between_gives_no_more_time() -> None:
    """The first unanswered ping sets the deadline."""
    heart = beat()
    heart.sent("a", 105.0)
    heart.sent("by hand", 106.5)
    assert heart.missed(107.0)
