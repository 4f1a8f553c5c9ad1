"""What a call gave, as its caller sees it: a runner's caller, and a test's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from procvision_sdk.answers import check_answer
from procvision_sdk.results import Defect
from procvision_sdk.wire.messages import Result


class CallResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A result that holds what the protocol promises of it.

    `status` ERROR is the algorithm's own "it could not be done", with `message` and `error_code`; only an `execute`
    with status OK has a verdict.
    """

    phase: str
    step_index: int | None
    status: Literal["OK", "ERROR"]
    message: str
    error_code: str | None
    data: dict[str, Any]
    request_id: str | None
    elapsed_ms: float
    """From the call's writing to its answer, as the runner saw it."""
    deployment: Mapping[str, str] | None = None
    """Which installed version answered, of a Supervisor or Pool with `deployments`: its `name` and `version`, the `id`
    of its installation, and `bundle`, the SHA-256 of its `bundle.json`."""

    @property
    def verdict(self) -> Literal["OK", "NG"] | None:
        """OK or NG; None where there is no verdict: a failed call, or a phase that has none."""
        if self.status == "OK" and self.phase == "execute":
            return "OK" if self.data["result_status"] == "OK" else "NG"
        return None

    @property
    def ng_reason(self) -> str | None:
        """Why it is NG."""
        return self.data.get("ng_reason") if self.verdict == "NG" else None

    @property
    def defects(self) -> list[Defect]:
        """What was found where, in pixels of the call's picture; empty unless the verdict is NG."""
        if self.verdict != "NG":
            return []
        return [
            Defect(rect["x"], rect["y"], rect["width"], rect["height"], rect["label"], rect["score"])
            for rect in self.data["defect_rects"]
        ]

    @property
    def debug(self) -> dict[str, Any]:
        """What the algorithm published, with `latency_ms` from the host."""
        debug: dict[str, Any] = self.data.get("debug", {})
        return debug

    @property
    def latency_ms(self) -> float | None:
        """The algorithm's own time, measured by the host."""
        return self.debug.get("latency_ms")


def checked(result: Result, phase: str, size: tuple[int, int] | None, elapsed_ms: float) -> CallResult:
    """Return a result frame as a `CallResult`. Raises CallRefusedError for what must not be read as an answer."""
    data = result.data
    if phase == "execute" or phase == "pre":  # noqa: PLR1714 - on the way of every call
        data = check_answer(phase, result.status, result.message, result.error_code, data, size).data
    return CallResult(
        phase=phase,
        step_index=result.step_index,
        status=result.status,
        message=result.message,
        error_code=result.error_code,
        data=data,
        request_id=result.request_id,
        elapsed_ms=elapsed_ms,
    )
