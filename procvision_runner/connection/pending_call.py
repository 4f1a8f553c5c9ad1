"""One call on its way, with its two ends: the caller's, and the host's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

from procvision_runner.errors import CallError
from procvision_sdk.wire.messages import Call, Result

_log = logging.getLogger("procvision.runner")

Judge: TypeAlias = Callable[[Result, float], Any]
"""From a result, and the seconds that it took, to what a Future is given; what it raises the Future raises."""


class Pending:
    """A call that was sent. Changed under its client's lock.

    It *ends* for the caller with an answer or an error, once. It is *freed* when the host can't touch its picture any
    more: with the answer as a rule, later for a call that timed out, at the latest with the host's death.
    """

    __slots__ = (
        "answer",
        "call",
        "deadline",
        "ended",
        "error",
        "freed",
        "future",
        "judge",
        "on_freed",
        "sent_at",
        "timeout_s",
        "took_s",
        "unattended",
        "woken",
    )

    def __init__(
        self,
        call: Call,
        begun_at: float,
        timeout_s: float,
        on_freed: Callable[[], None] | None,
        future: Future[Any] | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.call = call
        self.deadline = begun_at + timeout_s
        self.on_freed = on_freed
        self.future = future
        self.judge = judge
        self.answer: Result | None = None
        self.error: CallError | None = None
        self.ended = False
        self.freed = False
        self.sent_at = begun_at
        self.timeout_s = timeout_s
        self.took_s = 0.0
        self.unattended = False
        """Whether the attendant has to be woken to read its answer, or to end it in time."""
        self.woken: threading.Event | None = None

    def end(self, answer: Result | None, error: CallError | None, now: float) -> bool:
        """The caller's end; False if it had ended before."""
        if self.ended:
            return False
        self.answer, self.error = answer, error
        self.took_s = now - self.sent_at
        self.ended = True
        if self.woken is not None:
            self.woken.set()
        return True

    def free(self) -> None:
        """The host's end; a second one does nothing."""
        if not self.freed:
            self.freed = True
            if self.on_freed is not None:
                self.on_freed()

    def resolve(self) -> None:
        """Gives a submitted call's Future its outcome; not under any lock, since callbacks run in here."""
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
    """Ends a Future. A callback's SystemExit ends neither the thread that reads nor its host; Ctrl-C is the user's."""
    try:
        settle(outcome)
    except BaseException as error:
        # The Future itself has caught every Exception.
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        _log.exception("a callback of a call's Future raised")
