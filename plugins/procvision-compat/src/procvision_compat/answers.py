"""What a field algorithm returned, as a host reads it. Adds what the field's contract lets an algorithm leave out.

Nothing here can make an OK: `status`, `result_status`, `ng_reason` and the places of defects stay as they came, and
the host refuses what is missing or wrong in them.
"""

from __future__ import annotations

from typing import Any

from procvision_sdk.results import completed_rects


def answer(returned: Any) -> Any:
    """The returned dict with `debug` where the protocol has it, and label and score where a rect had none."""
    if not isinstance(returned, dict):
        return returned
    result = dict(returned)
    debug = result.pop("debug", None)
    data = result.get("data")
    if isinstance(data, dict):
        data = result["data"] = dict(data)
        if data.get("result_status") == "NG":
            data["defect_rects"] = completed_rects(data.get("defect_rects"))
    if isinstance(debug, dict):
        if data is None:
            data = result["data"] = {}
        if isinstance(data, dict):
            data.setdefault("debug", debug)
    return result
