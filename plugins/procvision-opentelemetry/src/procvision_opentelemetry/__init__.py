"""Spans and metrics of a host over OpenTelemetry: `[hooks.opentelemetry] exporter = "otlp_proto_http"`."""

from procvision_opentelemetry.plugin import OpenTelemetry

__all__ = ["OpenTelemetry"]
