"""How a launch or a call can fail, each with its cause and the host's last log lines.

RunnerError
├── LaunchError             the host never became ready
├── SwapError               the new version was not switched to; the old one serves on
├── SlotsExhaustedError     every slot is leased, none came back in time
└── CallError               one call has no result, and won't get one
    ├── CallFailedError         the host answered with an `error` frame
    ├── CallTimeoutError        no answer within the call's timeout
    ├── HostDiedError           the host ended, or was ended, before it answered
    ├── ProtocolViolationError  the host answered with something that is no answer
    ├── SessionLostError        the host that knew the session is gone
    ├── BrokenError             the supervisor has given its algorithm up
    └── RunnerStoppedError      the runner was stopped while the call was on its way
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from procvision_runner.exit_causes import HostEnd
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
    """Every slot is leased, or there is no memory for another."""


class SwapError(RunnerError):
    """A hot swap did not take place: the old version serves on."""


@attrs.frozen(kw_only=True)
class CallFacts:
    """What is known of a call that has no result."""

    phase: str
    step_index: int | None
    pid: str | None
    session_id: str | None
    attempts: int
    earlier_causes: tuple[str, ...]
    """What the attempts before the last came to."""
    elapsed_s: float
    """From the caller's call to its end, waiting included."""
    process_id: int | None
    """The operating system's id of the last host that had it."""


class CallError(RunnerError):
    """One call ended without a result.

    `cause` is one word for it, `error_code` the protocol's, `retryable` says whether the same call may be made again.
    A supervised call's error also has the `facts`.
    """

    cause: str = "failed"
    error_code: str = ErrorCode.UNKNOWN
    retryable = False
    facts: CallFacts | None = None
    sent = True
    """False if the call never left for a host: it counts as no attempt."""

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


class RunnerStoppedError(CallError):
    """The runner was stopped before the answer came, or before the call was sent."""

    cause = "stopped"
    error_code = ErrorCode.CANCELLED


class SessionLostError(CallError):
    """The session was begun on a host that is gone, and its state with it: inspect the product again from its start."""

    cause = "session_lost"


class BrokenError(CallError):
    """The supervisor has given up: too many restarts, or a host that doesn't become ready. `reset()` tries again."""

    cause = "broken"
