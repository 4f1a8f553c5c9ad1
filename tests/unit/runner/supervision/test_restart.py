"""The restart policy, by a clock that stands in the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_runner.supervision.restart import GiveUp, RestartHistory, RestartIn, RestartPolicy

POLICY = RestartPolicy()


def test_defaults_are_the_documented_ones() -> None:
    assert (POLICY.max_restarts, POLICY.within_s) == (3, 60.0)


def test_fourth_restart_within_a_minute_is_refused() -> None:
    history = RestartHistory()
    for now in (0.0, 1.0, 2.0):
        decision, history = POLICY.decide(history, now)
        assert isinstance(decision, RestartIn)
    decision, _ = POLICY.decide(history, 3.0)
    assert isinstance(decision, GiveUp)
    assert "3 restarts within 60 s" in decision.reason


def test_crashes_that_lie_apart_are_restarted_for_ever() -> None:
    history = RestartHistory()
    for crash in range(100):
        decision, history = POLICY.decide(history, crash * 25.0)
        assert isinstance(decision, RestartIn)
    assert len(history.restarts) <= POLICY.max_restarts


def test_backoff_grows_to_its_bound() -> None:
    policy = RestartPolicy(max_restarts=10, first_delay_s=1.0, factor=3.0, max_delay_s=5.0)
    history, delays = RestartHistory(), []
    for _ in range(4):
        decision, history = policy.decide(history, 0.0)
        assert isinstance(decision, RestartIn)
        delays.append(decision.delay_s)
    assert delays == [1.0, 3.0, 5.0, 5.0]


def test_host_that_does_not_become_ready_is_not_started_in_a_loop() -> None:
    history = RestartHistory().launch_failed()
    decision, history = POLICY.decide(history, 0.0)
    assert isinstance(decision, RestartIn)
    decision, _ = POLICY.decide(history.launch_failed(), 100.0)
    assert isinstance(decision, GiveUp)
    assert "did not become ready" in decision.reason


def test_what_passes_is_waited_for_without_end() -> None:
    """Nights of it, after failures that count: the wait is bounded, and the limits hold again afterwards."""
    policy = RestartPolicy(max_restarts=1, first_delay_s=0.1, factor=2.0, max_wait_s=3.0)
    decision, history = policy.decide(RestartHistory(), 0.0)
    for now in range(1, 20_000):
        history = history.must_wait()
        decision, history = policy.decide(history, float(now))
        assert isinstance(decision, RestartIn)
        assert 0 < decision.delay_s <= policy.max_wait_s
    assert len(history.restarts) == 1
    assert history.launched().waits == 0
    decision, _ = policy.decide(history.launched(), 1.0)
    assert isinstance(decision, GiveUp)


def test_launch_that_works_forgives_the_one_that_failed() -> None:
    assert RestartHistory().launch_failed().launched().failed_launches == 0


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_window_ever_holds_more_restarts_than_allowed(pauses: list[float]) -> None:
    history, now, restarts = RestartHistory(), 0.0, []
    for pause in pauses:
        now += pause
        decision, history = POLICY.decide(history, now)
        if isinstance(decision, RestartIn):
            now += decision.delay_s
            restarts.append(now)
    for instant in restarts:
        assert sum(1 for other in restarts if instant <= other < instant + POLICY.within_s) <= POLICY.max_restarts


@pytest.mark.parametrize("wrong", [{"max_restarts": -1}, {"within_s": 0}, {"factor": 0.5}, {"max_failed_launches": 0}])
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RestartPolicy(**wrong)  # type: ignore[arg-type]
