"""The metrics of one host, in a registry of their own.

Labels are bounded, see `procvision_sdk.records.Bounded`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from procvision_sdk.records import NO_VERDICT, Bounded, Products, bounded_phase, error_kind, verdict

MAX_SESSIONS = 1024
"""As many sessions as the host itself remembers as open; the oldest counts as ended."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a thresholding of a small picture to the runner's default timeout."""


class HostMetrics:
    """What is counted; used by one thread, read by the page's."""

    def __init__(self, algorithm: str, version: str, process_id: int, supervisor: str = "") -> None:
        self.registry = registry = CollectorRegistry()
        self._algorithm = algorithm
        self._steps, self._codes, self._kinds = Bounded(), Bounded(), Bounded()
        self._open: OrderedDict[str, None] = OrderedDict()
        call = ("algorithm", "phase", "step")
        self._calls = Counter(
            "procvision_calls", "Answered calls by status, OK or ERROR.", (*call, "status"), registry=registry
        )
        self._verdicts = Counter(
            "procvision_verdicts", "Verdicts, OK or NG.", ("algorithm", "step", "verdict"), registry=registry
        )
        self._products, self._ended = (
            Products(),
            Counter(
                "procvision_products",
                "Products that are over, by verdict.",
                ("algorithm", "verdict"),
                registry=registry,
            ),
        )
        self._errors = Counter(
            "procvision_errors", "Calls answered with status ERROR.", (*call, "code", "kind"), registry=registry
        )
        self._seconds = Histogram(
            "procvision_call_seconds", "Time of a call in the host.", call, registry=registry, buckets=SECONDS
        )
        one = ("algorithm",)
        self._sessions = Gauge(
            "procvision_sessions_open", "Sessions met and not ended.", one, registry=registry
        ).labels(algorithm)
        self._opened = Counter(
            "procvision_sessions_opened", "Sessions that this host met.", one, registry=registry
        ).labels(algorithm)
        self._ready = Gauge("procvision_host_ready", "1 while the host takes calls.", one, registry=registry).labels(
            algorithm
        )
        Gauge(
            "procvision_host_info", "The host.", ("algorithm", "version", "process_id", "supervisor"), registry=registry
        ).labels(algorithm, version, process_id, supervisor).set(1)
        # The algorithm is in another process than this: that is the one whose memory counts.
        ProcessCollector(pid=lambda: process_id, registry=registry)

    def ready(self, ready: bool) -> None:
        """Whether the host takes calls."""
        self._ready.set(ready)

    def call_finished(self, call: Mapping[str, Any], answer: Mapping[str, Any], seconds: float) -> None:
        """One call was answered."""
        step = self._steps.bounded(call["step_index"])
        named = (self._algorithm, bounded_phase(call), step)
        status = "OK" if answer.get("status") == "OK" else "ERROR"
        self._calls.labels(*named, status).inc()
        self._seconds.labels(*named).observe(seconds)
        found = verdict(answer)
        if found != NO_VERDICT:
            self._verdicts.labels(self._algorithm, step, found).inc()
        failed = found if found != NO_VERDICT or status == "OK" else status
        for product in self._products.call_ended(
            str(call.get("phase")), call["step_index"], call.get("session_id"), failed, final=bool(call.get("final"))
        ):
            self._ended.labels(self._algorithm, product).inc()
        kind = error_kind(answer)
        if kind is not None:
            code = self._codes.bounded(answer.get("error_code"))
            self._errors.labels(*named, code, self._kinds.bounded(kind)).inc()

    def session_opened(self, session_id: str) -> None:
        """A session was met."""
        self._opened.inc()
        self._open[session_id] = None
        if len(self._open) > MAX_SESSIONS:
            self._open.popitem(last=False)
        self._sessions.set(len(self._open))

    def session_ended(self, session_id: str) -> None:
        """A session ended."""
        self._open.pop(session_id, None)
        self._sessions.set(len(self._open))
