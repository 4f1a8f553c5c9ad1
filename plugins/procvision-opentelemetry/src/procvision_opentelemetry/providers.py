"""The tracer and the meter of one host, with their queues and threads.

They are not the process's global providers: an algorithm that uses OpenTelemetry itself isn't disturbed. Nothing is
registered for the interpreter's end, so that a collector that is away can't keep the host from leaving.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

from procvision_opentelemetry.exporters import make
from procvision_opentelemetry.spans import TraceIds

SCOPE = "procvision"
METRICS_END_MS = 500
"""The host gives its observers two seconds; spans are worth more of them than the last metrics."""


class Providers:
    """Made once a host; `close` sends what is left."""

    def __init__(self, values: Mapping[str, Any], algorithm: str, version: str, process_id: int) -> None:
        resource = Resource.create(
            {
                "service.name": values["service"],
                "process.pid": process_id,
                "procvision.algorithm.name": algorithm,
                "procvision.algorithm.version": version,
            }
        )
        self.ids = TraceIds()
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self.ids)
        exporter = make("traces", values["exporter"], values["endpoint"])
        self._traces.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer: Tracer = self._traces.get_tracer(SCOPE)
        self.meter: Meter | None = None
        self._metrics: MeterProvider | None = None
        interval_s = values["metrics_interval_s"]
        metrics_exporter = make("metrics", values["exporter"], values["endpoint"]) if interval_s else None
        if metrics_exporter is not None:
            reader = PeriodicExportingMetricReader(metrics_exporter, export_interval_millis=interval_s * 1000)
            self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
            self.meter = self._metrics.get_meter(SCOPE)

    def close(self) -> None:
        """Send what waits. It may hang where the collector does; the host doesn't wait for it."""
        if self._metrics is not None:
            self._metrics.shutdown(timeout_millis=METRICS_END_MS)
        self._traces.shutdown()
