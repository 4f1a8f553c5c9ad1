"""Decides when a host that ended is started again, and when that is given up. Pure: the clock is an argument."""

from __future__ import annotations

from typing import TypeAlias

import attrs

_MOST_DOUBLINGS = 64
"""Enough for any bound; without one the power overflows where a store is away for a night."""


@attrs.frozen
class RestartIn:
    """Start a new host after this time."""

    delay_s: float


@attrs.frozen
class GiveUp:
    """Start no more hosts until `recover()` or a swap."""

    reason: str


Decision: TypeAlias = RestartIn | GiveUp


@attrs.frozen
class RestartHistory:
    """What was tried so far. `restarts` are the instants of those that may still count, oldest first."""

    restarts: tuple[float, ...] = ()
    failed_launches: int = 0
    """In a row."""
    waits: int = 0
    """Launches in a row that failed for a cause that passes."""

    def launched(self) -> RestartHistory:
        """Return the history after a host became ready."""
        return attrs.evolve(self, failed_launches=0, waits=0)

    def launch_failed(self) -> RestartHistory:
        """Return the history after a host ended before it was ready."""
        return attrs.evolve(self, failed_launches=self.failed_launches + 1)

    def must_wait(self) -> RestartHistory:
        """Return the history after a launch that failed for a cause that passes: it counts as no failure."""
        return attrs.evolve(self, waits=self.waits + 1)


@attrs.frozen(kw_only=True)
class RestartPolicy:
    """An intensity limit with a backoff: what crashes every minute is worth a restart, what crashes at once is not."""

    max_restarts: int = attrs.field(default=3, validator=attrs.validators.ge(0))
    """So many within `within_s`, the next is refused: Erlang's supervisors count so, the numbers are the project's."""
    within_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    """What lies longer back doesn't count."""
    first_delay_s: float = attrs.field(default=0.1, validator=attrs.validators.ge(0))
    """A process that was killed by mistake is back at once; devices get a moment to be freed."""
    factor: float = attrs.field(default=2.0, validator=attrs.validators.ge(1))
    """Each further restart within the window waits so many times longer: what fails again needs longer to mend."""
    max_delay_s: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))
    """No wait is longer: the line stands meanwhile."""
    max_failed_launches: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    """In a row, of a host that ran before: a boot failure is no crash, more tries only hide it. One try more than
    none, since a machine that was too busy for a host's start is not broken."""

    max_wait_s: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    """Where the cause of a failed launch passes, hosts are tried without end, no longer apart than this: what is back
    is found soon, and a launch costs half a second of a core."""

    def decide(self, history: RestartHistory, now: float) -> tuple[Decision, RestartHistory]:
        """Decide about a host that has just ended. Return the decision, and the history that counts it."""
        if history.failed_launches >= self.max_failed_launches:
            times = "once" if history.failed_launches == 1 else f"{history.failed_launches} times in a row"
            return GiveUp(f"the host did not become ready {times}"), history
        if history.waits:
            return RestartIn(
                min(self.first_delay_s * self.factor ** min(history.waits, _MOST_DOUBLINGS), self.max_wait_s)
            ), history
        recent = tuple(instant for instant in history.restarts if now - instant < self.within_s)
        if len(recent) >= self.max_restarts:
            reason = f"{len(recent)} restarts within {self.within_s:g} s, no more than {self.max_restarts} are allowed"
            return GiveUp(reason), attrs.evolve(history, restarts=recent)
        delay_s = min(self.first_delay_s * self.factor ** len(recent), self.max_delay_s)
        return RestartIn(delay_s), attrs.evolve(history, restarts=(*recent, now + delay_s))
