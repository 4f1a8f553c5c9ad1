"""Decides when a host that drains has to be gone. Pure: the clock is an argument."""

from __future__ import annotations

from enum import Enum

DRAIN_LIMIT_S = 10.0
"""The protocol's bound: so long after it began to drain a host is gone, whatever still runs."""
DUMP_TIME_S = 0.3
"""How long a hung host gets to write its stacks before it is killed."""


class Bite(Enum):
    """What the watchdog asks for."""

    DUMP = "have it write its stacks"
    KILL = "kill it"


class Watchdog:
    """Sleeps until the drain begins; asks for each of its bites once."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        """The next instant at which `bite` has something to ask for."""
        self._dumped = False
        self.killed = False
        """Whether it came to the last of them."""

    def drain_began(self, now: float) -> None:
        """Note that the drain began. The time runs from the first call of this."""
        if self.deadline is None and not self.killed:
            self.deadline = now + DRAIN_LIMIT_S

    def bite(self, now: float) -> Bite | None:
        """Return what has to be done now."""
        if self.deadline is None or now < self.deadline:
            return None
        if not self._dumped:
            self._dumped = True
            self.deadline = now + DUMP_TIME_S
            return Bite.DUMP
        self.deadline = None
        self.killed = True
        return Bite.KILL
