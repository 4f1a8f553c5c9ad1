"""The two ways to break the protocol: our own mistake and the peer's.

WireError
├── LocalProtocolError      our side tried to send what the tables forbid: a fault in the caller
└── RemoteProtocolError     the peer sent it: never raised by `Connection`, which turns it into a `Violation`
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from procvision_sdk.errors import ErrorCode, ProcVisionError

REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "empty": "a frame of zero length",
        "bad_utf8": "the payload is not UTF-8",
        "bad_json": "the payload is not JSON, NaN and Infinity included",
        "too_deep": "the JSON nests deeper than 64 levels",
        "not_an_object": "the payload is JSON, but not an object",
        "unknown_type": "`type` is missing or none that this side knows",
        "bad_field": "a field is missing, of a wrong type or out of its range",
        "illegal_in_state": "the message is known, but not legal in the connection's state",
        "draining": "a call for a host that takes no new ones any more; retryable: another host may take it",
        "busy": "a call over `max_pending`; the same call may be sent again when an answer has come",
        "duplicate_request_id": "a call whose `request_id` another waiting call has",
        "frame_too_large": "fatal: the header announces more than `max_frame_bytes`",
        "cut_frame": "fatal: the stream ended inside a frame",
        "incompatible_version": "fatal: the peer's hello has another major version",
    }
)
"""Every `kind` by which the wire itself refuses a frame, always with code 1000, and what it means."""


class WireError(ProcVisionError):
    """A rule of the wire was broken."""


class LocalProtocolError(WireError):
    """We were about to send what the protocol forbids in this state; nothing was sent."""


class RemoteProtocolError(WireError):
    """The peer sent what the protocol forbids.

    `kind` names the rule (`bad_json`, `illegal_in_state`, …); `fatal` says that the byte stream can't be followed
    any further; `request_id` and `message_type` are the refused frame's own, where they could be read.
    """

    error_code = ErrorCode.PROTOCOL

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        fatal: bool = False,
        request_id: str | None = None,
        message_type: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.fatal = fatal
        self.request_id = request_id
        self.message_type = message_type
        self.retryable = retryable
