"""An algorithm that is out to deceive or to break its host: one answer a call, and never an OK out of what is none."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from launching import Launch
from wire_client import WireClient, eventually

PRETENDING = {
    "pretend-text": "1006",
    "pretend-number": "1007",
    "pretend-dict": "1006",
    "rect-of-bool": "1006",
    "rect-of-numpy-bool": "1006",
    "rect-of-array": "1006",
    "rect-as-list": "1006",
    "rect-without-score": "1006",
    "rects-as-generator": "1006",
    "score-of-nan": "1006",
    "score-of-two": "1006",
    "infinite-rect": "1006",
    "blank-reason": "1006",
    "verdict-in-small-letters": "1006",
    "verdict-in-bytes": "1006",
    "coroutine": "1006",
    "surrogate-as-key": "1006",
    "more-than-a-frame": "1006",
}


@pytest.mark.parametrize("deed", PRETENDING)
def test_what_pretends_to_be_an_answer_is_an_error(lasting_host: WireClient, deed: str) -> None:
    """Values are what they are built on, whatever they say of themselves."""
    answer = lasting_host.call(deed)
    assert (answer["type"], answer["error_code"]) == ("error", PRETENDING[deed]), answer
    assert lasting_host.call()["data"]["result_status"] == "OK"


def test_answer_cannot_be_changed_once_it_was_checked(lasting_host: WireClient) -> None:
    """`on_step_finish` is shown a copy."""
    data = lasting_host.call("change-when-it-is-finished")["data"]
    assert (data["result_status"], data["ng_reason"]) == ("NG", "scratch")
    assert len(data["defect_rects"]) == 1


def test_answer_that_a_thread_changes_is_never_half_an_ok(host: WireClient) -> None:
    """Either what was returned when it was looked at, whole, or an error."""
    for _ in range(50):
        answer = host.call("change-from-a-thread", params={"count": 20_000})
        assert answer["type"] == "error" or answer["data"]["result_status"] == "NG", answer


@pytest.mark.parametrize(
    ("deed", "kind", "text"),
    [
        ("raise-with-untellable-detail", "recoverable", "x"),
        ("raise-untellable", "program", "UntellableError"),
        ("raise-with-odd-attributes", "recoverable", "x"),
        ("raise-bytes-as-text", "program", "RuntimeError"),
        ("raise-group", "program", "several"),
        ("raise-its-own-cause", "program", "RuntimeError: x"),
    ],
)
def test_exception_that_is_hard_to_show_is_answered(lasting_host: WireClient, deed: str, kind: str, text: str) -> None:
    """In the form that every error has."""
    answer = lasting_host.call(deed)
    assert (answer["type"], answer["data"]["kind"], answer["error_code"]) == ("error", kind, "9999")
    assert isinstance(answer["data"]["retryable"], bool)
    assert text in answer["message"]
    assert lasting_host.call()["status"] == "OK"


@pytest.mark.parametrize("deed", ["raise-at-length", "raise-with-large-detail"])
def test_exception_of_any_size_keeps_its_kind(lasting_host: WireClient, deed: str) -> None:
    """Its text and detail are cut: a frame isn't filled with them."""
    answer = lasting_host.call(deed, params={"count": 4 << 20})
    assert answer["data"]["kind"] in {"program", "recoverable"}
    assert len(str(answer)) < 100_000


@pytest.mark.parametrize("deed", ["raise-from-a-timer", "raise-into-the-main-thread"])
def test_exception_between_two_calls_is_logged_and_no_more(host: WireClient, deed: str) -> None:
    """A timer of the vendor's that goes off late."""
    assert host.call(deed)["status"] == "OK"
    time.sleep(1.0)  # until it is in the host's way: it comes 0.4 s after the call
    assert host.call()["status"] == "OK"
    host.log("interrupted the host between two calls", level="error")
    assert host.shut_down() == 0


def test_what_an_algorithm_replaces_in_the_library_is_not_what_its_host_calls(host: WireClient) -> None:
    """Calls, pings and the end go on as they did: libraries for coroutines replace these functions, too."""
    assert host.call("replace-what-the-host-calls")["status"] == "OK"
    for _ in range(3):
        assert host.call()["data"]["result_status"] == "OK"
    assert host.ping()["state"] == "ready"
    assert host.shut_down() == 0


def test_processes_that_multiply_are_gone_with_the_host(host: WireClient) -> None:
    """Forty processes, and one that is never the same: all are gone with the host."""
    assert host.call("fork-many", params={"count": 40})["status"] == "OK"
    assert host.call("start-chain")["status"] == "OK"
    mark = Path(f"/proc/{host.host}/environ").read_bytes()
    assert host.shut_down() == 0
    eventually(lambda: not _with_environment(mark), "the chain's end")


def _with_environment(environment: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if (entry / "environ").read_bytes() == environment:
                    found.append(int(entry.name))
    return found


@pytest.fixture
def host(launch: Launch, request: pytest.FixtureRequest) -> WireClient:
    """A host that can be told from every other by its environment."""
    return launch(environment={"PEER_TEST": request.node.name})
