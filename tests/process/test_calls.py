"""Calls as the protocol has them: what is checked before the algorithm sees one, sessions, and the further phases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from launching import Gate, Launch
from wire_client import WireClient

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def steps(peer_environment: dict[str, str]) -> Iterator[WireClient]:
    """One host with `steps` in it, for the whole file."""
    with ExitStack() as stack:
        yield Launch(stack, peer_environment)("steps")


def call(host: WireClient, phase: str = "execute", **fields: Any) -> dict[str, Any]:
    """A call to `steps`, well formed unless the fields say otherwise."""
    whole = {"step_index": 1, "pid": "A", "session": {"id": "s"}, "user_params": None, **fields}
    request_id = f"r{next(NUMBERS)}"
    message = {"type": "call", "request_id": request_id, "phase": phase, **whole}
    host.send({key: value for key, value in message.items() if value is not None})
    return host.answer(request_id)


# --- what is checked before ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "kind", "text"),
    [
        ({"pid": None}, "1001", "invalid_pid", "pid is missing"),
        ({"pid": "C"}, "1001", "invalid_pid", "'C' is not supported, the manifest declares A, B"),
        ({"pid": ""}, "1001", "invalid_pid", "'' is not supported"),
        ({"session": None}, "1006", "session", "session is missing"),
        ({"session": {"id": ""}}, "1006", "session", "0 characters"),
        ({"session": {"id": "s" * 257}}, "1006", "session", "257 characters"),
        ({"step_index": None}, "1006", "step_index", "the manifest has the steps 1, 2"),
        ({"step_index": 0}, "1006", "step_index", "step_index is 0"),
        ({"step_index": 3}, "1006", "step_index", "step_index is 3"),
        ({"step_index": -1}, "1006", "step_index", "step_index is -1"),
        ({"timeout_ms": 0}, "1006", "timeout_ms", "above 0"),
        ({"user_params": {"threshold": 256}}, "1006", "bad_parameter", "threshold"),
        ({"user_params": {"threshold": -1}}, "1006", "bad_parameter", "threshold"),
        ({"user_params": {"threshold": "1"}}, "1006", "bad_parameter", "threshold"),
        ({"user_params": {"threshold": True}}, "1006", "bad_parameter", "threshold"),
        ({"user_params": {"threshold": 1.5}}, "1006", "bad_parameter", "threshold"),
        ({"user_params": {"scale": 10.5}}, "1006", "bad_parameter", "10"),
        ({"user_params": {"strict": 1}}, "1006", "bad_parameter", "strict"),
        ({"user_params": {"unheard_of": 1}}, "1006", "bad_parameter", "unheard_of"),
        ({"step_index": 2}, "1006", "bad_parameter", "serial"),
        ({"step_index": 2, "user_params": {"serial": "AB123"}}, "1006", "bad_parameter", "serial"),
        ({"step_index": 2, "user_params": {"serial": "xAB1234x"}}, "1006", "bad_parameter", "serial"),
        ({"step_index": 2, "user_params": {"serial": "AB1234", "mode": "slow"}}, "1006", "bad_parameter", "mode"),
        ({"step_index": 2, "user_params": {"serial": "AB1234", "region": [1]}}, "1006", "bad_parameter", "region"),
        ({"phase": "inspect"}, "1000", "unknown_phase", "known are pre, execute, info, reset"),
        ({"phase": ""}, "1000", "unknown_phase", "known are"),
    ],
    ids=str,
)
def test_call_is_checked_before_the_algorithm_sees_it(
    steps: WireClient, fields: dict[str, Any], code: str, kind: str, text: str
) -> None:
    """Field, bound and value in words; nothing was counted, and the host goes on."""
    before = call(steps, session={"id": "counting"})["data"]["debug"]["counted"]
    refusal = call(steps, **{"session": {"id": "counting"}, **fields})
    assert (refusal["type"], refusal["error_code"], refusal["data"]["kind"]) == ("error", code, kind), refusal
    assert text in refusal["message"]
    assert not refusal["data"]["retryable"]
    assert call(steps, session={"id": "counting"})["data"]["debug"]["counted"] == before + 1


def test_pid_is_checked_before_the_rest(steps: WireClient) -> None:
    """Of several mistakes the first in the protocol's order is told."""
    assert call(steps, pid="C", session=None, step_index=9)["data"]["kind"] == "invalid_pid"
    assert call(steps, session=None, step_index=9, user_params={"x": 1})["data"]["kind"] == "session"
    assert call(steps, step_index=9, user_params={"x": 1})["data"]["kind"] == "step_index"


def test_parameters_have_their_defaults(steps: WireClient) -> None:
    """What a call leaves out is what the manifest says; what has no default stays out or is None."""
    params = call(steps, user_params={"threshold": 5})["data"]["debug"]["params"]
    assert params == {"threshold": 5, "scale": 1.5, "strict": True}
    assert call(steps)["data"]["debug"]["params"] == {"threshold": 128, "scale": 1.5, "strict": True}
    second = call(steps, step_index=2, user_params={"serial": "AB1234"})["data"]["debug"]["params"]
    assert {key: second[key] for key in ("serial", "mode")} == {"serial": "AB1234", "mode": "fast"}


def test_fields_inside_data_are_taken_and_those_at_the_top_win(steps: WireClient) -> None:
    """Where hosts in the field expect them."""
    inner = {"step_index": 1, "pid": "A", "session": {"id": "n"}, "user_params": {"threshold": 7}}
    nested = {"type": "call", "request_id": "n", "phase": "execute", "pid": "B", "data": {**inner, "newer": [1]}}
    steps.send(nested)
    debug = steps.answer("n")["data"]["debug"]
    assert debug["params"]["threshold"] == 7
    steps.send({"type": "call", "request_id": "m", "data": {"phase": "execute", **inner, "pid": "C"}})
    assert steps.answer("m")["data"]["kind"] == "invalid_pid"


# --- phases -------------------------------------------------------------------------------------------------------


def test_info_tells_manifest_versions_and_the_algorithms_own(steps: WireClient) -> None:
    """Needs nothing but the phase."""
    steps.send({"type": "call", "request_id": "i", "phase": "info"})
    answer = steps.answer("i")
    data = answer["data"]
    assert (answer["phase"], answer["status"]) == ("info", "OK")
    assert data["info"] == {"model": "line-finder 7"}
    assert (data["manifest"]["name"], data["manifest"]["version"]) == ("steps", "1.2.3")
    assert [step["index"] for step in data["manifest"]["steps"]] == [1, 2]
    assert data["versions"]["algorithm"] == "1.2.3"
    assert set(data["versions"]) == {"algorithm", "host", "python"}


def test_hello_says_what_the_host_understands(steps: WireClient) -> None:
    """And by which name it was asked for; the process is the one that runs the algorithm."""
    assert steps.hello["sdk_version"] == "1.0"
    assert set(steps.hello["capabilities"]) >= {"cancel", "info", "reset", "pending"}
    assert steps.hello["algorithm"] == {"name": "steps"}
    assert steps.hello["process_id"] != steps.launched


def test_pre_and_execute_repeat_phase_and_step(steps: WireClient) -> None:
    """An answer can be understood without its call."""
    pre = call(steps, "pre", step_index=1)
    assert (pre["phase"], pre["step_index"], pre["status"]) == ("pre", 1, "OK")
    assert pre["data"]["calibration_rects"] == [{"x": 1, "y": 1, "width": 2, "height": 2}]
    execute = call(steps, step_index=2, user_params={"serial": "AB1234"})
    assert (execute["phase"], execute["step_index"], execute["status"]) == ("execute", 2, "OK")


def test_reset_empties_the_session_and_no_other(steps: WireClient) -> None:
    """After the algorithm's own reset(session)."""
    for session in ("one", "two"):
        call(steps, session={"id": session})
    answer = call(steps, "reset", session={"id": "one"}, pid=None, step_index=None)
    assert (answer["status"], answer["phase"]) == ("OK", "reset")
    steps.log("reset one")
    assert call(steps, session={"id": "one"})["data"]["debug"]["counted"] == 1
    assert call(steps, session={"id": "two"})["data"]["debug"]["counted"] == 2
    assert call(steps, "reset", session=None)["data"]["kind"] == "session"


# --- sessions -----------------------------------------------------------------------------------------------------


def test_what_pre_stored_execute_sees(steps: WireClient) -> None:
    """Which the field's SDK forgot."""
    call(steps, "pre", session={"id": "p"}, pid="B")
    assert call(steps, session={"id": "p"})["data"]["debug"]["reference"] == {"step": 1, "pid": "B"}
    assert call(steps, session={"id": "q"})["data"]["debug"]["reference"] is None


def test_final_call_ends_its_session(steps: WireClient) -> None:
    """The next one of that id begins anew."""
    assert call(steps, session={"id": "f"})["data"]["debug"]["counted"] == 1
    assert call(steps, session={"id": "f", "final": True})["data"]["debug"]["counted"] == 2
    assert call(steps, session={"id": "f"})["data"]["debug"]["counted"] == 1


def test_context_is_what_each_call_says(steps: WireClient) -> None:
    """It isn't kept from one call to the next."""
    assert call(steps, session={"id": "c", "context": {"lot": 7}})["data"]["debug"]["context"] == {"lot": 7}
    assert call(steps, session={"id": "c"})["data"]["debug"]["context"] == {}


def test_context_cannot_be_changed(lasting_host: WireClient) -> None:
    """Read-only to the algorithm."""
    answer = lasting_host.call("change-context", session={"id": "s", "context": {"lot": 7}})
    assert (answer["type"], answer["data"]["kind"]) == ("error", "program")


def test_session_of_a_call_that_raised_is_as_it_was(lasting_host: WireClient) -> None:
    """A half-done call leaves no trace in the inspection."""
    lasting_host.call("remember", params={"text": "kept"}, session={"id": "half"})
    lasting_host.call("remember-and-raise", params={"text": "lost"}, session={"id": "half"})
    assert lasting_host.call("recall", session={"id": "half"})["data"]["debug"]["kept"] == "kept"


def test_session_that_json_cannot_carry_is_an_error(lasting_host: WireClient) -> None:
    """Never kept in one process and lost in the next; the verdict isn't given out without it."""
    answer = lasting_host.call("remember-an-array", session={"id": "array"})
    assert (answer["type"], answer["error_code"]) == ("error", "1006"), answer
    assert answer["data"]["kind"] == "bad_session"
    assert lasting_host.call("recall", session={"id": "array"})["data"]["debug"]["kept"] is None


@pytest.mark.parametrize(
    "identity",
    ["s", "S", "\u00e4", "\u0000", "../../x", "a/b", "'; drop table sessions; --", "\U0001f600", " ", "s" * 256, "\n"],
    ids=lambda text: text[:16].encode("unicode_escape").decode(),
)
def test_any_id_is_a_session_of_its_own(steps: WireClient, identity: str) -> None:
    """Whatever characters it is made of."""
    assert call(steps, session={"id": "unusual-" + identity[:200]})["data"]["debug"]["counted"] == 1
    assert call(steps, session={"id": identity})["type"] == "result"


def test_session_over_the_bound_is_an_error(launch: Launch) -> None:
    """What was saved before stays."""
    host = launch("misbehaving", "--max-session-bytes", "1000")
    assert host.call("remember", params={"text": "small"})["status"] == "OK"
    answer = host.call("remember", params={"text": "x" * 2000})
    assert (answer["error_code"], answer["data"]["kind"]) == ("1006", "session_too_large")
    assert host.call("recall")["data"]["debug"]["kept"] == "small"


# --- request ids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "identity",
    ["", " ", "0", "null", "\u0000", "\u00e4\U0001f600", "a\nb", '"', "\\", "x" * 256, "ping-1", "call-1", "</script>"],
    ids=lambda text: text[:16].encode("unicode_escape").decode(),
)
def test_any_request_id_is_repeated_to_the_letter(steps: WireClient, identity: str) -> None:
    """In result, error and pong."""
    call_fields = {"step_index": 1, "pid": "A", "session": {"id": "s"}}
    steps.send({"type": "call", "request_id": identity, "phase": "execute", **call_fields})
    assert steps.answer(identity)["status"] == "OK"
    steps.send({"type": "call", "request_id": identity, "phase": "nonsense"})
    assert steps.answer(identity)["error_code"] == "1000"
    assert steps.ping(identity)["state"] == "ready"


@pytest.mark.parametrize("identity", [7, True, ["a"], {"a": 1}, "x" * 257], ids=lambda value: str(value)[:12])
def test_request_id_of_another_form_is_refused(steps: WireClient, identity: object) -> None:
    """Without an answer that would pretend to know it."""
    steps.send({"type": "call", "request_id": identity, "phase": "info"})
    refusal = steps.receive()
    assert (refusal["type"], refusal["data"]["kind"]) == ("error", "bad_field")
    assert "request_id" not in refusal


def test_call_without_a_request_id_is_answered_without_one(steps: WireClient) -> None:
    """The seed's call carries none."""
    steps.send({"type": "call", "phase": "execute", "step_index": 1, "pid": "A", "session": {"id": "s"}})
    answer = steps.receive()
    assert (answer["type"], answer["status"]) == ("result", "OK")
    assert "request_id" not in answer


def test_more_anonymous_calls_than_may_wait_are_refused_as_busy(launch: Launch, gate: Gate) -> None:
    """They count like any other."""
    host = launch("misbehaving", "--max-pending", "2")
    first = host.send_call("wait-for", params={"text": str(gate)})
    host.until_state("executing")
    anonymous = {"type": "call", "phase": "info"}
    for _ in range(3):
        host.send(anonymous)
    assert [host.receive()["data"]["kind"] for _ in range(2)] == ["busy", "busy"]
    gate.open()
    assert host.answer(first)["status"] == "OK"
    assert host.receive()["phase"] == "info"
    assert host.call()["status"] == "OK"


@pytest.mark.parametrize("timeout_ms", [10**18, 10**400], ids=["1e18", "1e400"])
def test_timeout_of_any_length_is_one_that_does_not_come(host: WireClient, gate: Gate, timeout_ms: int) -> None:
    """JSON's integers have no bound; the host's clock has."""
    call = host.send_call("wait-for", params={"text": str(gate)}, timeout_ms=timeout_ms)
    host.until_state("executing")
    assert host.ping("later")["executing"]["request_id"] == call
    gate.open()
    assert host.answer(call)["status"] == "OK"


def test_memory_that_an_algorithm_frees_is_there_for_its_next_array(host: WireClient) -> None:
    """Two arrays of 7 MB are 3,375 pages, which a process gives back each time if nobody tells it otherwise."""
    assert host.call("make-large-arrays")["data"]["debug"]["pages"] < 100
