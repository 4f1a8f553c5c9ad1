"""One call on its way: its end for the caller, and its end for the host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

import msgspec

from procvision_runner.errors import CallError
from procvision_runner.images.shared_lease import SharedLease
from procvision_runner.images.slots import Lease
from procvision_sdk.wire.messages import Call, Result

_log = logging.getLogger("procvision.runner")

Judge: TypeAlias = Callable[[Result, float], Any]
"""Makes of a result, and of the seconds that it took, what a Future is given. What it raises the Future raises."""


class PendingCall(msgspec.Struct, eq=False):
    """A call that was sent. The call table's lock guards it.

    It *ends* for the caller once, with an answer or an error. It is *freed* when the host can't touch its picture any
    more: with the answer as a rule, later if the call timed out, at the latest when the host ends.
    """

    call: Call
    sent_at: float
    timeout_s: float
    on_freed: Callable[[], None] | None
    future: Future[Any] | None = None
    judge: Judge | None = None
    answer: Result | None = None
    error: CallError | None = None
    ended: bool = False
    freed: bool = False
    took_s: float = 0.0
    needs_wake: bool = False
    """Whether the reader thread has to be woken: to read the answer, or to end the call in time."""
    woken: threading.Event | None = None
    """Set when the caller, who waits while another thread reads, has to look again."""
    deadline: float = 0.0
    """When its time is over: `timeout_s` after it was sent, or after the calls before it have ended."""
    lease: Lease | None = None
    """A steady call's picture, which is released where there is no `on_freed`."""
    kept: SharedLease | None = None
    """The same, where the caller keeps it after the call's end, to make the call again."""
    told: dict[str, Any] | None = None
    """What a steady call says of its picture, but for the time."""
    timestamp_ms: int | None = None
    """The picture's time, beside that."""

    def whole_call(self) -> Call:
        """Return the call with what it says of its picture, which a steady one has in its frame alone.

        The picture must lie in its slot still.
        """
        call, lease = self.call, self.lease
        if lease is not None and self.told is not None and call.image_meta is None:
            call.shared_mem_id = lease.identity
            call.image_meta = {**self.told, "timestamp_ms": self.timestamp_ms}
        return call

    def end(self, answer: Result | None, error: CallError | None, now: float) -> bool:
        """End the call for the caller. Return False if it had ended before."""
        if self.ended:
            return False
        self.answer, self.error = answer, error
        self.took_s = now - self.sent_at
        self.ended = True
        if self.woken is not None:
            self.woken.set()
        return True

    def free(self) -> None:
        """End the call for the host. A second call of this changes nothing."""
        if not self.freed:
            self.freed = True
            if self.on_freed is not None:
                self.on_freed()
            elif self.kept is not None:
                self.kept.release()
            elif self.lease is not None:
                self.lease.release()

    def resolve(self) -> None:
        """Give a submitted call's Future its outcome. Call it without any lock: callbacks run in here."""
        future = self.future
        if future is None:
            return
        if self.answer is None:
            _settle(future.set_exception, self.error)
            return
        try:
            given = (self.answer, self.took_s) if self.judge is None else self.judge(self.answer, self.took_s)
        except BaseException as error:  # noqa: BLE001 - the Future carries whatever it is
            _settle(future.set_exception, error)
        else:
            _settle(future.set_result, given)


def _settle(settle: Callable[[Any], None], outcome: Any) -> None:
    """End a Future. A callback's SystemExit ends neither the thread that reads nor its host; Ctrl-C is the user's."""
    try:
        settle(outcome)
    except BaseException as error:
        # The Future itself has caught every Exception.
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        _log.exception("a callback of a call's Future raised")
