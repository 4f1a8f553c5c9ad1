"""How a launch or a supervised call can fail, each with its cause and the host's last log lines.

`procvision_sdk.errors` draws the whole tree. What every runner raises is in `procvision_sdk.call_errors` and stands
here too, so that a user of this package finds all of it in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from procvision_sdk.call_errors import CallError, CallFacts, CallFailedError, RunnerError, RunnerStoppedError
from procvision_sdk.errors import ErrorCode

if TYPE_CHECKING:
    from procvision_runner.exit_causes import HostEnd

__all__ = [
    "BrokenError",
    "CallError",
    "CallFacts",
    "CallFailedError",
    "CallTimeoutError",
    "HostDiedError",
    "LaunchError",
    "ProtocolViolationError",
    "RunnerError",
    "RunnerStoppedError",
    "SessionLostError",
    "SlotsExhaustedError",
    "SuspectPictureError",
    "SwapError",
]


class LaunchError(RunnerError):
    """The host never became ready. `error_code` is what it said itself, where it did.

    `retryable` says that the cause passes, such as a session store that restarts: the same launch may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_status: int | None = None,
        error_code: str | None = None,
        retryable: bool = False,
        logs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, logs=logs)
        self.exit_status = exit_status
        self.error_code = error_code
        self.retryable = retryable


class SlotsExhaustedError(RunnerError):
    """Every slot is leased, or there is no memory for another."""


class SwapError(RunnerError):
    """A hot swap did not take place: the old version serves on."""


class CallTimeoutError(CallError):
    """No answer in time. The call was cancelled; the host may still work on it."""

    cause = "timeout"
    error_code = ErrorCode.TIMEOUT
    retryable = True


class HostDiedError(CallError):
    """The host ended, or had to be ended, before it answered.

    The text says how; `cause` is the end's kind: `crashed` (with its `signal`), `exited` (with its `exit_status`),
    `out_of_memory`, `timeout` (of another call), `unresponsive`, `not_reading`.
    """

    cause = "host_died"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        end: HostEnd | None = None,
        request_id: str | None = None,
        logs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, request_id=request_id, logs=logs)
        self.exit_status = end.exit_status if end is not None else None
        self.signal = end.signal if end is not None else None
        if end is not None:
            self.cause = str(end.kind)


class ProtocolViolationError(CallError):
    """What the host sent is no valid answer: it is never read as a verdict."""

    cause = "protocol_violation"
    error_code = ErrorCode.PROTOCOL


class SessionLostError(CallError):
    """The session was begun on a host that is gone, and its state with it: inspect the product again from its start."""

    cause = "session_lost"


class SuspectPictureError(CallError):
    """The picture ended two hosts in a row: it is not tried a third time, until a swap or `recover()`."""

    cause = "suspect_picture"
    sent = False


class BrokenError(CallError):
    """The supervisor has given up: too many restarts, or a host that doesn't become ready. `recover()` tries again."""

    cause = "broken"
