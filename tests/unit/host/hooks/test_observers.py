"""What observers are told of the cell's records, in whatever state it left them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from procvision_host.halves.records import ANSWERED, EVENTS, before_answer, events_record, flags_of, told_call
from procvision_host.hooks.isolation import MAX_WAITING_BYTES, Isolation, Observer
from procvision_host.hooks.observers import RecordDispatcher
from procvision_host.hooks.selection import IsolationPolicy
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Call, Result, SessionRef

CALLED = Call(
    request_id="c1",
    phase="execute",
    step_index=2,
    pid="A",
    session=SessionRef(id="s", context={"n": 10**30}, final=True),
)
FRAME = frame(
    msgspec.json.encode(
        Result(request_id="c1", phase="execute", step_index=2, status="OK", data={"debug": {"a": 1, "b": 2}})
    )
)
SAVED = events_record([("procvision_session_saved", {"session_id": "s", "state": b"{}"})])


class Told:
    """Stands for the hook plugins: keeps what they are told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def tell(self, hook: str, arguments: Callable[[], dict[str, Any]], size: int = 0) -> None:
        self.all.append((hook.removeprefix("procvision_"), arguments()))

    @property
    def hooks(self) -> list[str]:
        return [hook for hook, _ in self.all]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def telling(told: Told) -> RecordDispatcher:
    return RecordDispatcher(told, "weld", "line-3")  # type: ignore[arg-type]


def answer(status: str = "OK", debug: object = None) -> bytes:
    return before_answer(told_call(CALLED), 1.5, 7, flags_of(status, debug)) + FRAME


def test_a_call_is_told_whole_and_before_what_it_did_to_its_session(telling: RecordDispatcher, told: Told) -> None:
    """In the order in which they were put down."""
    for kind, data in ((ANSWERED, answer("ERROR", {"a": 1, "b": 2})), (EVENTS, SAVED)):
        telling.take(kind, data)
    assert told.hooks == ["call_finished", "call_failed", "diagnostics_published", "session_saved"]
    finished = told.all[0][1]
    assert finished["call"] == {
        "phase": "execute",
        "step_index": 2,
        "pid": "A",
        "request_id": "c1",
        "session_id": "s",
        "context": {"n": 10**30},
        "final": True,
    }
    assert (finished["answer"]["type"], finished["elapsed_ms"], finished["ended_at_ns"]) == ("result", 1.5, 7)
    assert told.all[2][1]["diagnostics"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (ANSWERED, b""),
        (ANSWERED, b"x" * 20),
        (ANSWERED, b"x" * 40),
        (ANSWERED, answer()[: -len(FRAME)]),
        (ANSWERED, before_answer(b"[]", 1.5, 7, 0) + FRAME),
        (EVENTS, b"\xc1"),
        (EVENTS, events_record([("procvision_host_closed", {})])),  # not the cell's to say
        (EVENTS, events_record([("procvision_configure", {})])),
        (9, b""),
    ],
)
def test_what_no_cell_of_ours_says_is_an_error(telling: RecordDispatcher, told: Told, kind: int, data: bytes) -> None:
    """And nobody is told of it."""
    with pytest.raises((ValueError, TypeError)):
        telling.take(kind, data)
    assert told.all == []


def loaded(algorithm: str, **more: object) -> bytes:
    told = {"algorithm": algorithm, "version": "1.0", "process_id": 7, "supervisor": "another's", **more}
    return events_record([("procvision_host_loaded", told)])


def test_whose_record_it_is_comes_from_what_the_host_was_asked_for(telling: RecordDispatcher, told: Told) -> None:
    """A file, a topic, the labels of a metric: no algorithm gets another's by what it says of itself."""
    for claimed in (loaded("stamp"), loaded("../weld"), loaded(""), loaded("weld", version=5)):
        with pytest.raises(ValueError, match=r"calls itself|Expected"):
            telling.take(EVENTS, claimed)
    assert told.all == []
    telling.take(EVENTS, loaded("weld"))
    wanted = {"algorithm": "weld", "version": "1.0", "process_id": 7, "supervisor": "line-3"}
    assert told.all == [("host_loaded", wanted)]
    with pytest.raises(ValueError, match="a second time"):
        telling.take(EVENTS, loaded("weld"))


def test_a_name_that_a_source_gives_is_a_name(told: Told) -> None:
    """Nobody asked for it by name; it may become that of a file."""
    for claimed in ("../weld", "weld/../../x", "", "W", "x" * 65):
        with pytest.raises(ValueError, match="Expected"):
            RecordDispatcher(told, None, "").take(EVENTS, loaded(claimed))  # type: ignore[arg-type]
    RecordDispatcher(told, None, "").take(EVENTS, loaded("weld"))  # type: ignore[arg-type]
    assert [name for name, _ in told.all] == ["host_loaded"]


def test_what_waits_for_a_plugin_is_bounded_in_bytes() -> None:
    """An algorithm that answers with the longest frames fills no memory that isn't its own."""
    gate, seen = threading.Event(), []

    def slow(size: int) -> None:
        gate.wait(20)
        seen.append(size)

    observer = Observer(Isolation("slow", "observer", IsolationPolicy()), {"hook": slow})
    half = MAX_WAITING_BYTES // 2
    for _ in range(10):
        observer.tell("hook", lambda: {"size": half}, half)
    observer.tell("hook", lambda: {"size": 0})
    assert observer.lost == 8
    gate.set()
    observer.end(20)
    assert seen == [half, half, 0]
    assert observer._bytes == 0
