"""What is tried again and what is not."""

from __future__ import annotations

import pytest

from procvision_runner.errors import (
    BrokenError,
    CallError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    ProtocolViolationError,
    RunnerStoppedError,
    SessionLostError,
)
from procvision_runner.exit_causes import EndKind, HostEnd
from procvision_runner.supervision.retry import RetryPolicy, needs_new_host

POLICY = RetryPolicy()


def failed(kind: str, code: str = "9999", *, retryable: bool) -> CallFailedError:
    return CallFailedError("no", error_code=code, kind=kind, retryable=retryable)


RETRIED: list[tuple[CallError, float]] = [
    (failed("recoverable", retryable=True), POLICY.delay_s),
    (failed("gpu_out_of_memory", "1004", retryable=True), 0.0),
    (failed("draining", "1008", retryable=True), 0.0),
    (HostDiedError("gone", end=HostEnd(EndKind.CRASHED, "was ended by SIGSEGV", -11)), 0.0),
    (HostDiedError("gone", end=HostEnd(EndKind.TIMEOUT, "hung in another call")), 0.0),
]
NEVER: list[CallError] = [
    failed("program", retryable=False),
    failed("fatal", retryable=False),
    failed("timeout", "1005", retryable=True),
    CallTimeoutError("no answer"),
    ProtocolViolationError("garbage"),
    RunnerStoppedError("stopped"),
    SessionLostError("lost"),
    BrokenError("broken"),
]


@pytest.mark.parametrize(("error", "delay_s"), RETRIED, ids=lambda value: getattr(value, "cause", ""))
def test_retryable_is_tried_again(error: CallError, delay_s: float) -> None:
    assert POLICY.delay(error, 1, 0.0) == delay_s
    assert POLICY.delay(error, 2, 0.0) == delay_s


@pytest.mark.parametrize(("error", "_"), RETRIED, ids=lambda value: getattr(value, "cause", ""))
def test_third_attempt_is_the_last(error: CallError, _: float) -> None:
    assert POLICY.delay(error, 3, 0.0) is None


@pytest.mark.parametrize("error", NEVER, ids=lambda error: error.cause)
def test_everything_else_is_not(error: CallError) -> None:
    assert POLICY.delay(error, 1, 0.0) is None


def test_no_attempt_begins_after_the_time_for_all() -> None:
    assert POLICY.delay(RETRIED[0][0], 1, POLICY.within_s) is None


def test_timeouts_are_tried_again_where_that_is_asked_for() -> None:
    assert RetryPolicy(after_timeout=True).delay(CallTimeoutError("no answer"), 1, 0.0) is not None


def test_what_needs_a_new_host() -> None:
    assert needs_new_host(failed("gpu_out_of_memory", "1004", retryable=True))
    assert not needs_new_host(failed("recoverable", retryable=True))
