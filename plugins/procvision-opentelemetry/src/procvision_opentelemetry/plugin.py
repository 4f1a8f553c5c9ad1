"""The hook plugin: what it is told becomes spans and metrics, which OpenTelemetry's own threads send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from procvision_sdk.hookspecs import HookOption, hookimpl

if TYPE_CHECKING:
    from procvision_opentelemetry.metrics import CallMetrics
    from procvision_opentelemetry.providers import Providers
    from procvision_opentelemetry.spans import CallSpans

DEFAULT_METRICS_INTERVAL_S = 60.0
"""OpenTelemetry's own default."""


class OpenTelemetry:
    """Makes spans after the fact, on the plugin's own thread; nothing of OpenTelemetry is imported before."""

    def __init__(self) -> None:
        self._values: Mapping[str, Any] = {}
        self._providers: Providers | None = None
        self._spans: CallSpans | None = None
        self._metrics: CallMetrics | None = None

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Where to. Everything else is OpenTelemetry's own environment, `OTEL_…`."""
        return [
            HookOption("exporter", str, help="an installed exporter, as `otlp_proto_http` or `console`"),
            HookOption("endpoint", str, "", "where OTLP goes, as http://127.0.0.1:4318; empty leaves it to `OTEL_…`"),
            HookOption("service", str, "procvision-host", "the resource's `service.name`"),
            HookOption(
                "metrics_interval_s",
                float,
                DEFAULT_METRICS_INTERVAL_S,
                "seconds between metrics; 0 for none",
                minimum=0,
            ),
        ]

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Raise where the exporter isn't installed; make nothing yet."""
        from procvision_opentelemetry.exporters import check

        check(values["exporter"])
        self._values = values

    @hookimpl
    def procvision_host_loaded(self, algorithm: str, version: str, process_id: int) -> None:
        """Make the providers of this host; the process's global ones stay the algorithm's own affair."""
        from procvision_opentelemetry.metrics import CallMetrics
        from procvision_opentelemetry.providers import Providers
        from procvision_opentelemetry.spans import CallSpans

        self._providers = providers = Providers(self._values, algorithm, version, process_id)
        self._spans = CallSpans(providers.tracer, providers.ids, algorithm)
        if providers.meter is not None:
            self._metrics = CallMetrics(providers.meter)

    @hookimpl
    def procvision_call_finished(
        self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
    ) -> None:
        """One span, and its numbers."""
        if self._spans is not None:
            self._spans.call_finished(call, answer, elapsed_ms, ended_at_ns)
        if self._metrics is not None:
            self._metrics.call_finished(call, answer, elapsed_ms / 1000)

    @hookimpl
    def procvision_session_opened(self) -> None:
        """One more session."""
        if self._metrics is not None:
            self._metrics.sessions_changed(1)

    @hookimpl
    def procvision_session_ended(self) -> None:
        """One less."""
        if self._metrics is not None:
            self._metrics.sessions_changed(-1)

    @hookimpl
    def procvision_host_closed(self) -> None:
        """Send what is left, as far as the host's end leaves time for it."""
        if self._providers is not None:
            self._providers.close()
