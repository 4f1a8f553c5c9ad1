"""A line's records as a station writes them, drawn by a seed: every kind, in an order that can happen."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from procvision_station.journal.layout import Kind

START = datetime(2026, 3, 28, 21, 7, tzinfo=UTC)
"""Before a night in which many plants put their clocks forward."""


def product(rng: random.Random, number: int, *, line: str = "main") -> dict[str, Any]:
    """A product's record."""
    found = rng.choices(("OK", "NG", "ERROR"), (7, 2, 1))[0]
    labels = rng.choices(("open", "short", "spur \x00 café"), k=rng.randrange(1, 4)) if found == "NG" else []
    moment = datetime.fromtimestamp(START.timestamp() + number * 37 + rng.random() * 30, UTC)
    return {
        "key": f"{line}-{number:06d}",
        "found": found,
        "told": found,
        "reason": "" if found == "OK" else f"reason {number % 3}",
        "lost_before": 0,
        "product": "board",
        "serial": f"S{number}" if number % 2 else None,
        "recipe": "board" if number % 7 else "other",
        "recipe_version": f"v{number // 40}",
        "triggered_at": moment.isoformat(timespec="milliseconds"),
        "elapsed_ms": round(rng.random() * 100, 3),
        "file": None,
        "steps": [
            {
                "step": step,
                "camera": "top",
                "algorithm": "pcb-compare",
                "version": "1.2.0",
                "manifest_step": 1,
                "parameters": {"min_score": 0.5},
                "verdict": found,
                "message": "",
                "error_code": None,
                "answered_ms": 3.25,
                "picture": "kept" if found != "OK" else "not kept",
                "defect_rects": [
                    {"x": 1.5, "y": 2, "width": 3, "height": 4, "label": label, "score": rng.random()}
                    for label in labels
                ],
                "debug": {
                    "latency_ms": 3.1,
                    "gap": {"value": rng.random(), "low": 0.1, "high": 0.9, "unit": "mm"},
                    "contrast": rng.random() * 1e3,
                    "words": "none",
                },
            }
            for step in range(1 + number % 2)
        ],
    }


def drawn(seed: int, count: int, *, line: str = "main", erasures: bool = True) -> list[tuple[Kind, dict[str, Any]]]:
    """A line's records. An erasure is only an event here: `Journal.erase` does what else there is to it."""
    rng = random.Random(seed)
    made: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.EVENT, {"event": "started", "run": "r1", "station": "s", "recipe": "board", "recipe_version": "v0",
                      "product": "board", "steps": [{"camera": "top"}], "hosts": {"pcb-compare": {"sdk": "1"}}}),
    ]  # fmt: skip
    keys: list[str] = []
    remarks: list[int] = []
    products: dict[int, str] = {}
    for number in range(count):
        made.append((Kind.PRODUCT, product(rng, number, line=line)))
        key = made[-1][1]["key"]
        keys.append(key)
        products[len(made)] = key
        chance = rng.random()
        old = rng.choice(keys[-20:])
        if chance < 0.05:
            made.append((Kind.TOLD, {"key": old, "found": "OK", "told": "ERROR", "reason": "late", "lost_before": 0}))
        elif chance < 0.15:
            made.append((Kind.EVENT, {"event": "overruled", "key": old, "verdict": rng.choice(("OK", "NG")),
                                      "user": "u-1", "why": "looked at it"}))  # fmt: skip
            remarks.append(len(made))
        elif chance < 0.2:
            made.append((Kind.EVENT, {"event": "note", "key": old, "user": "u-2", "text": "scratched \x00 by hand"}))
            remarks.append(len(made))
        elif chance < 0.25:
            made.append((Kind.EVENT, {"event": rng.choice(("pinned", "unpinned")), "key": old, "user": "u-2"}))
        elif chance < 0.45:
            made.append((Kind.EVENT, {"event": "picture", "key": key, "step": 0, "file": f"ab/{number % 9}.png",
                                      "bytes": 1000 + number}))  # fmt: skip
        elif chance < 0.48:
            made.append((Kind.EVENT, {"event": "picture_lost", "key": key, "step": 0, "reason": "disk full"}))
        elif chance < 0.51:
            made.append((Kind.EVENT, {"event": "pictures_deleted", "files": [f"ab/{number % 9}.png"], "why": "age"}))
        elif chance < 0.53:
            made.append((Kind.EVENT, {"event": "recipe", "recipe": "board", "recipe_version": f"v{number}",
                                      "product": "board", "steps": [], "text": "product = 1", "user": "u-1",
                                      "why": "tighter"}))  # fmt: skip
        elif chance < 0.57 and erasures and remarks:
            made.append((Kind.EVENT, {"event": "erased", "sequence": remarks.pop(), "why": "asked for"}))
        elif chance < 0.61 and erasures and len(products) > 3:
            gone = rng.choice(sorted(products))
            del products[gone]
            made.append((Kind.EVENT, {"event": "erased", "sequence": gone, "why": "asked for"}))
    made.append((Kind.EVENT, {"event": "stopped", "run": "r1", "verdicts": {}}))
    return made
