"""What an observer writes down of a call: one flat record, the same in every log, topic and table of ours.

    call_record    every answered call
    debug_record   what an algorithm published in it
    Products       the verdicts of products from those of calls
    Bounded        the values of a metric's label, so many and no more

A hook plugin that keeps or sends results takes these, so that a consumer reads one form wherever it comes from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from procvision_sdk.wire.messages import PHASES

MAX_LABEL_VALUES = 64
"""Manifests have a handful of steps and the protocol some dozens of kinds; more are a peer's nonsense."""
OTHER = "other"
"""The value of a label for whatever has no value of its own."""
MAX_OPEN_PRODUCTS = 4096
"""As many sessions as a supervisor knows; the oldest counts as unfinished."""
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


class Products:
    """Products by their verdicts. Not for several threads at once.

    A product is one session, over with its `final` call, or one `execute` of no session. It is NG if any step is, OK if
    the last call of every step is, and ERROR otherwise: nothing that is missing becomes OK. A `pre` that succeeded says
    nothing, and a call that was made again counts once. One that never ends is UNFINISHED when too many are open.
    """

    def __init__(self) -> None:
        self.open: OrderedDict[str, dict[tuple[str, object], str]] = OrderedDict()
        """The outcomes of the products that are not over, by session, then by phase and step."""

    def call_ended(
        self, phase: str, step_index: object, session_id: str | None, outcome: str, *, final: bool
    ) -> tuple[str, ...]:
        """Note how a call ended: OK, NG, NONE, or any other word for a failure. Return the verdicts of what is over."""
        if phase not in ("pre", "execute"):
            if phase == "reset" and session_id is not None:
                self.open.pop(session_id, None)
            return ()
        if session_id is None:
            return (_product({"": outcome}),) if phase == "execute" else ()
        steps = self.open.setdefault(session_id, {})
        self.open.move_to_end(session_id)
        if phase == "pre" and outcome == NO_VERDICT:
            steps.pop((phase, step_index), None)
        else:
            steps[phase, step_index] = outcome
        if final:
            del self.open[session_id]
            return (_product(steps),)
        if len(self.open) > MAX_OPEN_PRODUCTS:
            self.open.popitem(last=False)
            return ("UNFINISHED",)
        return ()


def _product(steps: Mapping[Any, str]) -> str:
    outcomes = set(steps.values())
    if "NG" in outcomes:
        return "NG"
    return "OK" if outcomes == {"OK"} else "ERROR"


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
