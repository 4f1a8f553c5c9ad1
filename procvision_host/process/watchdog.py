"""Decides when a host that drains has to be gone. Pure: the clock is an argument.

Warning: used by the guardian, which imports as little as it can.
"""

from __future__ import annotations

from procvision_sdk.wire.greeting import MAX_DRAIN_TIMEOUT_S

DUMP_TIME_S = 0.3
"""How long a hung host gets to write its stacks before it is killed."""
END_TIME_S = 0.2
"""What is kept for the end itself: the kernel frees the memory, the last lines of the log go out."""


class Bite:
    """What the watchdog asks for."""

    DUMP: Bite
    """Have it write its stacks."""
    KILL: Bite
    """Kill it."""


# No `Enum`: the guardian would import for it what takes longer than all the rest.
Bite.DUMP, Bite.KILL = Bite(), Bite()


class Watchdog:
    """Sleeps until the drain begins; asks for each of its bites once, so early that the host is gone in time."""

    def __init__(self, limit_s: float = MAX_DRAIN_TIMEOUT_S) -> None:
        self.limit_s = limit_s
        """How long a drain may take in all."""
        self.deadline: float | None = None
        """The next instant at which `bite` has something to ask for."""
        self._began: float | None = None
        self._gone_at = 0.0
        self._kill_at = 0.0
        self._dumped = False
        self.killed = False
        """Whether it came to the last of them."""

    def drain_began(self, now: float) -> None:
        """Note that the drain began. The time runs from the first call of this."""
        if self._began is None:
            self._began = now
            self._be_gone(now, now + self.limit_s)

    def leave_within(self, limit_s: float, now: float) -> None:
        """Leave less time from now on than there was. More than there was changes nothing."""
        self.drain_began(now)
        if now + limit_s < self._gone_at:
            assert self._began is not None
            self.limit_s = now + limit_s - self._began
            self._be_gone(now, now + limit_s)

    def _be_gone(self, now: float, at: float) -> None:
        if self.killed:
            return
        self._gone_at = at
        # Of a very short time the last half is for the end.
        self._kill_at = at - min(END_TIME_S, (at - now) / 4)
        self.deadline = self._kill_at if self._dumped else self._kill_at - min(DUMP_TIME_S, (at - now) / 4)

    def bite(self, now: float) -> Bite | None:
        """Return what has to be done now."""
        if self.deadline is None or now < self.deadline:
            return None
        if not self._dumped:
            self._dumped = True
            self.deadline = self._kill_at
            return Bite.DUMP
        self.deadline = None
        self.killed = True
        return Bite.KILL
