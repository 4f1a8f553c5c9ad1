"""A record of a journal as rows. Nothing here knows a database.

What a record has is a vendor's and an operator's word: a text is cut to its column, and what is no number is none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import frozen

from procvision_station.projection.tables import BUCKET_MS

MAX_MEASUREMENTS = 64
"""Of a step. An algorithm has a handful; a `debug` with thousands of numbers is a dump."""
MAX_TEXT = 4096
VERDICTS = ("OK", "NG", "ERROR")
BINNED_BY = ("recipe", "recipe_version", "versions", "product", "told", "overruled")
"""What products of a line's bin have in common; each has few values."""
NO_MEASUREMENTS = frozenset({"latency_ms", "truncated"})
"""What the host puts into each answer's `debug` itself."""


@frozen
class ProductRows:
    """What a product's record becomes."""

    product: dict[str, Any]
    steps: list[dict[str, Any]]
    defects: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    measurements: list[dict[str, Any]]


def product_rows(line: str, sequence: int, recorded_ms: int, content: Mapping[str, Any]) -> ProductRows:
    """Return the rows of a record of the kind product."""
    at = {"line": line, "sequence": sequence}
    triggered_ms = milliseconds(content.get("triggered_at"), recorded_ms)
    steps: dict[int, dict[str, Any]] = {}
    defects: list[dict[str, Any]] = []
    measurements: list[dict[str, Any]] = []
    for place, each in enumerate(_mappings(content.get("steps"))):
        number = each.get("step")
        step = number if isinstance(number, int) and 0 <= number < 10_000 else place
        if step in steps:
            continue
        steps[step] = {**at, "step": step, **_step(each)}
        defects += [{**at, "step": step, **rect} for rect in _defects(each.get("defect_rects"))]
        measurements += [{**at, "step": step, **value} for value in _measurements(each.get("debug"))]
    versions = ", ".join(dict.fromkeys(f"{row['algorithm']} {row['version']}".strip() for row in steps.values()))
    counted: dict[str, int] = {}
    for rect in defects:
        counted[rect["label"]] = counted.get(rect["label"], 0) + 1
    product = {
        **at,
        "key": key_of(sequence, content),
        "product": text(content.get("product"), 256),
        "serial": text(content.get("serial"), 256) or None,
        "recipe": text(content.get("recipe"), 64),
        "recipe_version": text(content.get("recipe_version"), 64),
        "versions": versions[:256],
        "triggered_ms": triggered_ms,
        "recorded_ms": recorded_ms,
        "elapsed_ms": number_of(content.get("elapsed_ms")) or 0.0,
        "found": verdict(content.get("found")),
        "told": verdict(content.get("told")),
        "reason": text(content.get("reason")),
        "file": text(content.get("file"), 1024) or None,
        "overruled": None,
        "pinned": False,
        "notes": 0,
    }
    product["bin"] = bin_of(product)
    labels = [
        {**at, "label": label, "triggered_ms": triggered_ms, "defects": count, "bin": product["bin"]}
        for label, count in counted.items()
    ]
    return ProductRows(product, list(steps.values()), defects, labels, measurements)


def bin_of(product: Mapping[str, Any]) -> int:
    """Return the number of a product's bin: of 64 bits, and the same wherever it is computed."""
    of = msgspec.json.encode([product[name] for name in ("line", *BINNED_BY)])
    return int.from_bytes(hashlib.blake2b(of, digest_size=8).digest(), signed=True)


def key_of(sequence: int, content: Mapping[str, Any]) -> str:
    """Return what a product's record says that its key is."""
    return text(content.get("key"), 128) or f"?{sequence}"


def _step(each: Mapping[str, Any]) -> dict[str, Any]:
    manifest_step = each.get("manifest_step")
    return {
        "camera": text(each.get("camera"), 64),
        "algorithm": text(each.get("algorithm"), 256),
        "version": text(each.get("version"), 64),
        "distribution": text(each.get("distribution"), 128) or None,
        "package": text(each.get("package"), 64) or None,
        "manifest_step": manifest_step if isinstance(manifest_step, int) and abs(manifest_step) < 2**31 else None,
        "parameters": as_json(each.get("parameters") or {}),
        "verdict": verdict(each.get("verdict")),
        "message": text(each.get("message")),
        "ng_reason": text(each.get("ng_reason")),
        "error_code": text(each.get("error_code"), 64) or None,
        "answered_ms": number_of(each.get("answered_ms")),
        "picture": text(each.get("picture"), 64),
        "debug": as_json(each["debug"]) if each.get("debug") else None,
    }


def _defects(rects: Any) -> Iterator[dict[str, Any]]:
    for place, rect in enumerate(_mappings(rects)):
        sides = {name: number_of(rect.get(name)) for name in ("x", "y", "width", "height")}
        yield {
            "place": place,
            "label": text(rect.get("label"), 128),
            **{name: value or 0.0 for name, value in sides.items()},
            "score": number_of(rect.get("score")),
        }


def _measurements(debug: Any) -> Iterator[dict[str, Any]]:
    """Yield the measured values: a number, or an object with a number `value`, and `low`, `high` and `unit`."""
    found: dict[str, dict[str, Any]] = {}
    for key, given in debug.items() if isinstance(debug, Mapping) else ():
        whole = given if isinstance(given, Mapping) else {"value": given}
        value, name = number_of(whole.get("value")), text(key, 128)
        if value is None or name in found or not name or name in NO_MEASUREMENTS:
            continue
        if len(found) == MAX_MEASUREMENTS:
            break
        found[name] = {
            "name": name,
            "value": value,
            "low": number_of(whole.get("low")),
            "high": number_of(whole.get("high")),
            "unit": text(whole.get("unit"), 32) or None,
        }
    yield from found.values()


def bucket(triggered_ms: int) -> int:
    """Return the beginning of the 15 minutes that a time is in."""
    return triggered_ms - triggered_ms % BUCKET_MS


def verdict(value: Any) -> str:
    """Return a verdict; what is none is ERROR."""
    return value if value in VERDICTS else "ERROR"


def text(value: Any, most: int = MAX_TEXT) -> str:
    """Return a text that every database takes; an empty one for what is no text."""
    return value.replace("\x00", "\ufffd")[:most] if isinstance(value, str) else ""


def number_of(value: Any) -> float | None:
    """Return a finite number; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def whole_number(value: Any) -> int | None:
    """Return an integer that a database's column takes; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def as_json(value: Any) -> str:
    """Return a value that came out of JSON as JSON; PostgreSQL takes no NUL in a text, and JSON writes it as six."""
    return msgspec.json.encode(value).decode()


def milliseconds(value: Any, otherwise: int) -> int:
    """Return an ISO 8601 time as Unix milliseconds."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            yield each
