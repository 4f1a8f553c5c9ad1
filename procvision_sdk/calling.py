"""What the checks drive: a runner in memory and a runner with a host process look the same from here."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from procvision_sdk.call_result import CallResult
from procvision_sdk.errors import ProcVisionError


class CallFailedError(ProcVisionError):
    """A call was answered with an `error` frame: refused, or the algorithm raised.

    The same facts as the runner's error of this name has: `error_code`, `kind`, `retryable`, `detail`.
    """

    def __init__(self, message: str, *, error_code: str, kind: str, retryable: bool, detail: Any = None) -> None:
        super().__init__(message)
        self.error_code, self.kind, self.retryable, self.detail = error_code, kind, retryable, detail


@runtime_checkable
class AlgorithmRunner(Protocol):
    """One algorithm that is set up. A call that was not answered with a result raises ProcVisionError."""

    def info(self) -> dict[str, Any]:
        """`manifest`, `info` (the algorithm's own) and `versions`."""

    def session(self, context: Any = None, session_id: str | None = None) -> Any:
        """A new inspection, to pass to calls."""

    def pre_execute(self, image: Any = None, *, pid: str, **more: Any) -> CallResult:
        """Prepares a step."""

    def execute(self, image: Any = None, *, pid: str, **more: Any) -> CallResult:
        """Inspects a picture (H x W x 3 RGB or H x W, uint8).

        Further arguments: `step_index` (1), `session`, `user_params`, `final`, `camera_id`, `timestamp_ms`.
        """

    def reset(self, session: Any) -> None:
        """Has the algorithm forget a session."""
