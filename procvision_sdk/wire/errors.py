"""The two ways to break the protocol: our own mistake and the peer's.

WireError
├── LocalProtocolError      our side tried to send what the tables forbid: a fault in the caller
└── RemoteProtocolError     the peer sent it: never raised by `Connection`, which turns it into a `Violation`
"""

from __future__ import annotations

from procvision_sdk.errors import ErrorCode, ProcVisionError


class WireError(ProcVisionError):
    """A rule of the wire was broken."""


class LocalProtocolError(WireError):
    """We were about to send what the protocol forbids in this state; nothing was sent."""


class RemoteProtocolError(WireError):
    """The peer sent what the protocol forbids.

    `kind` names the rule (`bad_json`, `illegal_in_state`, …); `fatal` says that the byte stream can't be followed
    any further; `request_id` is the refused frame's own, where it could be read.
    """

    code = ErrorCode.PROTOCOL

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        fatal: bool = False,
        request_id: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.fatal = fatal
        self.request_id = request_id
        self.retryable = retryable
