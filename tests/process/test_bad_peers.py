"""Every way to misbehave, each by a real process: a call ends once, with its cause, in time, and nothing is left."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from supervising import (
    PICTURE,
    QUICK,
    QUICK_HEARTBEAT,
    echo,
    marked,
    nothing_left,
    peer,
    ready_again,
    supervised,
    wait_until,
    with_runner,
)

from procvision_runner.errors import (
    CallError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    ProtocolViolationError,
    RunnerStoppedError,
)
from procvision_runner.supervision.limits import ResourceLimits
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor

TIMEOUT_S = QUICK.runner.execute_timeout_s
SLACK_S = 3.0
"""For a busy machine, on top of a call's deadline and the grace."""
RETRYING = attrs.evolve(QUICK, retry=RetryPolicy(retries=2, delay_s=0.01))


def failing(supervisor: Supervisor, kind: type[CallError], cause: str, **more: Any) -> CallError:
    """Makes a call that fails, by its deadline plus the grace; submitted at the same time it ends the same way once."""
    ends: list[BaseException | None] = []
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        supervisor.execute(PICTURE, pid="A", **more)
    assert time.monotonic() - began < TIMEOUT_S + QUICK.cancel_grace_s + SLACK_S
    assert caught.value.cause == cause
    assert caught.value.facts is not None
    future = supervisor.submit("execute", PICTURE, pid="A", **more)
    future.add_done_callback(lambda done: ends.append(done.exception()))
    error = future.exception(timeout=TIMEOUT_S + QUICK.cancel_grace_s + 2 * SLACK_S)
    assert type(error) is kind
    assert wait_until(lambda: ends == [error])
    return caught.value


# --- that never become ready ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--silent"], "no hello came within"),
        (["--hello-after", "30"], "no hello came within"),
        (["--version", "2.0"], "speaks protocol '2.0'"),
        (["--garbage", "start"], "broke the protocol"),
        (["--setup-fails", "crash"], "SIGSEGV"),
        (["--setup-fails", "error"], "no weights"),
        (["--setup-fails", "hang"], "no answer to info"),
    ],
    ids=" ".join,
)
def test_host_that_never_becomes_ready_is_not_started_twice(arguments: list[str], text: str) -> None:
    """A boot failure is no crash: it is told at once, with its cause, and the supervisor is broken."""
    events: list[Any] = []
    options = with_runner(QUICK, handshake_timeout_s=0.5, ready_timeout_s=0.5)
    with nothing_left() as mark:
        supervisor = Supervisor(
            command=peer(*arguments),
            options=marked(options, mark),
            listeners=[events.append],
        )
        began = time.monotonic()
        with pytest.raises(LaunchError, match=text):
            supervisor.start()
        assert time.monotonic() - began < 1.0 + SLACK_S
        assert supervisor.state is SupervisorState.BROKEN
        with pytest.raises(RunnerStoppedError):
            supervisor.execute(PICTURE, pid="A")
        assert supervisor.stop() is None
    assert [event.NAME for event in events].count("host_starting") == 1


def test_late_hello_is_no_failure_within_the_handshake_timeout() -> None:
    with supervised("--hello-after", "0.4") as supervisor:
        assert echo(supervisor, 1) == 1


# --- that break the protocol ------------------------------------------------------------------------------------


@pytest.mark.parametrize("misbehaviour", ["garbage", "huge", "torn"])
def test_stream_that_cannot_be_followed_is_a_protocol_violation(misbehaviour: str) -> None:
    with supervised(misbehaviour) as supervisor:
        error = failing(supervisor, ProtocolViolationError, "protocol_violation")
        assert "broke the protocol" in str(error)
        assert ready_again(supervisor)


def test_malformed_answer_is_a_violation_and_never_a_verdict() -> None:
    with supervised("malformed") as supervisor:
        before = supervisor.process_id
        failing(supervisor, ProtocolViolationError, "protocol_violation")
        assert supervisor.process_id == before


def test_torn_frame_of_a_host_that_lives_on_is_a_timeout() -> None:
    with supervised("torn-hang") as supervisor:
        failing(supervisor, CallTimeoutError, "timeout")
        assert ready_again(supervisor)


def test_answer_with_another_id_is_nobodys() -> None:
    with supervised("other-id") as supervisor:
        failing(supervisor, CallTimeoutError, "timeout")
        assert supervisor.unexpected_answers == 2
        assert ready_again(supervisor)


def test_double_answer_is_recorded_and_not_taken_for_the_next_calls() -> None:
    with supervised("double") as supervisor:
        assert [echo(supervisor, number) for number in range(20)] == list(range(20))
        assert wait_until(lambda: supervisor.unexpected_answers >= 19)


def test_late_answer_is_recorded_and_not_taken_for_the_next_calls(tmp_path: Path) -> None:
    """A host that still ends its call within the grace is kept, and the call has timed out all the same."""
    options = attrs.evolve(QUICK, cancel_grace_s=5.0)
    with supervised("late", "--late", "1.2", "--once", str(tmp_path / "once"), options=options) as supervisor:
        before = supervisor.process_id
        with pytest.raises(CallTimeoutError):
            supervisor.execute(PICTURE, pid="A")
        assert echo(supervisor, 7) == 7
        assert supervisor.process_id == before
        assert supervisor.unexpected_answers == 1


# --- that don't answer pings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--never-pong"], ["--other-pong"]], ids=" ".join)
def test_host_without_pongs_is_replaced_also_during_a_call(arguments: list[str]) -> None:
    options = with_runner(QUICK, heartbeat=QUICK_HEARTBEAT, execute_timeout_s=20.0)
    with supervised("hang", *arguments, options=options) as supervisor:
        before = supervisor.process_id
        with pytest.raises(HostDiedError) as caught:
            supervisor.execute(PICTURE, pid="A")
        assert caught.value.cause == "unresponsive"
        assert "did not answer 2 pings" in str(caught.value)
        assert ready_again(supervisor)
        assert supervisor.process_id != before
        if arguments == ["--other-pong"]:
            assert supervisor.unexpected_answers >= 1


def test_idle_host_without_pongs_is_replaced() -> None:
    events: list[Any] = []
    options = with_runner(QUICK, heartbeat=QUICK_HEARTBEAT)
    with supervised("--never-pong", options=options, listeners=[events.append]):
        assert wait_until(lambda: any(event.NAME == "host_restarted" for event in events))
    names = [event.NAME for event in events]
    assert names.index("pong_missed") < names.index("host_put_down") < names.index("host_ended")


# --- that end ---------------------------------------------------------------------------------------------------


def test_crash_names_its_signal_and_the_next_call_finds_a_new_host(tmp_path: Path) -> None:
    with supervised("crash", "--after", "3", "--once", str(tmp_path / "once")) as supervisor:
        assert [echo(supervisor, number) for number in range(3)] == [0, 1, 2]
        with pytest.raises(HostDiedError, match="SIGSEGV") as caught:
            supervisor.execute(PICTURE, pid="A")
        assert (caught.value.cause, caught.value.signal) == ("crashed", "SIGSEGV")
        assert echo(supervisor, 4) == 4


def test_crash_is_retried_and_the_caller_notices_nothing(tmp_path: Path) -> None:
    with supervised("crash", "--once", str(tmp_path / "once"), options=RETRYING) as supervisor:
        assert echo(supervisor, 1) == 1
        assert supervisor.submit("execute", PICTURE, pid="A", user_params={"number": 2}).result(10).debug["echo"] == {
            "number": 2
        }
        assert supervisor.snapshot().counters["retries"] == 1


@pytest.mark.parametrize(("picture", "earlier"), [(PICTURE, ("crashed",)), (None, ("crashed", "crashed"))])
def test_call_that_always_crashes_its_host_ends_after_its_attempts(picture: Any, earlier: tuple[str, ...]) -> None:
    """Two with a picture, which is a suspect then; without one as many as the policy has."""
    with supervised("abort", options=RETRYING) as supervisor:
        with pytest.raises(HostDiedError) as caught:
            supervisor.execute(picture, pid="A")
        facts = caught.value.facts
        assert facts is not None
        assert (facts.attempts, facts.earlier_causes) == (len(earlier) + 1, earlier)
        assert ready_again(supervisor)


def test_exit_status_and_last_log_lines_are_told() -> None:
    with supervised("exit") as supervisor:
        error = failing(supervisor, HostDiedError, "exited")
        assert isinstance(error, HostDiedError)
        assert error.exit_status == 70
        assert "status 70" in str(error)
        assert "the licence server is gone" in error.last_lines


def test_host_that_grows_without_bound_is_out_of_memory() -> None:
    """By the kernel's limit on each process, or by the measure of the tree, whichever is first."""
    options = attrs.evolve(
        with_runner(QUICK, execute_timeout_s=20.0),
        limits=ResourceLimits(memory_bytes=150_000_000),
        measure_interval_s=0.1,
    )
    with supervised("grow", options=options) as supervisor:
        with pytest.raises(HostDiedError) as caught:
            supervisor.execute(PICTURE, pid="A")
        assert caught.value.cause == "out_of_memory"
        assert ready_again(supervisor)


# --- that hang --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misbehaviour", ["hang", "hang-deaf", "hang-with-lock"])
def test_hang_is_a_timeout_and_costs_the_host(misbehaviour: str) -> None:
    with supervised(misbehaviour, "--ignore-sigterm") as supervisor:
        before = supervisor.process_id
        error = failing(supervisor, CallTimeoutError, "timeout")
        assert "no answer to execute within 0.6 s" in str(error)
        assert ready_again(supervisor)
        assert wait_until(lambda: supervisor.process_id != before)


def test_each_phase_has_a_time_of_its_own() -> None:
    """What is too long for a pre is not for an execute; within the grace the host is kept."""
    options = attrs.evolve(
        with_runner(QUICK, pre_timeout_s=0.2, execute_timeout_s=20.0), cancel_grace_s=20.0, retry=RetryPolicy(retries=2)
    )
    with supervised("--takes", "0.5", options=options) as supervisor:
        before = supervisor.process_id
        with pytest.raises(
            CallTimeoutError, match=r"no answer to pre within 0\.\d s; the call was cancelled"
        ) as caught:
            supervisor.pre_execute(PICTURE, pid="A")
        # Retryable, and not made again all the same: its time is over.
        assert caught.value.facts is not None
        assert (caught.value.facts.phase, caught.value.facts.attempts) == ("pre", 1)
        assert supervisor.execute(PICTURE, pid="A").verdict == "OK"
        assert supervisor.process_id == before


def test_call_behind_a_hung_one_is_made_again_in_the_next_host(tmp_path: Path) -> None:
    """Its own time had not begun, and the host's end is no fault of its."""
    with supervised("hang-deaf", "--once", str(tmp_path / "once"), options=RETRYING) as supervisor:
        hung = supervisor.submit("execute", PICTURE, pid="A")
        behind = supervisor.submit("execute", PICTURE, pid="A", user_params={"number": 5})
        assert isinstance(hung.exception(10), CallTimeoutError)
        assert behind.result(10).debug["echo"] == {"number": 5}


def test_host_that_does_not_read_cannot_block_a_call() -> None:
    with supervised("--not-reading") as supervisor:
        error = failing(supervisor, HostDiedError, "not_reading", user_params={"filling": "x" * 300_000})
        assert "did not read its stdin" in str(error)
        assert ready_again(supervisor)


def test_blocked_write_does_not_block_stop() -> None:
    errors: list[BaseException] = []

    def call(supervisor: Supervisor) -> None:
        try:
            supervisor.execute(PICTURE, pid="A", user_params={"filling": "x" * 300_000})
        except CallError as error:
            errors.append(error)

    with supervised("--not-reading", options=with_runner(QUICK, execute_timeout_s=60.0)) as supervisor:
        caller = threading.Thread(target=call, args=[supervisor])
        caller.start()
        time.sleep(0.3)  # the pipe is full well before
        began = time.monotonic()
        supervisor.stop()
        assert time.monotonic() - began < 2.5 + SLACK_S
        caller.join(SLACK_S)
    assert [type(error) for error in errors] == [RunnerStoppedError]


# --- that don't go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ignore-shutdown"],
        ["--ignore-shutdown", "--ignore-sigterm", "--ignore-end"],
        ["--ignore-shutdown", "--ignore-sigterm", "--fork-child"],
        ["--fork-child"],
        ["--flood-stderr"],
    ],
    ids=" ".join,
)
def test_stop_leaves_nothing(arguments: list[str]) -> None:
    with supervised(*arguments) as supervisor:
        assert echo(supervisor, 1) == 1
        began = time.monotonic()
        supervisor.stop()
        assert time.monotonic() - began < 2.5 + SLACK_S
        assert supervisor.state is SupervisorState.STOPPED


def test_child_that_holds_the_pipes_does_not_hide_a_crash() -> None:
    with supervised("crash", "--fork-child") as supervisor:
        failing(supervisor, HostDiedError, "crashed")
        assert ready_again(supervisor)


def test_flood_on_stderr_neither_stops_the_host_nor_fills_the_runner() -> None:
    with supervised("--flood-stderr", options=with_runner(QUICK, log_records=50)) as supervisor:
        assert [echo(supervisor, number) for number in range(50)] == list(range(50))
        assert len(supervisor.logs) <= 50


# --- whose errors are answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("misbehaviour", "attempts"), [("recoverable", 3), ("program", 1), ("gpu", 3)])
def test_only_what_is_retryable_is_tried_again(misbehaviour: str, attempts: int) -> None:
    with supervised(misbehaviour, options=RETRYING) as supervisor:
        before = supervisor.process_id
        with pytest.raises(CallFailedError) as caught:
            supervisor.execute(PICTURE, pid="A")
        facts = caught.value.facts
        assert facts is not None
        assert facts.attempts == attempts
        if misbehaviour == "gpu":
            # Worth another try in a fresh process only.
            assert facts.process_id != before
        else:
            assert supervisor.process_id == before


def test_verdict_is_never_asked_for_twice() -> None:
    with supervised("--verdict", "NG", options=RETRYING) as supervisor:
        for _ in range(5):
            assert supervisor.execute(PICTURE, pid="A").verdict == "NG"
        counters = supervisor.snapshot().counters
        assert counters["calls"] == counters["calls_NG"] == 5
        assert "retries" not in counters
