"""One call on its way, with its two ends: the caller's, and the host's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from procvision_runner.errors import CallError
from procvision_sdk.wire.messages import Call, Result


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
        "on_freed",
        "sent_at",
        "timeout_s",
        "took_s",
        "woken",
    )

    def __init__(
        self,
        call: Call,
        begun_at: float,
        timeout_s: float,
        on_freed: Callable[[], None] | None,
        future: Future[Any] | None,
    ) -> None:
        self.call = call
        self.deadline = begun_at + timeout_s
        self.on_freed = on_freed
        self.future = future
        self.answer: Result | None = None
        self.error: CallError | None = None
        self.ended = False
        self.freed = False
        self.sent_at = begun_at
        self.timeout_s = timeout_s
        self.took_s = 0.0
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
        if future is None or not future.set_running_or_notify_cancel():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result((self.answer, self.took_s))
