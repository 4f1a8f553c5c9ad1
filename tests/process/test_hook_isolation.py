"""Broken hook plugins of every kind: the verdicts stay as they are without them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hooking import BROKEN, DEEDS, UNUSABLE
from launching import Gate, Launch
from wire_client import WireClient, eventually


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from run to run."""
    answer = json.loads(json.dumps(answer))
    answer.pop("timestamp_ms", None)
    (answer["data"].get("debug") or {}).pop("latency_ms", None)
    return answer


@pytest.fixture(scope="module")
def answers_without(peer_environment: dict[str, str]) -> list[dict[str, Any]]:
    """What a host without any hook plugin answers."""
    with ExitStack() as stack:
        host = Launch(stack, peer_environment)("misbehaving")
        return [without_times(host.call(deed, params=params)) for deed, params in DEEDS]


@pytest.mark.parametrize("name", sorted(BROKEN.keys() - UNUSABLE))
def test_a_broken_plugin_leaves_the_verdicts_as_they_are(
    start: Callable[..., WireClient], answers_without: list[dict[str, Any]], name: str
) -> None:
    """Whatever is wrong with it, it is named, and the host is as it is without it."""
    host = start({name: BROKEN[name]}, "misbehaving", "--hook", name)
    answers = [without_times(host.call(deed, params=params)) for deed, params in DEEDS]
    assert answers == answers_without
    assert host.shut_down() == 0
    if name not in {"changes-everything", "logs-malformed"}:  # nobody can see what the one did; the other only says so
        assert any(f"hook plugin {name}" in record["message"] for record in host.whole_log())


def test_a_plugin_that_always_fails_is_switched_off(start: Callable[..., WireClient]) -> None:
    """After as many failures as its table says."""
    host = start({"bad": BROKEN["raises-always"]}, "misbehaving", "--hook-option", "bad.max_failures=4")
    for _ in range(10):
        host.call()
    host.shut_down()
    log = [record["message"] for record in host.whole_log()]
    assert sum("its observer is switched off: 4 failures" in message for message in log) == 1
    assert not any("(failure 7)" in message for message in log)


def test_a_wrapper_that_holds_calls_up_is_switched_off(start: Callable[..., WireClient]) -> None:
    """Its time is the call's, so being slow counts as failing."""
    host = start({"bad": BROKEN["holds-calls-up"]}, "misbehaving", "--hook", "bad")
    for _ in range(12):
        host.call()
    log = host.log("hook plugin bad: its wrapper is switched off")
    assert log["level"] == "error"


def test_a_slow_observer_is_named_with_its_time(start: Callable[..., WireClient]) -> None:
    """And what it had not seen at the end is counted."""
    host = start({"bad": BROKEN["blocks-five-seconds"]}, "misbehaving", "--hook", "bad")
    for _ in range(3):
        host.call()
    host.shut_down()  # sooner than fifteen seconds, as the lost events tell
    assert any("did not end in time: 3 events are lost" in record["message"] for record in host.whole_log())


def test_the_answer_is_written_before_an_observer_is_told(start: Callable[..., WireClient], gate: Gate) -> None:
    """However long it then takes: it waits here until all are answered."""
    members = {"waits": "peer_hooks.broken:Waits"}
    host = start(members, "misbehaving", "--hook-option", f"waits.gate={gate}", "--hook-option", "waits.part=observer")
    assert host.call()["status"] == "OK"
    eventually(gate.path.with_suffix(".waiting").exists, "the observer at its gate")
    for _ in range(5):
        assert host.call()["status"] == "OK"
    assert host.ping()["state"] == "ready"
    gate.open()
    assert host.shut_down() == 0
    assert gate.path.with_suffix(".seen").read_text().count("call") == 6


def test_the_answer_is_written_before_a_wrappers_second_part(start: Callable[..., WireClient], gate: Gate) -> None:
    """It holds up the next call at most; pings are answered meanwhile."""
    members = {"waits": "peer_hooks.broken:Waits"}
    host = start(members, "misbehaving", "--hook-option", f"waits.gate={gate}", "--hook-option", "waits.part=wrapper")
    assert host.call()["status"] == "OK"
    eventually(gate.path.with_suffix(".waiting").exists, "the wrapper at its gate")
    host.ping()
    request_id = host.send_call()
    gate.open()
    assert host.answer(request_id)["status"] == "OK"


def test_what_was_told_at_the_last_moment_is_still_seen(start: Callable[..., WireClient], gate: Gate) -> None:
    """The host waits for its observers before it leaves."""
    members = {"waits": "peer_hooks.broken:Waits"}
    gate.open()
    host = start(members, "misbehaving", "--hook-option", f"waits.gate={gate}", "--hook-option", "waits.part=observer")
    for _ in range(20):
        host.call()
    host.shut_down()
    assert gate.path.with_suffix(".seen").read_text().count("call") == 20


def test_two_plugins_of_one_name_are_one_and_a_broken_one(start: Callable[..., WireClient]) -> None:
    """The first is used; the second could not be told apart in any table or log."""
    host = start({"memory-sessions": "peer_hooks.watching:Watching"}, "misbehaving", "--hook", "memory-sessions")
    assert host.call()["status"] == "OK"
    assert host.log("there is another hook plugin 'memory-sessions'")
