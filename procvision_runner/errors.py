"""How a launch or a call can fail, each with its cause and the host's last log lines.

RunnerError
├── LaunchError             the host never became ready
├── SlotsExhaustedError     every slot is leased, none came back in time
└── CallError               one call has no result, and won't get one
    ├── CallFailedError         the host answered with an `error` frame
    ├── CallTimeoutError        no answer within the call's timeout
    ├── HostDiedError           the host ended, or was ended, before it answered
    ├── ProtocolViolationError  the host answered with something that is no answer
    └── RunnerStoppedError      the runner was stopped while the call was on its way
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from procvision_sdk.errors import ErrorCode, ProcVisionError


class RunnerError(ProcVisionError):
    """The root of what a runner raises. `logs` are the host's last log records, oldest first."""

    def __init__(self, message: str, *, logs: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.logs = tuple(logs)

    @property
    def last_lines(self) -> str:
        """The last log messages as text, a line each."""
        return "\n".join(f"{record.get('level', '?')}: {record.get('message', '')}" for record in self.logs)


class LaunchError(RunnerError):
    """The host never became ready. `error_code` is what it said itself, where it did."""

    def __init__(
        self,
        message: str,
        *,
        exit_status: int | None = None,
        error_code: str | None = None,
        logs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, logs=logs)
        self.exit_status = exit_status
        self.error_code = error_code


class SlotsExhaustedError(RunnerError):
    """Every slot of shared memory is leased."""


class CallError(RunnerError):
    """One call ended without a result.

    `cause` is one word for it, `error_code` the protocol's, `retryable` says whether the same call may be made again.
    """

    cause = "failed"
    error_code: str = ErrorCode.UNKNOWN
    retryable = False

    def __init__(self, message: str, *, request_id: str | None = None, logs: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message, logs=logs)
        self.request_id = request_id


class CallFailedError(CallError):
    """The host says why there is no result. `kind` is its machine-readable word, `detail` what it added."""

    def __init__(
        self,
        message: str,
        *,
        error_code: str,
        kind: str,
        retryable: bool,
        detail: Any = None,
        request_id: str | None = None,
        logs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, request_id=request_id, logs=logs)
        self.error_code = error_code
        self.kind = self.cause = kind
        self.retryable = retryable
        self.detail = detail


class CallTimeoutError(CallError):
    """No answer in time. The call was cancelled; the host may still be busy with it."""

    cause = "timeout"
    error_code = ErrorCode.TIMEOUT
    retryable = True


class HostDiedError(CallError):
    """The host ended before it answered: the text says by what signal or with what status."""

    cause = "host_died"
    retryable = True


class ProtocolViolationError(CallError):
    """What the host sent is no valid answer: it is never read as a verdict."""

    cause = "protocol_violation"
    error_code = ErrorCode.PROTOCOL


class RunnerStoppedError(CallError):
    """The runner was stopped before the answer came, or before the call was sent."""

    cause = "stopped"
    error_code = ErrorCode.CANCELLED
