"""The metrics of one host, with bounded attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.metrics import Meter

from procvision_sdk.records import Bounded, bounded_phase, error_kind, verdict


class CallMetrics:
    """What is counted; used by one thread."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram("procvision.call.duration", "s", "Time of a call in the host.")
        self._sessions = meter.create_up_down_counter("procvision.sessions", "{session}", "Sessions met and not ended.")
        self._steps, self._kinds = Bounded(), Bounded()

    def call_finished(self, call: Mapping[str, Any], answer: Mapping[str, Any], seconds: float) -> None:
        """One call: the histogram's count is the number of calls."""
        attributes = {
            "procvision.phase": bounded_phase(call),
            "procvision.step_index": self._steps.bounded(call.get("step_index")),
            "procvision.verdict": verdict(answer),
        }
        kind = error_kind(answer)
        if kind is not None:
            attributes["error.type"] = self._kinds.bounded(kind)
        self._duration.record(seconds, attributes)

    def sessions_changed(self, by: int) -> None:
        """Sessions were opened or ended."""
        self._sessions.add(by)
