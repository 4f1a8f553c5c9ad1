"""Events: typed, in order, and no listener can hold anything up."""

from __future__ import annotations

import io
import json
import threading

import pytest

from procvision_runner import delivery
from procvision_runner.supervision import events
from procvision_runner.supervision.events import Broken, Event, EventBus, HostEnded, JsonLines


def test_json_line_holds_every_field_and_a_name() -> None:
    stream = io.StringIO()
    JsonLines(stream)(HostEnded(source="a", timestamp_ms=5, host=2, cause="crashed", reason="x", exit_status=-11))
    assert json.loads(stream.getvalue()) == {
        "event": "host_ended",
        "timestamp_ms": 5,
        "source": "a",
        "host": 2,
        "cause": "crashed",
        "reason": "x",
        "exit_status": -11,
    }
    assert stream.getvalue().endswith("\n")


def test_names_of_events_are_unique() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    assert len({kind.NAME for kind in kinds}) == len(kinds) > 15


def test_order_is_kept_and_the_last_event_is_delivered() -> None:
    heard: list[Event] = []
    bus = EventBus((heard.append,))
    sent = [Broken(reason=str(number)) for number in range(500)]
    for event in sent:
        bus.emit(event)
    bus.close()
    assert heard == sent


def test_listener_that_raises_takes_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def bad(_: Event) -> None:
        raise RuntimeError("a listener's own fault")

    heard: list[Event] = []
    bus = EventBus((bad, heard.append))
    bus.emit(Broken(reason="x"))
    bus.close()
    assert len(heard) == 1
    assert "a listener's own fault" in caplog.text


def test_listener_that_blocks_costs_events_and_never_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MAX_BACKLOG", 10)
    gate = threading.Event()
    bus = EventBus((lambda _: gate.wait(30) and None,))
    for _ in range(100):
        bus.emit(Broken(reason="x"))
    assert bus.dropped >= 89
    gate.set()
    bus.close()


def test_without_a_listener_there_is_no_thread() -> None:
    before = threading.active_count()
    bus = EventBus()
    bus.emit(Broken(reason="x"))
    assert threading.active_count() == before
    bus.close()
