"""What an answer must be: the check that host and runner both apply.

The rule behind every check: nothing missing or malformed becomes an OK. An answer that doesn't say its status, an
OK that lists defects, an NG that doesn't say why, a rect outside the picture: each is refused with its place.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.plain import PlainValueError, plain
from procvision_sdk.results import Number, Ok, ReturnValue

MAX_DEFECT_RECTS = 20
"""The protocol's bound; more are cut to the best-scored, and `data.debug.truncated` says how many there were."""

MAX_COORDINATE = 2**31
"""In pixels. It bounds the rects of a call without a picture, whose size nobody knows."""


class Answer(msgspec.Struct):
    """A checked answer: plain values only, a verdict exactly where one belongs."""

    status: Literal["OK", "ERROR"]
    message: str
    error_code: str | None
    data: dict[str, Any]
    truncated: int | None = None
    """How many defect rects there were, where they had to be cut."""


def check_returned(value: Any, phase: str, size: tuple[int, int] | None) -> Answer:
    """Return what an algorithm returned from `pre_execute` or `execute`, checked and made plain.

    `size` is the picture's (width, height), None where the call had none. Raises CallRefusedError: 1006 for the
    form, 1007 for coordinates.
    """
    if type(value) is not dict and isinstance(value, ReturnValue):
        value = value.to_dict()
    if not isinstance(value, dict):
        returned = "nothing (None)" if value is None else _shown(value)
        raise _form(f"it returned {returned}; hint: return Ok(), Ng(reason, rects), Failed(code, text) or a dict")
    try:
        value = plain(value, "result")
    except PlainValueError as error:
        raise _form(str(error)) from None
    message = value.get("message", "")
    if not isinstance(message, str):
        raise _form(f"message is {_shown(message)}: it is a string")
    data = value.get("data")
    if data is None:
        data = {}
    elif not isinstance(data, dict):
        raise _form(f"data is {_shown(data)}: it is a dict")
    return check_answer(phase, value.get("status"), message, value.get("error_code"), data, size)


def is_bare_ok(value: Any) -> bool:
    """Return whether what `execute` returned is an OK and nothing else: there is nothing to rebuild and more to check.

    In builtins alone, since other objects can say that they equal a text.
    """
    if type(value) is Ok:
        return (
            type(value.message) is str
            and type(value.debug) is dict
            and type(value.position_rects) is tuple
            and not (value.message or value.debug or value.position_rects)
        )
    if type(value) is not dict or len(value) != 2:
        return False
    status, data = value.get("status"), value.get("data")
    if type(status) is not str or status != "OK" or type(data) is not dict or len(data) != 1:
        return False
    verdict = data.get("result_status")
    if type(verdict) is not str or verdict != "OK":
        return False
    first, second = value
    (only,) = data
    return type(first) is str and type(second) is str and type(only) is str


def check_answer(
    phase: str,
    status: Any,
    message: str,
    error_code: Any,
    data: dict[str, Any],
    size: tuple[int, int] | None,
) -> Answer:
    """Hold an answer of plain values against the protocol. Raises CallRefusedError: 1006 form, 1007 coordinates."""
    if status == "ERROR":
        if error_code is not None and not isinstance(error_code, str):
            raise _form(f"error_code is {_shown(error_code)}: it is a string")
        if "result_status" in data:
            raise _form("status is ERROR and data.result_status is there too: a call that failed has no verdict")
        return Answer("ERROR", message, error_code or str(ErrorCode.UNKNOWN), data)
    if status != "OK":
        raise _form(f"status is {_shown(status)}: it is 'OK' or 'ERROR'")
    if "debug" in data and not isinstance(data["debug"], dict):
        raise _form(f"data.debug is {_shown(data['debug'])}: it is a dict")
    answer = Answer("OK", message, None, data)
    if phase == "execute":
        _check_verdict(answer, size)
        if "position_rects" in data:
            _check_rects(data["position_rects"], "position_rects", size, scored=False)
    else:
        if "result_status" in data:
            raise _form("pre_execute carries no verdict: data.result_status belongs to execute")
        if "calibration_rects" in data:
            _check_rects(data["calibration_rects"], "calibration_rects", size, scored=False)
    return answer


def _check_verdict(answer: Answer, size: tuple[int, int] | None) -> None:
    data = answer.data
    verdict = data.get("result_status")
    if verdict == "OK":
        rects, reason = data.get("defect_rects"), data.get("ng_reason")
        if rects is not None and rects != []:
            shown = f"{len(rects)} are listed" if isinstance(rects, list) else _shown(rects)
            raise _form(f"the verdict is OK and of defect_rects {shown}: which is it?")
        if reason is not None and reason != "":
            raise _form(f"the verdict is OK and ng_reason is {_shown(reason)}: which is it?")
    elif verdict == "NG":
        reason = data.get("ng_reason")
        if not isinstance(reason, str) or not reason.strip():
            raise _form(f"the verdict is NG and data.ng_reason is {_shown(reason)}: it says why, in words")
        rects = data.get("defect_rects")
        _check_rects(rects, "defect_rects", size, scored=True)
        assert isinstance(rects, list)
        if len(rects) > MAX_DEFECT_RECTS:
            answer.truncated = len(rects)
            best = sorted(range(len(rects)), key=lambda at: -rects[at]["score"])[:MAX_DEFECT_RECTS]
            data["defect_rects"] = [rects[at] for at in sorted(best)]
            data["debug"] = {**data.get("debug", {}), "truncated": len(rects)}
    else:
        raise _form(
            f"data.result_status is {_shown(verdict)}: execute answers 'OK' or 'NG'; "
            "hint: return Ok() or Ng(reason, rects), which make the dict"
        )


def _check_rects(rects: Any, name: str, size: tuple[int, int] | None, *, scored: bool) -> None:
    if not isinstance(rects, list):
        raise _form(f"data.{name} is {_shown(rects)}: it is a list of rects")
    for index, rect in enumerate(rects):
        place = f"data.{name}[{index}]"
        if not isinstance(rect, dict):
            raise _form(f"{place} is {_shown(rect)}: a rect is a dict of x, y, width, height, label, score")
        x, y, width, height = (_number(rect, key, place) for key in ("x", "y", "width", "height"))
        if scored or "score" in rect:
            score = _number(rect, "score", place)
            if not 0 <= score <= 1:
                raise _form(f"{place}.score is {score}: it lies within 0..1")
        if (scored or "label" in rect) and not isinstance(rect.get("label"), str):
            raise _form(f"{place}.label is {_shown(rect.get('label'))}: it is a string")
        if width <= 0 or height <= 0:
            raise _outside(f"{place} is {width} x {height}: a rect has an area")
        if x < 0 or y < 0 or (size is not None and (x + width > size[0] or y + height > size[1])):
            bounds = "" if size is None else f" of {size[0]} x {size[1]}"
            raise _outside(
                f"{place} (x={x}, y={y}, width={width}, height={height}) reaches outside the picture{bounds}"
            )


def _number(rect: dict[str, Any], key: str, place: str) -> Number:
    value = rect.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _form(f"{place}.{key} is {_shown(value)}: it is a number")
    if not -MAX_COORDINATE <= value <= MAX_COORDINATE:
        raise _outside(f"{place}.{key} is beyond {MAX_COORDINATE}: no picture is so large")
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "missing or None"
    return (
        f"{type(value).__name__} {value!r:.60}" if isinstance(value, (str, int, float, bool)) else type(value).__name__
    )


def _form(text: str) -> CallRefusedError:
    return CallRefusedError(ErrorCode.INVALID_PARAMS, "bad_result", f"the algorithm's answer is malformed: {text}")


def _outside(text: str) -> CallRefusedError:
    return CallRefusedError(
        ErrorCode.COORDINATES_INVALID, "rect_outside", f"the algorithm's answer has wrong coordinates: {text}"
    )
