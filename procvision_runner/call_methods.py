"""The methods by which Runner, Supervisor and Pool are called: arguments in, a prepared call out.

They are spelled here once. What becomes of a prepared call is the class's own: `_run` and `_start`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from procvision_runner.errors import CallFailedError, RunnerStoppedError
from procvision_runner.requests import Request, prepare, reset_request
from procvision_sdk.calling import InspectingPhase, InspectionSession, new_session
from procvision_sdk.errors import ErrorCode

if TYPE_CHECKING:
    from concurrent.futures import Future

    from procvision_runner.connection.steady_calls import Inspects
    from procvision_runner.images.slots import Lease, SlotPool
    from procvision_runner.options import RunnerOptions
    from procvision_runner.results import CallResult
    from procvision_sdk.calling import CallImage
    from procvision_sdk.images.meta import ColorSpace


class CallMethods(ABC):
    """The calls of a runner whose pictures lie in slots of shared memory. Any thread may call."""

    _call_options: RunnerOptions
    """The timeouts of calls and slots."""
    _slots: SlotPool | None
    """Where the pictures lie, as long as calls can be made."""
    _owner: int
    """The id of the process that has the hosts."""
    _steady: Inspects | None = None
    """Makes the calls that are like those before them, as long as calls can be made; None where there is none."""

    def session(self, context: Mapping[str, Any] | None = None, session_id: str | None = None) -> InspectionSession:
        """Return a new inspection, to pass to calls. `context` is what the algorithm may know of the product.

        Raises PlainValueError for a `context` that is no JSON object.
        """
        return new_session(context, session_id)

    def lend(self, width: int, height: int, color_space: ColorSpace = "RGB") -> Lease:
        """Lend a slot for a picture that isn't there yet, of `width` x `height` pixels.

        Write into its `array`, then pass it to a call: the picture is not copied. The lease goes back when its call
        has ended, or by `release()` if there is none. Raises SlotsExhaustedError and RunnerStoppedError.
        """
        steady = self._steady
        if steady is not None:
            lease = steady.lend(width, height, color_space)
            if lease is not None:
                return lease
        return self._open_slots().lease((width, height, color_space), self._call_options.slot_timeout_s)

    def pre_execute(
        self,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> CallResult:
        """Prepare a step. The arguments and errors are those of `execute`."""
        steady = self._steady
        if steady is not None:
            result = steady.inspect(
                "pre", image, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
            )
            if result is not None:
                return result
        return self._run(
            prepare(
                self._open_slots(), self._call_options, "pre", image, pid,
                step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
            )
        )  # fmt: skip

    def execute(
        self,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> CallResult:
        """Inspect a picture and wait for the result.

        `image` is an array (H x W x 3 RGB or H x W, uint8), a `Picture` or a `Lease`. `pid` is the product's id.
        `step_index` counts the manifest's steps from 1. `session` is an `InspectionSession`, its id, or None for one
        that ends with this call; `final` ends the session after this call. `user_params` are the step's parameters
        by key. `camera_id` and `timestamp_ms` (Unix milliseconds, now if None) say where the picture comes from.
        `timeout_s` is how long to wait for the answer, in seconds; None takes the phase's of the `RunnerOptions`.
        Raises TypeError or ValueError for an image that is no picture, SlotsExhaustedError and CallError. A result of
        status ERROR is returned.
        """
        steady = self._steady
        if steady is not None:
            result = steady.inspect(
                "execute", image, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
            )
            if result is not None:
                return result
        return self._run(
            prepare(
                self._open_slots(), self._call_options, "execute", image, pid,
                step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
            )
        )  # fmt: skip

    def submit(
        self,
        phase: InspectingPhase,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> Future[CallResult]:
        """Make the same call without waiting. The Future has what `execute` or `pre_execute` returns or raises.

        `submit` returns when the picture is in its slot. It waits for a slot while all are leased. Use
        `asyncio.wrap_future` to await the Future. Its callbacks run on the thread that reads the host's answers, so
        they must be short; they may make calls. Raises what `execute` raises before the call is sent.
        """
        return self._start(
            prepare(
                self._open_slots(), self._call_options, phase, image, pid,
                step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
            )
        )  # fmt: skip

    def reset(self, session: InspectionSession | str) -> None:
        """Let the algorithm forget a session: the next call that names it begins anew. Raises CallError.

        A session that was lost with its host is no longer lost after that.
        """
        self._open_slots()
        result = self._run(reset_request(self._call_options, session))
        if result.status != "OK":
            raise CallFailedError(
                f"the session was not forgotten: {result.message}",
                error_code=result.error_code or ErrorCode.UNKNOWN,
                kind="reset_failed",
                retryable=False,
                request_id=result.request_id,
            )

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """Return `manifest`, `info` (the algorithm's own) and `versions`; empty for a host that doesn't tell."""

    def _open_slots(self) -> SlotPool:
        """Return where the pictures lie. Raises RunnerStoppedError if no call can be made from here."""
        slots = self._slots
        if slots is None:
            raise RunnerStoppedError(f"this {type(self).__name__} doesn't run: use it in a with block, or call start()")
        if os.getpid() != self._owner:
            raise RunnerStoppedError("this process is a fork of the one that has the host: only that may call")
        return slots

    @abstractmethod
    def _run(self, request: Request) -> CallResult:
        """Make a prepared call and wait for its result. Raises CallError."""

    @abstractmethod
    def _start(self, request: Request) -> Future[CallResult]:
        """Make a prepared call; its result, or its CallError, comes with the Future."""
