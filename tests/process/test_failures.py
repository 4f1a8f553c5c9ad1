"""Exceptions, ends of the process, and calls that never return."""

from __future__ import annotations

import os
import signal

import pytest
from launching import Gate, Launch
from wire_client import WireClient, eventually, gone, lives


@pytest.mark.parametrize(
    ("deed", "code", "kind", "retryable", "text"),
    [
        ("raise-recoverable", "9999", "recoverable", True, "the lamp flickers"),
        ("raise-gpu", "1004", "gpu_out_of_memory", True, "2 GiB asked for"),
        ("raise-program", "1003", "program", False, "no such template"),
        ("raise-plain", "9999", "program", False, "KeyError"),
        ("raise-unprintable", "9999", "program", False, "UnprintableError"),
        ("raise-unusual", "9999", "program", False, "UnusualError"),
        ("raise-system-exit", "9999", "program", False, "SystemExit"),
        ("raise-keyboard-interrupt", "9999", "program", False, "KeyboardInterrupt"),
        ("raise-generator-exit", "9999", "program", False, "GeneratorExit"),
        ("raise-too-deep", "9999", "program", False, "RecursionError"),
        ("raise-memory-error", "9999", "program", False, "MemoryError"),
    ],
)
def test_exception_is_an_error_frame_and_the_loop_goes_on(
    lasting_host: WireClient, deed: str, code: str, kind: str, retryable: bool, text: str
) -> None:
    """Its code, kind and text; a log record with the traceback; the next call is answered."""
    for phase in ("execute", "pre"):
        call = lasting_host.send_call(deed, phase=phase)
        answer = lasting_host.answer(call)
        assert (answer["type"], answer["status"]) == ("error", "ERROR")
        assert (answer["error_code"], answer["data"]["kind"], answer["data"]["retryable"]) == (code, kind, retryable)
        assert text in answer["message"]
        lasting_host.log("raised", level="error", request_id=call)
        assert lasting_host.call()["data"]["result_status"] == "OK"


def test_detail_of_an_exception_goes_out(lasting_host: WireClient) -> None:
    """What JSON can carry as it is, the rest as text."""
    assert lasting_host.call("raise-recoverable")["data"]["detail"]["detail"] == {"lamp": 3}
    assert "object" in lasting_host.call("raise-program")["data"]["detail"]["detail"]


def test_fatal_error_is_answered_then_the_host_leaves(host: WireClient) -> None:
    """The call gets its error, waiting ones are given back as retryable, teardown runs, exit status 70."""
    calls = []
    with host.written_at_once():
        calls += [host.send_call("raise-fatal"), host.send_call(), host.send_call()]
    fatal = host.answer(calls[0])
    assert (fatal["error_code"], fatal["data"]["kind"], fatal["data"]["retryable"]) == ("9999", "fatal", False)
    rest = host.rest()
    assert [message.get("request_id") for message in rest] == [*calls[1:], None]
    assert {(m["error_code"], m["data"]["retryable"]) for m in rest[:-1]} == {("1008", True)}
    assert rest[-1] == {"type": "shutdown", "status": "ERROR"}
    assert host.wait() == 70
    assert any(record["message"] == "torn down" for record in host.whole_log())


@pytest.mark.parametrize(
    ("deed", "number"), [("segfault", signal.SIGSEGV), ("abort", signal.SIGABRT), ("segfault-quietly", signal.SIGSEGV)]
)
def test_crash_ends_the_launched_process_by_the_same_signal(launch: Launch, deed: str, number: int) -> None:
    """The runner sees the signal itself, and the log names the call."""
    host = launch()
    call = host.send_call(deed)
    assert host.rest() == []
    assert host.wait() == -number
    gone(host.host)
    log = host.whole_log()
    assert [r for r in log if signal.Signals(number).name in r["message"] and r.get("request_id") == call]
    if deed != "segfault-quietly":
        trace = next(r for r in log if "Fatal Python error" in r["message"])
        assert trace["level"] == "error"
        assert "deeds_of_failure.py" in trace["message"]


@pytest.mark.parametrize(("deed", "count"), [("os-exit", 0), ("os-exit", 3), ("exit-in-c", 0), ("exit-in-c", 5)])
def test_exit_by_the_algorithm_is_never_a_clean_one(launch: Launch, deed: str, count: int) -> None:
    """Status 70 whatever it asked for, and the log says who it was."""
    host = launch()
    call = host.send_call(deed, params={"count": count})
    assert host.rest() == []
    assert host.wait() == 70
    gone(host.host)
    assert any(
        f"the algorithm ended the process with status {count}" in r["message"] and r.get("request_id") == call
        for r in host.whole_log()
    )


def test_exit_between_two_calls_is_never_a_clean_one(host: WireClient, gate: Gate) -> None:
    """A thread that an algorithm left behind ends the process."""
    host.call("thread-that-exits-later", params={"text": str(gate)})
    gate.open()
    assert host.rest() == []
    assert host.wait() == 70


def test_algorithm_that_kills_itself_is_told_by_its_signal(host: WireClient) -> None:
    """As an out-of-memory killer would do it."""
    host.send_call("kill-itself")
    assert host.rest() == []
    assert host.wait() == -signal.SIGKILL
    assert any("SIGKILL" in record["message"] for record in host.whole_log())


def test_call_that_takes_longer_than_its_timeout_is_answered_for(host: WireClient, gate: Gate) -> None:
    """1005 from the host; the late answer is dropped, the next call gets its own."""
    call = host.send_call("wait-for", params={"text": str(gate)}, timeout_ms=100)
    answer = host.answer(call)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "1005", "timeout")
    waiting = host.send_call()
    assert host.ping()["state"] == "executing"
    gate.open()
    assert host.answer(waiting)["status"] == "OK"
    host.log("came too late", level="warning")
    assert host.call()["status"] == "OK"


def test_call_within_its_timeout_is_not_touched(lasting_host: WireClient) -> None:
    """A timeout that isn't reached changes nothing; one of zero is refused."""
    assert lasting_host.call(timeout_ms=60_000)["status"] == "OK"
    assert lasting_host.call(timeout_ms=0)["error_code"] == "1006"
    assert lasting_host.call(timeout_ms=-5)["error_code"] == "1006"


def test_cancel_takes_a_waiting_call_out_of_the_queue(host: WireClient, gate: Gate) -> None:
    """1008 at once, while the call before it still runs."""
    first = host.send_call("wait-for", params={"text": str(gate)})
    host.until_state("executing")
    second, third = host.send_call("os-exit"), host.send_call()
    host.send({"type": "cancel", "request_id": second})
    answer = host.answer(second)
    assert (answer["type"], answer["error_code"]) == ("error", "1008")
    gate.open()
    assert host.answer(first)["status"] == "OK"
    assert host.answer(third)["status"] == "OK"


def test_cancel_sets_the_running_calls_flag(host: WireClient) -> None:
    """The algorithm looks at it and returns; the call's own answer says that it was cancelled."""
    call = host.send_call("wait-for-cancel")
    host.until_state("executing")
    host.send({"type": "cancel", "request_id": call})
    assert host.answer(call)["error_code"] == "1008"
    assert host.call()["status"] == "OK"


def test_cancelled_call_leaves_its_session_as_it_was(host: WireClient, gate: Gate) -> None:
    """What a cancelled call did is not part of the inspection."""
    assert host.call("remember", params={"text": "first"})["status"] == "OK"
    call = host.send_call("wait-for", params={"text": str(gate)})
    host.until_state("executing")
    host.send({"type": "cancel", "request_id": call})
    host.ping()
    gate.open()
    assert host.answer(call)["error_code"] == "1008"
    assert host.call("recall")["data"]["debug"]["kept"] == "first"


def test_cancel_of_an_unknown_call_is_ignored(lasting_host: WireClient) -> None:
    """It may just have been answered."""
    lasting_host.send({"type": "cancel", "request_id": "never-sent"})
    lasting_host.send({"type": "cancel"})
    assert lasting_host.call()["status"] == "OK"


def test_more_calls_than_may_wait_are_refused_as_busy(launch: Launch, gate: Gate) -> None:
    """1000, retryable; those that were taken are answered in order."""
    host = launch("misbehaving", "--max-pending", "2")
    taken = [host.send_call("wait-for", params={"text": str(gate)}), host.send_call()]
    refused = host.answer(host.send_call())
    assert (refused["error_code"], refused["data"]["kind"], refused["data"]["retryable"]) == ("1000", "busy", True)
    gate.open()
    assert [host.answer(call)["status"] for call in taken] == ["OK", "OK"]
    assert host.call()["status"] == "OK"


def test_second_call_of_the_same_id_is_refused(host: WireClient, gate: Gate) -> None:
    """Without taking the first one's answer away."""
    call = host.send_call("wait-for", params={"text": str(gate)})
    host.until_state("executing")
    host.send_call("os-exit", request_id=call)
    refusal = host.receive()
    assert refusal["data"]["kind"] == "duplicate_request_id"
    assert "request_id" not in refusal
    gate.open()
    assert host.answer(call)["status"] == "OK"


def test_host_killed_in_a_call_takes_its_guardian_along(host: WireClient) -> None:
    """And the runner is told the signal."""
    host.send_call("hang")
    host.until_state("executing")
    os.kill(host.host, signal.SIGKILL)
    assert host.wait() == -signal.SIGKILL


def test_guardian_killed_takes_its_host_along(host: WireClient) -> None:
    """SIGKILL to the launched process alone: nothing stays, not even a host that holds the interpreter lock."""
    host.send_call("hang-with-lock")
    eventually(lambda: lives(host.host), "the host")
    host.process.kill()
    host.wait()
    gone(host.host)
