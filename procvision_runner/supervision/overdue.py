"""Calls that timed out. Each has a grace in which it may end by itself; then its host is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from procvision_runner.exit_causes import EndKind

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.supervised_host import SupervisedHost

LOOK_INTERVAL_S = 0.02
"""How often a call that was cancelled is looked at."""


@attrs.frozen(eq=False)
class _Overdue:
    host: SupervisedHost
    pending: PendingCall
    grace_ends_at: float


class OverdueCalls:
    """A duty of the keeper. `put_down` ends a host."""

    def __init__(
        self, admission: Admission, grace_s: float, put_down: Callable[[SupervisedHost, EndKind, str], None]
    ) -> None:
        self._admission = admission
        self._grace_s = grace_s
        self._put_down = put_down
        self._lock = threading.Lock()
        self._calls: list[_Overdue] = []

    def add(self, host: SupervisedHost, pending: PendingCall) -> None:
        """Add a call that timed out. Its host gets no other until this one has ended."""
        with self._admission.lock:
            host.overdue += 1
        with self._lock:
            self._calls.append(_Overdue(host, pending, time.monotonic() + self._grace_s))

    def forget(self, host: SupervisedHost) -> None:
        """Forget the calls of a host that is gone."""
        with self._lock:
            self._calls = [call for call in self._calls if call.host is not host]

    def look(self, now: float) -> float | None:
        """Let hosts have calls again whose overdue calls have ended. End the hosts whose grace is over."""
        with self._lock:
            ended = [call for call in self._calls if call.pending.freed]
            over = [call for call in self._calls if not call.pending.freed and now >= call.grace_ends_at]
            self._calls = [call for call in self._calls if call not in ended and call not in over]
            left = len(self._calls)
        for call in ended:
            with self._admission.lock:
                call.host.overdue -= 1
            self._admission.look_again()
        for call in over:
            pending = call.pending
            text = (
                f"did not end {pending.call.phase} within its {pending.timeout_s:g} s, "
                f"nor within {self._grace_s:g} s of its cancel"
            )
            self._put_down(call.host, EndKind.TIMEOUT, text)
        return LOOK_INTERVAL_S if left else None
