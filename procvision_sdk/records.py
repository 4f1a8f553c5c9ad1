"""What an observer writes down of a call: one flat record, the same in every log, topic and table of ours.

    call_record    every answered call
    debug_record   what an algorithm published in it
    Bounded        the values of a metric's label, so many and no more

A hook plugin that keeps or sends results takes these, so that a consumer reads one form wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procvision_sdk.wire.messages import PHASES

MAX_LABEL_VALUES = 64
"""Manifests have a handful of steps and the protocol some dozens of kinds; more are a peer's nonsense."""
OTHER = "other"
"""The value of a label for whatever has no value of its own."""
NO_VERDICT = "NONE"
"""The verdict of a call that has none: `pre`, `info`, `reset`, and whatever was answered with status ERROR."""


def verdict(answer: Mapping[str, Any]) -> str:
    """OK, NG, or NONE: an answer of status ERROR has no verdict, whatever else it says."""
    data = answer.get("data")
    if answer.get("status") != "OK" or not isinstance(data, Mapping):
        return NO_VERDICT
    found = data.get("result_status")
    return found if found in ("OK", "NG") else NO_VERDICT


def error_kind(answer: Mapping[str, Any]) -> str | None:
    """The word for what went wrong: an `error` frame's kind, `returned` for a result of status ERROR, else None."""
    if answer.get("status") == "OK":
        return None
    data = answer.get("data")
    kind = data.get("kind") if answer.get("type") != "result" and isinstance(data, Mapping) else None
    return kind if isinstance(kind, str) else "returned"


def trace_id(call: Mapping[str, Any]) -> str | None:
    """Return the trace id of the session's context: `trace_id`, else the second field of a W3C `traceparent`."""
    context = call.get("context") or {}
    given = context.get("trace_id")
    if isinstance(given, str) and given:
        return given
    parts = str(context.get("traceparent") or "").split("-")
    return parts[1] if len(parts) >= 4 else None


def call_record(
    call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
) -> dict[str, Any]:
    """Return one answered call, from what `procvision_call_finished` is given.

    `timestamp_ms` is when the answer was written, `elapsed_ms` the time of the call in the host. `data` is the
    answer's, without `debug`, and empty for `info`, which tells the manifest every time; the context is the session's.
    What isn't known is null and never left out.
    """
    data = dict(answer.get("data") or {}) if call.get("phase") != "info" else {}
    data.pop("debug", None)
    failed = answer.get("status") != "OK"
    return {
        **_named(call, ended_at_ns),
        "status": answer.get("status"),
        "verdict": verdict(answer),
        "message": answer.get("message") or "",
        "error_code": (answer.get("error_code") or None) if failed else None,
        "error_kind": error_kind(answer),
        "elapsed_ms": round(elapsed_ms, 3),
        "context": dict(call.get("context") or {}),
        "data": data,
    }


def debug_record(call: Mapping[str, Any], diagnostics: Mapping[str, Any], ended_at_ns: int) -> dict[str, Any]:
    """Return what `procvision_diagnostics_published` is given, with the call's names."""
    return {**_named(call, ended_at_ns), "diagnostics": dict(diagnostics)}


def _named(call: Mapping[str, Any], ended_at_ns: int) -> dict[str, Any]:
    return {
        "timestamp_ms": ended_at_ns // 1_000_000,
        "request_id": call.get("request_id"),
        "phase": call.get("phase"),
        "step_index": call.get("step_index"),
        "pid": call.get("pid"),
        "session_id": call.get("session_id"),
        "trace_id": trace_id(call),
        "final": bool(call.get("final")),
    }


class Bounded:
    """The values of one label: the first `MAX_LABEL_VALUES` as they are, `none` for null, `other` for the rest.

    What a runner or an algorithm may choose freely (a step's number, an error code) must not make series without end.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, value: object) -> str:
        """Return the label's value for it."""
        text = "none" if value is None else str(value)[:80]
        if text not in self._known:
            if len(self._known) >= MAX_LABEL_VALUES:
                return OTHER
            self._known.add(text)
        return text


def bounded_phase(call: Mapping[str, Any]) -> str:
    """Return the call's phase, `other` where it is none."""
    phase = call.get("phase")
    return phase if phase in PHASES else OTHER
