"""What a field algorithm returned, as a host reads it. Adds what the field's contract lets an algorithm leave out.

Nothing here can make an OK: `status`, `result_status`, `ng_reason` and the places of defects stay as they came, and
the host refuses what is missing or wrong in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def answer(returned: Any) -> Any:
    """The returned dict with `debug` where the protocol has it, and label and score where a rect had none."""
    if not isinstance(returned, dict):
        return returned
    result = dict(returned)
    debug = result.pop("debug", None)
    data = result.get("data")
    if isinstance(data, dict):
        data = result["data"] = dict(data)
        rects = data.get("defect_rects")
        if data.get("result_status") == "NG" and isinstance(rects, (list, tuple)):
            data["defect_rects"] = [_rect(rect) for rect in rects]
    if isinstance(debug, dict):
        if data is None:
            data = result["data"] = {}
        if isinstance(data, dict):
            data.setdefault("debug", debug)
    return result


def _rect(rect: Any) -> Any:
    return {"label": "", "score": 1.0, **rect} if isinstance(rect, Mapping) else rect
