"""An algorithm that is out to deceive or to break its host: one answer a call, and never an OK out of what is none."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from launching import Launch
from shared_picture import grey, shared_picture
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
    """Calls, pictures, pings and the end go on as they did: libraries for coroutines replace these functions, too."""
    assert host.call("replace-what-the-host-calls")["status"] == "OK"
    for level in (7, 8, 9):
        assert host.call()["data"]["result_status"] == "OK"
        with shared_picture(grey(level=level), 8, 6) as first_seen:
            assert _levels(host.call("read", **first_seen.fields)) == [level] * 3
    assert host.ping()["state"] == "ready"
    assert host.shut_down() == 0


def test_nor_is_it_what_stores_backends_and_observers_call(launch: Launch, tmp_path: Path) -> None:
    """Those in the box: sessions in SQLite, pictures in files, a line in the log for each call."""
    (tmp_path / "plain.raw").write_bytes(grey())
    values = (f"file-images.folders={tmp_path}", f"json-lines.directory={tmp_path}/log", "json-lines.max_bytes=4096")
    options = (word for value in values for word in ("--hook-option", value))
    host = launch("misbehaving", "--sessions", f"sqlite:{tmp_path}/s.db", *options)
    assert host.call("remember", params={"text": "it"})["status"] == "OK"
    assert host.call("replace-what-the-host-calls")["status"] == "OK"
    assert host.call("recall")["data"]["debug"]["kept"] == "it"
    assert host.call("remember", params={"text": "that"})["status"] == "OK"
    assert host.call("recall")["data"]["debug"]["kept"] == "that"
    with shared_picture(grey(level=9), 8, 6) as slot:
        assert _levels(host.call("read", shared_mem_id=f"file:{tmp_path}/plain.raw", image_meta=slot.meta)) == [7] * 3
        (tmp_path / "slot").write_bytes(slot.path.read_bytes())
        assert _levels(host.call("read", shared_mem_id=f"file:{tmp_path}/slot#2", image_meta=slot.meta)) == [9] * 3
    for _ in range(20):  # until the log is put aside
        host.call()
    assert host.shut_down() == 0
    files = list((tmp_path / "log").iterdir())
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert len(files) > 1
    assert sum(line["kind"] == "result" for line in lines) == 27


def _levels(answer: dict[str, Any]) -> Any:
    return answer["data"]["debug"]["first"] if answer["type"] == "result" else answer


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
