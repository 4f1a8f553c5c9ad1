"""A span for a call, in the trace that the session's context names.

`context.traceparent` (W3C, with `tracestate` beside it) makes the span a child of the runner's. Without it,
`context.trace_id` of 32 hexadecimal digits, with or without a UUID's dashes, is the trace's id and the span its root.
Any other `trace_id` only stands in the attribute `procvision.trace_id`, and the trace gets an id of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from procvision_sdk.records import NO_VERDICT, bounded_phase, error_kind, trace_id, verdict

MAX_DEBUG_ATTRIBUTES = 32
"""Of what an algorithm publishes; a span may have 128 attributes by OpenTelemetry's default."""
MAX_TEXT = 1024
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_W3C = TraceContextTextMapPropagator()


class TraceIds(RandomIdGenerator):
    """Random ids, but for the next root span a trace id that was asked for. Used by one thread."""

    def __init__(self) -> None:
        self.next_trace_id: int | None = None

    def generate_trace_id(self) -> int:
        """The one that was asked for, once, or a random one."""
        asked, self.next_trace_id = self.next_trace_id, None
        return super().generate_trace_id() if asked is None else asked


class CallSpans:
    """Makes spans of calls that are over."""

    def __init__(self, tracer: Tracer, ids: TraceIds, algorithm: str) -> None:
        self._tracer = tracer
        self._ids = ids
        self._algorithm = algorithm

    def call_finished(
        self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
    ) -> None:
        """One span from the call's begin to its answer."""
        parent = _parent(call)
        if parent is None:
            parent = Context()
            self._ids.next_trace_id = _own_trace_id(call)
        span = self._tracer.start_span(
            f"{bounded_phase(call)} {self._algorithm}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes=_attributes(call, answer),
            start_time=ended_at_ns - int(elapsed_ms * 1_000_000),
        )
        if answer.get("status") != "OK":
            span.set_status(Status(StatusCode.ERROR, str(answer.get("message") or "")[:MAX_TEXT]))
        span.end(ended_at_ns)


def _parent(call: Mapping[str, Any]) -> Context | None:
    context = call.get("context") or {}
    carrier = {key: context[key] for key in ("traceparent", "tracestate") if isinstance(context.get(key), str)}
    extracted = _W3C.extract(carrier, Context())
    return extracted if trace.get_current_span(extracted).get_span_context().is_valid else None


def _own_trace_id(call: Mapping[str, Any]) -> int | None:
    given = str((call.get("context") or {}).get("trace_id") or "").replace("-", "").lower()
    return int(given, 16) or None if _TRACE_ID.fullmatch(given) else None


def _attributes(call: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    found: dict[str, Any] = {
        "procvision.phase": call.get("phase"),
        "procvision.step_index": call.get("step_index"),
        "procvision.pid": call.get("pid"),
        "procvision.session_id": call.get("session_id"),
        "procvision.request_id": call.get("request_id"),
        "procvision.trace_id": trace_id(call),
        "procvision.status": answer.get("status"),
    }
    data = answer.get("data") or {}
    said = verdict(answer)
    if said != NO_VERDICT:
        found["procvision.verdict"] = said
    if said == "NG":
        found |= {"procvision.ng_reason": data.get("ng_reason"), "procvision.defects": len(data["defect_rects"])}
    kind = error_kind(answer)
    if kind is not None:
        found |= {"error.type": kind, "procvision.error_code": answer.get("error_code")}
    debug = data.get("debug")
    for key, value in list((debug or {}).items())[:MAX_DEBUG_ATTRIBUTES]:
        found[f"procvision.debug.{key}"] = value
    return {
        key: value[:MAX_TEXT] if isinstance(value, str) else value
        for key, value in found.items()
        if isinstance(value, (str, int, float, bool))
    }
