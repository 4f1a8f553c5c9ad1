"""A result as it can be kept and compared: what differs between two runs of the same code is left out."""

from __future__ import annotations

from typing import Any

from procvision_sdk.call_result import CallResult

VOLATILE = frozenset({"latency_ms"})
"""Of `data.debug`: times are never the same twice."""


def snapshot(result: CallResult, *, digits: int = 3, without: frozenset[str] = VOLATILE) -> dict[str, Any]:
    """Give a result as plain values: numbers rounded to ``digits``, rects by place, no times and no request ids.

    ``without`` names fields of `data.debug` to leave out.
    """
    data = dict(result.data)
    debug = {key: value for key, value in data.pop("debug", {}).items() if key not in without}
    for name in ("defect_rects", "position_rects", "calibration_rects"):
        if name in data:
            data[name] = sorted(data[name], key=lambda rect: (rect["y"], rect["x"], rect.get("label", "")))
    told: dict[str, Any] = {"phase": result.phase, "status": result.status, "message": result.message}
    if result.error_code is not None:
        told["error_code"] = result.error_code
    told["data"] = data | ({"debug": debug} if debug else {})
    return {key: _rounded(value, digits) for key, value in told.items()}


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: _rounded(inner, digits) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [_rounded(inner, digits) for inner in value]
    return value
