"""What all peers do: a request, a picture, one byte of every 64 KiB read, an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

STRIDE = 64 * 1024
ANSWER = {"type": "result", "request_id": "call-1234", "status": "OK", "data": {"result_status": "OK"}}


def touched(data: Any) -> int:
    """Read one byte of every 64 KiB."""
    return int(np.frombuffer(data, np.uint8)[::STRIDE].sum())


def answer(call: dict[str, Any]) -> dict[str, Any]:
    """What a host would answer."""
    return {**ANSWER, "request_id": call["request_id"]}
