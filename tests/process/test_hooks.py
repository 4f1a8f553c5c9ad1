"""Hook plugins in a real host: a test for each hook, of its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hooking import DEEDS, WATCHING, Watched
from launching import Launch
from wire_client import WireClient, eventually

from procvision_host.process.linux import parents

STEPS_CALL: dict[str, Any] = {
    "user_params": {},
    "session": {"id": "one", "context": {"product_code": "P", "trace_id": "t"}},
}


@pytest.fixture
def watched(start: Callable[..., WireClient], tmp_path: Path) -> Callable[..., Watched]:
    """Starts a host with `watching` in it."""

    def begin(name: str = "steps", *options: str) -> Watched:
        path = tmp_path / "told.jsonl"
        return Watched(start(WATCHING, name, *options, "--hook-option", f"watching.path={path}"), path)

    return begin


def test_options(watched: Callable[..., Watched]) -> None:
    """What the plugin declares is what it is configured with, defaults included."""
    told = watched("steps", "--hook-option", "watching.count=7").first("configure")
    assert told["values"]["colour"] == "red"
    assert told["values"]["count"] == 7


def test_configure(watched: Callable[..., Watched]) -> None:
    """Comes first, on the thread that later has the store and the wrappers; the algorithm is in another process."""
    seen = watched()
    told = seen.first("configure")
    assert told["thread"] == "procvision-private"
    assert told["by"] == parents()[parents()[seen.host.host]]


def test_host_loaded(watched: Callable[..., Watched]) -> None:
    """Names the algorithm and the host's process."""
    seen = watched()
    told = seen.first("host_loaded")
    assert (told["algorithm"], told["version"]) == ("steps", "1.2.3")
    assert told["process_id"] == seen.host.host


def test_host_ready(watched: Callable[..., Watched]) -> None:
    """Told on the plugin's own thread."""
    told = watched().first("host_ready")
    assert told["algorithm"] == "steps"
    assert told["thread"] == "procvision-hook-watching"


def test_host_draining(watched: Callable[..., Watched]) -> None:
    """Told when the host was asked to leave, before it has left."""
    seen = watched()
    seen.host.until_state("ready")
    assert seen.told("host_draining") == []
    seen.host.shut_down()
    assert seen.first("host_draining")["exit_status"] == 0


def test_host_closed(watched: Callable[..., Watched]) -> None:
    """The last of all, with the exit status, and the host waits for it."""
    seen = watched("misbehaving")
    seen.host.call("raise-fatal")
    assert seen.host.wait() == 70
    assert [told["exit_status"] for told in seen.told("host_closed")] == [70]


def test_around_call(watched: Callable[..., Watched]) -> None:
    """Both parts on one thread, in another process than the algorithm; the second has the answer as it went out."""
    seen = watched()
    answer = seen.host.call(**STEPS_CALL)
    assert answer["status"] == "OK"
    ends = seen.first("around_ends")
    begins = seen.first("around_begins")
    assert begins["thread"] == ends["thread"] == "procvision-private"
    assert begins["call"]["session_id"] == "one"
    assert ends["answer"]["data"] == answer["data"]


def test_call_finished(watched: Callable[..., Watched]) -> None:
    """Tells of results and errors alike, in order."""
    seen = watched("misbehaving")
    answers = [seen.host.call(deed, params=params) for deed, params in DEEDS]
    eventually(lambda: len(seen.told("call_finished")) == len(DEEDS), "every call")
    told = seen.told("call_finished")
    assert [one["answer"] for one in told] == answers
    assert [one["call"]["request_id"] for one in told] == [answer["request_id"] for answer in answers]
    assert all(one["elapsed_ms"] >= 0 for one in told)


def test_call_finished_is_told_of_a_call_that_timed_out(watched: Callable[..., Watched]) -> None:
    """With the answer that the host gave for the algorithm."""
    seen = watched("misbehaving")
    seen.host.until_state("ready")
    answer = seen.host.call("wait-for-cancel", timeout_ms=150)
    assert answer["error_code"] == "1005"
    assert seen.first("call_finished")["answer"] == answer


def test_call_failed(watched: Callable[..., Watched]) -> None:
    """Tells of what has no verdict, and only of that."""
    seen = watched("misbehaving")
    for deed in ("nothing", "return-none", "nothing", "raise-recoverable"):
        seen.host.call(deed)
    seen.host.shut_down()
    assert [told["answer"]["data"]["kind"] for told in seen.told("call_failed")] == ["bad_result", "recoverable"]


def test_diagnostics_published(watched: Callable[..., Watched]) -> None:
    """What the algorithm published."""
    seen = watched()
    seen.host.call(**STEPS_CALL)
    assert seen.first("diagnostics_published")["diagnostics"]["counted"] == 1


def test_session_opened(watched: Callable[..., Watched]) -> None:
    """Once a session, and again after its end."""
    seen = watched()
    for final in (False, True, False):
        seen.host.call(user_params={}, session={"id": "one", "final": final})
    seen.host.shut_down()
    assert [(told["session_id"], told["known"]) for told in seen.told("session_opened")] == [("one", False)] * 2


def test_session_saved(watched: Callable[..., Watched]) -> None:
    """The state that a call left."""
    seen = watched()
    seen.host.call(**STEPS_CALL)
    assert json.loads(seen.first("session_saved")["state"]) == {"counted": 1}


def test_session_ended(watched: Callable[..., Watched]) -> None:
    """By `final`, and by a reset."""
    seen = watched("misbehaving")
    seen.host.call(session={"id": "one", "final": True})
    seen.host.call(phase="reset", session={"id": "two"})
    seen.host.shut_down()
    assert [told["session_id"] for told in seen.told("session_ended")] == ["one", "two"]


def test_log_record(watched: Callable[..., Watched]) -> None:
    """The lines of the log, with the call they belong to."""
    seen = watched("misbehaving")
    seen.host.call("log-everywhere", params={"text": "a line"})
    seen.host.shut_down()
    records = [told["record"] for told in seen.told("log_record")]
    ours = [record for record in records if "a line" in record["message"]]
    assert ours
    assert all(record["request_id"] == "c1" for record in ours)


def test_image_backends(start: Callable[..., WireClient]) -> None:
    """A backend that fails fails its call, by its own name, and nothing else."""
    host = start({"bad": "peer_hooks.broken:BadStores"}, "misbehaving", "--hook", "bad")
    meta = {"width": 2, "height": 2}
    for scheme, text in (("failing", "TimeoutError"), ("unmakeable", "ConnectionError")):
        answer = host.call(shared_mem_id=f"{scheme}:x", image_meta=meta)
        assert (answer["error_code"], answer["data"]["kind"]) == ("1002", "image_backend")
        assert text in answer["message"]
    assert host.call()["status"] == "OK"
    assert host.shut_down() == 0
    assert any("could not be closed" in record["message"] for record in host.whole_log())


@pytest.mark.parametrize("at", ["load", "save", "delete"])
def test_session_stores(start: Callable[..., WireClient], at: str) -> None:
    """A store that fails fails the call: it is never taken for an empty session."""
    host = start({"bad": "peer_hooks.broken:BadStores"}, "steps", "--hook", "bad", "--sessions", f"failing:{at}")
    fields: dict[str, Any] = {"user_params": {}, "session": {"id": "one"}}
    if at == "delete":
        # The last answer is out when a session is dropped; what failed then is tried before the id is met again.
        assert host.call(user_params={}, session={"id": "one", "final": True})["status"] == "OK"
        host.log("the session 'one' is over, but")
    answer = host.call(**fields)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "9999", "session_store")
    assert f"{at} took too long" in answer["message"]


def test_a_store_that_cannot_be_opened_is_a_wrong_configuration(start: Callable[..., WireClient]) -> None:
    """The host says so and exits 78."""
    host = start({"bad": "peer_hooks.broken:BadStores"}, "steps", "--hook", "bad", "--sessions", "unopenable:x")
    error = host.receive()
    assert "nobody there" in error["message"]
    assert (error["error_code"], error["data"]["kind"]) == ("1009", "configuration")
    assert host.wait() == 78


def test_a_session_over_its_bound_is_refused(launch: Launch) -> None:
    """And what was saved before stays."""
    host = launch("steps", "--max-session-bytes", "30")
    assert host.call(user_params={})["status"] == "OK"
    answer = host.call(user_params={}, phase="pre")
    assert answer["data"]["kind"] == "session_too_large"
    assert host.call(user_params={})["data"]["debug"]["counted"] == 2
