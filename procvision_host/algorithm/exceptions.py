"""Makes an `error` for the wire from an algorithm's exception.

An exception may be of any kind, may carry anything, and may fail to be shown: whatever it is, the call has its answer.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_sdk.errors import AlgorithmError, ErrorCode, FatalError, GPUOutOfMemoryError, RecoverableError
from procvision_sdk.plain import PlainValueError, plain
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.messages import Error

if TYPE_CHECKING:
    from procvision_host.sandbox.refusals import Refusals

MAX_TEXT_CHARACTERS = 8192
"""A longer text is cut: it is for a person, and the log has the traceback."""
MAX_DETAIL_BYTES = 64 * 1024
"""A larger detail is left out for its size: a frame of megabytes helps nobody who looks for a cause."""
MAX_CODE_CHARACTERS = 64

_OURS = frozenset({"procvision_host", "procvision_sdk", "procvision_testing"})
_KINDS = ((FatalError, "fatal"), (GPUOutOfMemoryError, "gpu_out_of_memory"), (RecoverableError, "recoverable"))


def explained(refusals: Refusals | None, error: BaseException) -> str:
    """Return which need an exception comes from, "" where from none that is known. Never raises."""
    if refusals is None:
        return ""
    try:
        return _readable(refusals.explained(error))
    except Exception:  # noqa: BLE001 - it is the vendor's: each of its attributes may raise
        return ""


def with_need(text: str, algorithm: str, needed: str) -> str:
    """Return the text with the need that explains it."""
    return f"{text}; {algorithm} {needed}" if needed else text


def error_of(request_id: str | None, error: BaseException, algorithm: str = "", needed: str = "") -> Error:
    """Return the `error` that answers a call which ended with this exception. Never raises.

    `needed` says which need of the algorithm's explains it.
    """
    try:
        return _told(request_id, error, algorithm, needed)
    except Exception:  # noqa: BLE001 - it is the vendor's: each of its attributes may raise
        name = type.__getattribute__(type(error), "__name__")
        text = f"{name}: the exception can't be shown"
        return error_message(ErrorCode.UNKNOWN, "program", text, request_id=request_id)


def _told(request_id: str | None, error: BaseException, algorithm: str, needed: str) -> Error:
    # By its type, never by what it says of itself: `isinstance` would ask its `__class__`.
    kind_of = type(error)
    own = error if issubclass(kind_of, AlgorithmError) else None
    text = _text(error)
    detail: dict[str, Any] = {"exception": _readable(kind_of.__name__)}
    where = place_of(error)
    if where:
        detail["where"] = where
    if isinstance(own, AlgorithmError) and own.detail is not None:
        detail["detail"] = _detail(own.detail)
    shown = text or detail["exception"] if own is not None else f"{detail['exception']}: {text}"
    return error_message(
        _code(own.error_code) if isinstance(own, AlgorithmError) else ErrorCode.UNKNOWN,
        next((kind for known, kind in _KINDS if issubclass(kind_of, known)), "program"),
        with_need(shown, algorithm, needed),
        request_id=request_id,
        retryable=isinstance(own, AlgorithmError) and own.retryable is True,
        detail=detail,
    )


def place_of(error: BaseException) -> str:
    """Return the last line outside of ProcVision that an exception passed, "" where there is none.

    A mistake in a call of the SDK is the caller's line. Of a text that Python can't compile it is the wrong line.
    """
    if issubclass(type(error), SyntaxError):
        return _readable(f"{getattr(error, 'filename', '?')}:{getattr(error, 'lineno', '?')}")
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code, module = frame.f_code, frame.f_globals.get("__name__")
        if type(module) is str and (module.partition(".")[0] in _OURS or module.startswith("importlib.")):
            continue
        place = f"{code.co_filename}:{line} in {code.co_name}"
    return _readable(place)


def _text(error: BaseException) -> str:
    try:
        return _readable(str(error))
    except Exception:  # noqa: BLE001 - an exception whose __str__ raises
        return ""


def _readable(text: str) -> str:
    """Return what UTF-8 can carry of a text, and no more than a person reads."""
    return text[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode()


def _code(code: Any) -> str:
    """Return the exception's code, if it can be one."""
    text = _readable(str(code)) if isinstance(code, (str, int)) else ""
    return text if 0 < len(text) <= MAX_CODE_CHARACTERS else ErrorCode.UNKNOWN


def _detail(value: Any) -> Any:
    try:
        told = plain(value, "detail")
        size = len(msgspec.json.encode(told))
    except (PlainValueError, ValueError, OverflowError):
        try:
            return _readable(repr(value)[:1000])
        except Exception:  # noqa: BLE001 - a __repr__ that raises
            return f"a {type(value).__name__} that can't be shown"
    return told if size <= MAX_DETAIL_BYTES else f"left out: {size} bytes, at most {MAX_DETAIL_BYTES} go out"
