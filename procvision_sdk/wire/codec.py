"""Payload bytes to message objects and back.

msgspec decodes straight into the message class. What it doesn't refuse by itself is refused here: nesting deeper
than the protocol's bound (a count of brackets settles nearly every frame; only a suspicious one is walked), and on
the way out floats that are not finite, which msgspec would silently write as null.
Warning: only when the fast decoder fails is the payload parsed a second time, to say what was wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from procvision_sdk.errors import ErrorCode
from procvision_sdk.plain import MAX_DEPTH, plain
from procvision_sdk.wire.errors import LocalProtocolError, RemoteProtocolError
from procvision_sdk.wire.messages import (
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

_QUOTE, _BACKSLASH = 0x22, 0x5C


def nesting_depth(payload: bytes) -> int:
    """How deep objects and arrays nest in a JSON text; brackets inside strings don't count."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in payload:
        if in_string:
            if escaped:
                escaped = False
            elif byte == _BACKSLASH:
                escaped = True
            elif byte == _QUOTE:
                in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte in b"{[":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > MAX_DEPTH:
                    break
        elif byte in b"}]":
            depth -= 1
    return deepest


class Codec:
    """Encodes and decodes the frames of one connection; `role` is the end that decodes."""

    __slots__ = ("_decode", "_encode")

    def __init__(self, role: Role) -> None:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ToHost if role is Role.HOST else ToRunner)
        self._decode = decoder.decode
        self._encode = msgspec.json.Encoder().encode

    def decode(self, payload: bytes | memoryview) -> AnyMessage:
        """One message.

        Raises RemoteProtocolError, never fatal, with a `kind` of `empty`, `bad_utf8`, `bad_json`, `too_deep`,
        `not_an_object`, `unknown_type` or `bad_field`.
        """
        raw = bytes(payload)
        # 64 opening brackets can't nest deeper than 64.
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and nesting_depth(raw) > MAX_DEPTH:
            raise RemoteProtocolError(
                "too_deep", f"the JSON nests deeper than {MAX_DEPTH} levels", request_id=None
            )
        try:
            if not raw.isascii():
                raw.decode()  # the decoder skips fields it doesn't know, bad UTF-8 in them included
            message: AnyMessage = self._decode(raw)
        except (ValueError, RecursionError) as error:
            # msgspec's errors and UnicodeDecodeError are all ValueErrors.
            raise _diagnosis(raw, error) from None
        return message.flattened() if type(message) is Call else message

    def encode(self, message: AnyMessage, *, checked: bool = False) -> bytes:
        """The payload of a message; `checked` says that its values have been through `plain` already.

        Raises LocalProtocolError for what JSON can't carry: a float that isn't finite, a cycle, bytes, a key that
        isn't a string, an integer of more than 64 bits, a lone surrogate.
        """
        try:
            if not checked:
                _make_plain(message)
            return self._encode(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise LocalProtocolError(f"this {message.TYPE} can't be written as JSON: {error}") from error


def _make_plain(message: AnyMessage) -> None:
    """Puts every free-form value of a message through `plain`."""
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
    """What is wrong with a payload that the decoder refused, with the frame's request_id where it has one."""
    if not raw:
        return RemoteProtocolError("empty", "a frame of zero length: a frame holds one JSON object")
    try:
        raw.decode()
        value = msgspec.json.decode(raw)
    except UnicodeDecodeError as cause:
        return RemoteProtocolError(
            "bad_utf8", f"the payload is not UTF-8: {cause.reason} at byte {cause.start}"
        )
    except RecursionError:
        return RemoteProtocolError("too_deep", f"the JSON nests deeper than {MAX_DEPTH} levels")
    except ValueError as cause:
        return RemoteProtocolError("bad_json", f"the payload is not JSON: {cause}")
    if not isinstance(value, Mapping):
        return RemoteProtocolError(
            "not_an_object", f"a frame holds one JSON object, this one holds {_json_type(value)}"
        )
    request_id = value.get("request_id")
    if not isinstance(request_id, str):
        request_id = None
    message_type = value.get("type")
    if message_type not in MESSAGE_TYPES:
        shown = repr(message_type) if isinstance(message_type, str) else _json_type(message_type)
        return RemoteProtocolError(
            "unknown_type",
            f"unknown message type {shown[:80]}: known are {', '.join(MESSAGE_TYPES)}",
            request_id=request_id,
        )
    return RemoteProtocolError("bad_field", f"in this {message_type}: {error}", request_id=request_id)


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def error_message(
    code: str,
    kind: str,
    text: str,
    *,
    request_id: str | None = None,
    retryable: bool = False,
    detail: Any = None,
) -> Error:
    """An `error` frame with all its fields."""
    return Error(
        request_id=request_id,
        message=text,
        error_code=str(code),
        data=ErrorData(kind=kind, retryable=retryable, detail=detail),
    )


def error_for(violation: RemoteProtocolError) -> Error:
    """The `error` frame that answers a violation."""
    return error_message(
        ErrorCode.PROTOCOL,
        violation.kind,
        str(violation),
        request_id=violation.request_id,
        retryable=violation.retryable,
    )
