"""Payload bytes to message objects and back.

msgspec decodes straight into the message class. What it doesn't refuse by itself is refused here: nesting deeper
than the protocol's bound (a count of brackets settles nearly every frame; only a suspicious one is walked), and on
the way out floats that are not finite, which msgspec would silently write as null.
Only when the fast decoder fails is the payload parsed a second time, to say what was wrong with it.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import Any

import msgspec

from procvision_sdk.errors import ErrorCode
from procvision_sdk.plain import MAX_DEPTH, plain
from procvision_sdk.wire.errors import LocalProtocolError, RemoteProtocolError
from procvision_sdk.wire.messages import (
    MAX_REQUEST_ID_CHARS,
    MESSAGE_TYPES,
    AnyMessage,
    Call,
    Error,
    ErrorData,
    Result,
    ToHost,
    ToRunner,
)
from procvision_sdk.wire.tables import Role

_OPENING, _CLOSING = b"[{", b"]}"
_OPENING_ARRAY = ord("[")
_TOO_DEEP = f"the JSON nests deeper than {MAX_DEPTH} levels"
SHALLOW_BYTES = 5 * MAX_DEPTH
"""Objects alone can't nest too deep in so few bytes: each level takes five, `{"":` and `}`."""
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\x01\x01\xff\xff")
_ALL_BUT_BRACKETS_AND_QUOTES = bytes(set(range(256)) - set(_OPENING + _CLOSING + b'"'))


def nesting_depth(payload: bytes) -> int:
    """Return how deep objects and arrays nest in a JSON text; brackets inside strings don't count.

    By bulk operations alone: a loop over the bytes would take seconds for a frame of the largest size.
    """
    if b"\\" in payload:
        payload = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side, be they a string without brackets or a seam between two strings, change nothing.
    marks = payload.translate(None, _ALL_BUT_BRACKETS_AND_QUOTES).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])
    steps = memoryview(brackets.translate(_STEPS)).cast("b")
    return max(accumulate(steps), default=0)


@cache
def _decoder(role: Role) -> msgspec.json.Decoder[Any]:
    """Return the decoder of an end: to make one takes a millisecond, and two threads may use it at once."""
    return msgspec.json.Decoder(ToHost if role is Role.HOST else ToRunner)


class Codec:
    """Encodes and decodes the frames of one connection; `role` is the end that decodes."""

    __slots__ = ("_decode", "_encode")

    def __init__(self, role: Role) -> None:
        self._decode = _decoder(role).decode
        self._encode = msgspec.json.Encoder().encode

    def decode(self, raw: bytes) -> AnyMessage:
        """Return one message.

        Raises RemoteProtocolError, never fatal, with a `kind` of `empty`, `bad_utf8`, `bad_json`, `too_deep`,
        `not_an_object`, `unknown_type` or `bad_field`.
        """
        if (
            (len(raw) > SHALLOW_BYTES or _OPENING_ARRAY in raw)
            # 64 opening brackets can't nest deeper than 64.
            and raw.count(b"{") + raw.count(b"[") > MAX_DEPTH
            and nesting_depth(raw) > MAX_DEPTH
        ):
            raise _unreadable("too_deep", _TOO_DEEP, raw)
        try:
            if not raw.isascii():
                raw.decode()  # the decoder skips fields it doesn't know, bad UTF-8 in them included
            message: AnyMessage = self._decode(raw)
        except (ValueError, RecursionError) as error:
            # msgspec's errors and UnicodeDecodeError are all ValueErrors.
            raise _diagnosis(raw, error) from None
        return message.flattened() if type(message) is Call and message.data is not None else message

    def encode(self, message: AnyMessage, *, checked: bool = False) -> bytes:
        """Return the payload of a message; `checked` says that its values have been through `plain` already.

        Raises LocalProtocolError for what JSON can't carry: a float that isn't finite, a cycle, bytes, a key that
        isn't a string, a lone surrogate, what nests too deep.
        """
        try:
            if not checked:
                _make_plain(message)
            return self._encode(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise LocalProtocolError(f"this {message.TYPE} can't be written as JSON: {error}") from error


def _make_plain(message: AnyMessage) -> None:
    """Put every free-form value of a message through `plain`."""
    if isinstance(message, Result):
        message.data = plain(message.data, "data")
    elif isinstance(message, Error):
        if message.data is not None and message.data.detail is not None:
            message.data.detail = plain(message.data.detail, "data.detail")
    elif isinstance(message, Call):
        if message.user_params:
            message.user_params = plain(message.user_params, "user_params")
        if message.image_meta:
            message.image_meta = plain(message.image_meta, "image_meta")
        if message.session is not None and message.session.context:
            message.session.context = plain(message.session.context, "session.context")


def _diagnosis(raw: bytes, error: Exception) -> RemoteProtocolError:
    """Return what is wrong with a payload that the decoder refused, with the frame's request_id where it has one."""
    if not raw:
        return RemoteProtocolError("empty", "a frame of zero length: a frame holds one JSON object")
    try:
        raw.decode()
        fields = _decode_fields(raw)
    except UnicodeDecodeError as cause:
        return _unreadable("bad_utf8", f"the payload is not UTF-8: {cause.reason} at byte {cause.start}", raw)
    except RecursionError:
        return _unreadable("too_deep", _TOO_DEEP, raw)
    except msgspec.ValidationError as cause:
        return RemoteProtocolError("not_an_object", f"a frame holds one JSON object: {_cut(cause)}")
    except ValueError as cause:
        return _unreadable("bad_json", f"the payload is not JSON: {_cut(cause)}", raw)
    request_id, message_type = _fitting(_text(fields.get("request_id"))), _text(fields.get("type"))
    if message_type not in MESSAGE_TYPES:
        shown = repr(message_type)[:80] if message_type is not None else "(missing, or not a string)"
        return RemoteProtocolError(
            "unknown_type",
            f"unknown message type {shown}: known are {', '.join(MESSAGE_TYPES)}",
            request_id=request_id,
        )
    return RemoteProtocolError(
        "bad_field", f"in this {message_type}: {_cut(error)}", request_id=request_id, message_type=message_type
    )


def _unreadable(kind: str, text: str, raw: bytes) -> RemoteProtocolError:
    """Return the refusal of a payload that is no JSON as a whole, with the id and the type that can be found in it."""
    from procvision_sdk.wire.salvage import outer_text

    request_id, message_type = _fitting(outer_text(raw, "request_id")), outer_text(raw, "type")
    known = message_type if message_type in MESSAGE_TYPES else None
    return RemoteProtocolError(kind, text, request_id=request_id, message_type=known)


def _fitting(request_id: str | None) -> str | None:
    """Return an id that an answer can repeat."""
    return request_id if request_id is not None and len(request_id) <= MAX_REQUEST_ID_CHARS else None


# Values stay raw: one that can't be read (a number out of range) must not hide the fields beside it.
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _text(raw: msgspec.Raw | None) -> str | None:
    """Return a raw value that is a string."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except ValueError:
        return None


def _cut(error: Exception) -> str:
    """Return the decoder's text; it may quote a whole value, whatever its length."""
    return str(error)[:300]


def error_message(
    code: str,
    kind: str,
    text: str,
    *,
    request_id: str | None = None,
    retryable: bool = False,
    detail: Any = None,
) -> Error:
    """Return an `error` frame with all its fields."""
    return Error(
        request_id=request_id,
        message=text,
        error_code=str(code),
        data=ErrorData(kind=kind, retryable=retryable, detail=detail),
    )


def error_for(violation: RemoteProtocolError) -> Error:
    """Return the `error` frame that answers a violation."""
    return error_message(
        ErrorCode.PROTOCOL,
        violation.kind,
        str(violation),
        request_id=violation.request_id,
        retryable=violation.retryable,
    )
