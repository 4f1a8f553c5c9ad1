"""Real hosts, and a receiver of OTLP over HTTP in a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Any
from uuid import UUID

import pytest

from procvision_opentelemetry import exporters
from procvision_testing import check_hook_plugin
from procvision_testing.hook_hosts import PATIENCE_S, HookHost

RECEIVER = Path(__file__).parent / "support" / "otlp_receiver.py"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
"""Milliseconds until spans are sent, so that a test needn't wait five seconds for them."""
PARENT = "b7ad6b7169203331"


class Receiver:
    """The process, and what it was sent."""

    def __init__(self, stack: ExitStack, folder: Path, status: int = 200, port: int = 0) -> None:
        self._path = folder / "received.jsonl"
        command = [sys.executable, str(RECEIVER), str(port), str(self._path), str(status)]
        self._process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(self._process.kill)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def _received(self, path: str) -> list[dict[str, Any]]:
        lines = self._path.read_text().rpartition("\n")[0].splitlines() if self._path.exists() else []
        return [found["body"] for found in map(json.loads, lines) if found["path"] == path]

    def spans(self, number: int) -> list[dict[str, Any]]:
        """Waits for so many spans; ids and attributes are plain, those of the resource beside them."""
        return self._until(lambda: len(found := self._spans()) >= number and found)

    @staticmethod
    def _until(found: Callable[[], Any]) -> Any:
        deadline = monotonic() + PATIENCE_S
        while not (given := found()):
            assert monotonic() < deadline, "the receiver was not sent what it waits for"
            sleep(0.02)
        return given

    def _spans(self) -> list[dict[str, Any]]:
        return [
            {
                **span,
                "trace_id": plain_id(span["traceId"]),
                "parent": plain_id(span.get("parentSpanId", "")),
                "attributes": attributes(span),
                "resource": attributes(resource["resource"]),
            }
            for body in self._received("/v1/traces")
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def points_when(self, name: str, key: str, total: int) -> list[dict[str, Any]]:
        """The data points of a metric, once their values under `key` have this sum."""

        def found() -> list[dict[str, Any]] | None:
            points = self._points(name)
            return points if sum(int(point[key]) for point in points) == total else None

        return self._until(found)

    def _points(self, name: str) -> list[dict[str, Any]]:
        received = self._received("/v1/metrics")
        if not received:
            return []
        (resource,) = received[-1]["resourceMetrics"]
        metrics = {metric["name"]: metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]}
        if name not in metrics:
            return []
        kind = "histogram" if "histogram" in metrics[name] else "sum"
        return [{**point, "attributes": attributes(point)} for point in metrics[name][kind]["dataPoints"]]


def plain_id(encoded: str) -> str:
    """The hexadecimal form of an id."""
    return base64.b64decode(encoded).hex()


def attributes(owner: dict[str, Any]) -> dict[str, Any]:
    """Attributes as a dict."""
    found = {}
    for attribute in owner.get("attributes", []):
        ((kind, value),) = attribute["value"].items()
        found[attribute["key"]] = int(value) if kind == "intValue" else value
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test starts."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def receiver(stack: ExitStack, tmp_path: Path) -> Receiver:
    """A receiver that takes everything."""
    return Receiver(stack, tmp_path)


Start = Callable[..., HookHost]


@pytest.fixture
def start(stack: ExitStack, tmp_path: Path) -> Start:
    """Starts hosts that send to an address."""

    def begin(endpoint: str, **options: object) -> HookHost:
        values = {"exporter": "otlp_proto_http", "endpoint": endpoint, "metrics_interval_s": 0.2, **options}
        named = {f"opentelemetry.{key}": value for key, value in values.items()}
        return stack.enter_context(HookHost(tmp_path, "--hook", "opentelemetry", options=named, environment=SOON))

    return begin


def test_a_call_is_a_span_in_the_runners_trace(start: Start, receiver: Receiver) -> None:
    """Of the trace and the parent in `traceparent`, with its times, its names and its verdict."""
    began = time_ns()
    host = start(receiver.url, service="station-7")
    context = {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "trace_id": "otherwise"}
    host.call("ng", wait_ms=40, publish=True, context=context, session="s7")
    (span,) = receiver.spans(1)
    assert host.shut_down() == 0
    assert (span["trace_id"], span["parent"]) == (TRACE_ID, PARENT)
    assert span["name"] == "execute plugged"
    assert span["kind"] == "SPAN_KIND_SERVER"
    first, last = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    assert began < first < last - 40_000_000 < last < time_ns()
    told = span["attributes"]
    assert (told["procvision.verdict"], told["procvision.ng_reason"], told["procvision.defects"]) == (
        "NG",
        "asked to refuse",
        1,
    )
    assert (told["procvision.session_id"], told["procvision.step_index"], told["procvision.pid"]) == ("s7", 1, "A")
    assert told["procvision.debug.number"] == 1
    assert (
        span["resource"].items()
        >= {
            "service.name": "station-7",
            "process.pid": host.process_id,
            "procvision.algorithm.name": "plugged",
        }.items()
    )
    assert "code" not in span.get("status", {})


@pytest.mark.parametrize(
    ("context", "trace_id"),
    [
        ({"trace_id": TRACE_ID}, TRACE_ID),
        ({"trace_id": str(UUID(TRACE_ID)).upper()}, TRACE_ID),
        ({"trace_id": TRACE_ID, "traceparent": "00-nonsense-01"}, TRACE_ID),
        ({"trace_id": "order 66"}, None),
        ({"trace_id": "0" * 32}, None),
        ({"traceparent": 7, "trace_id": 7}, None),
        ({}, None),
    ],
)
def test_a_trace_id_alone_is_the_traces(context: dict[str, Any], trace_id: str | None) -> None:
    """And the span its root; what is no id gives the trace one of its own, and calls never share one by accident."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from procvision_opentelemetry.spans import CallSpans, TraceIds

    ids, kept = TraceIds(), InMemorySpanExporter()
    provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    spans = CallSpans(provider.get_tracer("t"), ids, "a")
    call = {"phase": "execute", "context": context}
    for asked in (call, {"phase": "execute", "context": {}}):
        spans.call_finished(asked, {"type": "result", "status": "OK", "data": {}}, 1.0, time_ns())
    first, second = kept.get_finished_spans()
    found = f"{first.context.trace_id:032x}"
    assert first.parent is None
    assert found == trace_id or (trace_id is None and int(found, 16))
    assert second.context.trace_id != first.context.trace_id


def test_a_call_without_a_verdict_is_a_span_with_an_error(start: Start, receiver: Receiver) -> None:
    """Raised, returned or refused, each with the protocol's code and kind."""
    host = start(receiver.url)
    for does, fields in (("raise", {}), ("error", {}), ("ok", {"pid": "unheard-of"})):
        host.call(does, **fields)
    spans = receiver.spans(3)
    assert host.shut_down() == 0
    assert [span["status"]["code"] for span in spans] == ["STATUS_CODE_ERROR"] * 3
    assert [span["attributes"]["error.type"] for span in spans] == ["recoverable", "returned", "invalid_pid"]
    assert [span["attributes"]["procvision.error_code"] for span in spans][1:] == ["1003", "1001"]
    assert "unheard-of" in spans[2]["status"]["message"]
    assert all("procvision.verdict" not in span["attributes"] for span in spans)


def test_metrics_arrive(start: Start, receiver: Receiver) -> None:
    """A histogram of the calls, and the sessions."""
    host = start(receiver.url)
    for does in ("ok", "ok", "ng", "raise"):
        host.call(does)
    host.call("ok", session="two", final=True)
    counts = {
        (point["attributes"]["procvision.verdict"], point["attributes"].get("error.type")): int(point["count"])
        for point in receiver.points_when("procvision.call.duration", "count", 5)
    }
    assert counts == {("OK", None): 3, ("NG", None): 1, ("NONE", "recoverable"): 1}
    assert len(receiver.points_when("procvision.sessions", "asInt", 1)) == 1
    assert host.shut_down() == 0


def test_a_collector_that_is_away_delays_no_answer_and_no_end(start: Start, stack: ExitStack, tmp_path: Path) -> None:
    """Refusing everything, or not there at all."""
    refusing = Receiver(stack, tmp_path, status=503)
    for url in (refusing.url, "http://127.0.0.1:9"):
        host = start(url)
        answers = [host.call("ng") for _ in range(20)]
        assert {answer["data"]["result_status"] for answer in answers} == {"NG"}
        assert host.shut_down() == 0


def test_an_exporter_that_is_not_installed_is_a_wrong_configuration(start: Start) -> None:
    """With what is there, and how to get it."""
    host = start("", exporter="carrier_pigeon")
    told = host.receive()["message"]
    assert "carrier_pigeon" in told
    assert "otlp_proto_http" in told
    assert host.wait() == 78


def test_what_is_left_is_sent_at_the_end(start: Start, receiver: Receiver) -> None:
    """Within the two seconds that a host gives its plugins."""
    host = start(receiver.url, metrics_interval_s=3600)
    host.call()
    receiver.spans(1)  # the exporter is loaded, whatever else this machine does
    host.call()
    assert host.shut_down() == 0
    assert len(receiver.spans(2)) == 2
    receiver.points_when("procvision.call.duration", "count", 2)


def test_another_exporter_is_taken_by_its_name(start: Start) -> None:
    """`console`, which is OpenTelemetry's own: what it prints ends in the host's log, never among the frames."""
    host = start("", exporter="console", metrics_interval_s=0)
    assert host.call()["status"] == "OK"
    deadline = monotonic() + PATIENCE_S
    while "execute plugged" not in host.log():
        assert monotonic() < deadline, host.log()
        sleep(0.02)
    assert host.shut_down() == 0
    assert exporters.make("metrics", "console", "") is not None


def test_it_holds_to_what_a_host_relies_on(receiver: Receiver) -> None:
    """The SDK's own check."""
    check_hook_plugin("opentelemetry", options={"exporter": "otlp_proto_http", "endpoint": receiver.url})
