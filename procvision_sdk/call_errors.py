"""Why a call has no result: what every runner raises, with a process and without one.

`procvision_sdk.errors` draws where these stand among all errors. What only a runner with a process raises is in
`procvision_runner.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

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


@attrs.frozen(kw_only=True)
class CallFacts:
    """What is known of a call that has no result."""

    phase: str
    step_index: int | None
    pid: str | None
    session_id: str | None
    attempts: int
    earlier_causes: tuple[str, ...]
    """The causes of the attempts before the last."""
    elapsed_s: float
    """From the caller's call to its end, waiting included."""
    process_id: int | None
    """The operating system's id of the last host that had the call."""


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


class RunnerStoppedError(CallError):
    """The runner was stopped before the answer came, or was not running when the call was made."""

    cause = "stopped"
    error_code = ErrorCode.CANCELLED
