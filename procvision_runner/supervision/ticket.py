"""A call's place in the line of a supervisor's calls."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procvision_runner.errors import CallError
    from procvision_runner.supervision.supervised_host import SupervisedHost

orders = itertools.count()
next_order = orders.__next__
"""Gives the place of a call that comes now."""


class Ticket:
    """A call's place in the line. The dispatcher runs `job` when the call is let in or turned away.

    `final` ends the session when the call has ended; `forgets` is a reset, which may go to a session that was lost.
    """

    __slots__ = ("error", "expires_at", "final", "forgets", "host", "job", "not_before", "order", "session_id", "woken")

    def __init__(
        self, session_id: str | None, *, final: bool, forgets: bool = False, job: Callable[[], None] | None = None
    ) -> None:
        self.order = next_order()
        self.session_id = session_id
        self.final = final
        self.forgets = forgets
        self.job = job
        self.host: SupervisedHost | None = None
        self.error: CallError | None = None
        self.not_before = 0.0
        self.expires_at = 0.0
        self.woken: threading.Event | None = None
