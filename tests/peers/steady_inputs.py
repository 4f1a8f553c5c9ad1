"""What callers give to steady calls and what hosts answer, right and wrong, to hold two ways against each other."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st
from scripted_host import PATIENCE_S

from procvision_runner.connection.steady_calls import CORE
from procvision_runner.options import RunnerOptions
from procvision_sdk.calling import InspectionSession
from procvision_sdk.compiled import compiled
from procvision_sdk.images.picture import Picture
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Result

OPTIONS = RunnerOptions(heartbeat=None, handshake_timeout_s=PATIENCE_S, shutdown_timeout_s=PATIENCE_S, max_slots=2)
TIME = re.compile(rb'"timestamp_ms":1[0-9]{12}|"id":"[0-9a-f]{16}"')
"""The time now, and the id of a session that a call has for itself."""
GOOD = {"result_status": "OK", "debug": {"latency_ms": 0.5}}
ALPHABET = b'{}[]":,\\u0123456789.-+eE \x00\x1f\x7f\x80\xc3\xff_trufnlsOKNG'


class Unsteady:
    """Leaves every call to the general code."""

    def carry(self, pending: Any, tail: bytes | None = None) -> bool:
        return False


STEADY = ("python", "compiled") if compiled(CORE) else ("python",)
"""The kinds of steady calls that there are here."""
SESSIONS = [
    None,
    "by-name",
    'é"',
    InspectionSession("s", {"trace_id": "t"}),
    InspectionSession("s", {"deep": [{"a": 1.5}]}),
]
PIXELS = np.zeros((3, 4, 3), np.uint8)
VALUES = st.sampled_from([True, False, 0, 1, 0.0, -0.0, 1.0, 0.1, "x", "é", None, [1], {"a": 2}, 2**70, float("nan")])


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """What a caller may give."""
    given: dict[str, Any] = {
        "phase": draw(st.sampled_from(["execute", "execute", "pre"])),
        "pid": draw(st.sampled_from(["A", "A", "B", 'é"\\'])),
        "step_index": draw(st.sampled_from([1, 1, 2, True])),
        "session": draw(st.sampled_from(SESSIONS)),
        "user_params": draw(st.none() | st.dictionaries(st.sampled_from(["level", "ä"]), VALUES, max_size=2)),
        "final": draw(st.sampled_from([False, False, True])),
        "camera_id": draw(st.sampled_from([None, None, "left", '"timestamp_ms":0'])),
        "timestamp_ms": draw(st.sampled_from([None, None, 0, 5, -1])),
        "timeout_s": draw(st.sampled_from([None, None, 5, 2.5])),
    }
    match draw(st.sampled_from(["none", "array", "grey", "picture", "bgr", "deep", "lent", "elsewhere"])):
        case "array":
            given["image"] = PIXELS
        case "grey":
            given["image"] = PIXELS[:, :, 0]
        case "picture":
            given["image"] = Picture.of(PIXELS)
        case "bgr":
            given["image"] = Picture.of(PIXELS, "BGR")
        case "deep":
            given["image"] = Picture.of(PIXELS.astype(np.uint16), bits=12)
        case "lent":
            given["lent"] = (4, 3)
        case "elsewhere":
            given["image"] = Picture.elsewhere("file:/x/1", 4, 3)
    return given


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer to the first call, whole, wrong, mutated, or not alone."""
    data: Any = draw(
        st.sampled_from(
            [
                GOOD,
                {"result_status": "OK"},
                {"result_status": "OK", "debug": 1},
                {"result_status": "OK", "defect_rects": [{"x": 1}]},
                {"result_status": "NG", "ng_reason": "why", "defect_rects": []},
                {"result_status": "NG", "debug": {}},
                {"result_status": "ok"},
                {"debug": {}},
                {},
                {"result_status": "OK", "debug": {"deep": eval("[" * 70 + "]" * 70)}},
            ]
        )
    )
    result = Result(
        request_id=draw(st.sampled_from(["call-2", "call-2", "call-2", "call-3", None])),
        phase=draw(st.sampled_from(["execute", "execute", "pre", ""])),
        step_index=draw(st.sampled_from([1, None])),
        status=draw(st.sampled_from(["OK", "OK", "ERROR"])),
        message=draw(st.sampled_from(["", "é"])),
        error_code=draw(st.sampled_from([None, "9"])),
        data=data,
    )
    payload = bytearray(msgspec.json.encode(result))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(payload)))
        replaced = draw(st.integers(0, 2))
        payload[at : at + replaced] = bytes(draw(st.lists(st.sampled_from(ALPHABET), max_size=2)))
    sent = frame(bytes(payload))
    return sent + frame(b'{"type":"pong","state":"ready"}') if draw(st.integers(0, 7)) == 0 else sent
