"""How much of a drain the running call gets."""

from __future__ import annotations

import pytest

from procvision_host.conversation.drain import Drain


@pytest.mark.parametrize(
    ("grace_s", "timeout_s", "asked_s", "call_s"),
    [
        (3.0, 10.0, None, 3.0),
        (9.0, 10.0, None, 9.0),
        (3.0, 10.0, 60.0, 3.0),  # a runner can't lengthen it
        (3.0, 10.0, 2.0, 1.0),  # the last second is teardown's
        (3.0, 10.0, 1.0, 0.5),  # half of it, of a shorter time
        (3.0, 2.0, None, 1.0),
        (0.0, 10.0, 5.0, 0.0),
    ],
)
def test_the_running_call_leaves_time_for_teardown(
    grace_s: float, timeout_s: float, asked_s: float | None, call_s: float
) -> None:
    """Its grace, or what is left of a shorter drain."""
    drain = Drain(grace_s, timeout_s)
    drain.begin(100.0, asked_s)
    assert drain.call_time_s == pytest.approx(call_s)


def test_a_drain_that_has_begun_can_only_become_shorter() -> None:
    """The grace still runs from its begin, a shorter time from when it was asked for."""
    drain = Drain(9.0, 10.0)
    drain.begin(100.0, None)
    assert not drain.shorten(102.0, 8.0)
    assert drain.call_until == 109.0
    assert drain.shorten(102.0, 4.0)
    assert drain.call_until == 105.0
    assert not drain.shorten(103.0, 3.5)
    assert drain.shorten(103.0, 0.5)
    assert drain.call_until == 103.25
