"""Exporters by name, found as OpenTelemetry itself finds them: by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUPS = {"traces": "opentelemetry_traces_exporter", "metrics": "opentelemetry_metrics_exporter"}
_HINTS = {"otlp_proto_http": "pip install 'procvision-opentelemetry[otlp]'"}


def check(name: str) -> None:
    """Raise LookupError where there is no such exporter of traces."""
    if _found("traces", name) is None:
        known = sorted({entry_point.name for entry_point in entry_points(group=GROUPS["traces"])})
        hint = _HINTS.get(name, "install the distribution that brings it")
        raise LookupError(f"exporter is {name!r}, installed are {', '.join(known) or 'none'}; hint: {hint}")


def make(signal: str, name: str, endpoint: str) -> Any:
    """An exporter of `traces` or `metrics`; None where this one has none for the signal."""
    entry_point = _found(signal, name)
    if entry_point is None:
        return None
    exporter = entry_point.load()
    if not endpoint:
        return exporter()
    # Over HTTP every signal has a path of its own; an exporter takes its whole address.
    place = f"{endpoint.rstrip('/')}/v1/{signal}" if name == "otlp_proto_http" else endpoint
    return exporter(endpoint=place)


def _found(signal: str, name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUPS[signal], name=name)), None)
