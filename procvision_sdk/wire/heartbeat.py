"""The heartbeat's arithmetic: when to ping, when a pong is missed, when a host counts as unresponsive.

No clock and no thread: every method takes `now`, monotonic seconds. A ping is due an interval after the last;
after a missed pong the next ping is due at once, so that a dead host is known `grace_s * misses_allowed` after
the first unanswered ping. A pong that is late since the machine held the host up isn't missed: it is put off.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class HeartbeatPolicy:
    """The protocol's defaults: a ping every 5 s, answered within 2 s, two misses."""

    interval_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """From one pong to the next ping."""
    grace_s: float = attrs.field(default=2.0, validator=attrs.validators.gt(0))
    """How long a pong may take; a host of ours needs 0.1 s, whatever its algorithm does."""
    misses_allowed: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    """So many in a row and the host counts as unresponsive: one alone may be the machine's fault."""
    held_up_s: float = attrs.field(default=20.0, validator=attrs.validators.ge(0))
    """How long a pong may take where the machine keeps the host from running: its threads wait for a processor or a
    disk, or the runner was held up itself. 0 counts every late pong as missed."""


class Heartbeat:
    """The state of one heartbeat. `misses` counts pongs missed in a row."""

    __slots__ = ("_asked_at", "_next_ping", "_outstanding", "_pong_deadline", "misses", "policy")

    def __init__(self, policy: HeartbeatPolicy, now: float) -> None:
        self.policy = policy
        self.misses = 0
        self._outstanding: set[str] = set()
        self._next_ping: float | None = now + policy.interval_s
        self._pong_deadline: float | None = None
        self._asked_at = now
        """When the ping was sent whose pong has that deadline."""

    @property
    def deadline(self) -> float | None:
        """The next instant at which `due` has something to say; None once the host is unresponsive."""
        return self._pong_deadline if self._pong_deadline is not None else self._next_ping

    @property
    def unresponsive(self) -> bool:
        """Whether as many pongs in a row were missed as the policy allows."""
        return self.misses >= self.policy.misses_allowed

    @property
    def oldest(self) -> str | None:
        """A ping that waits for its pong; None while none does. Which of several it is makes no difference."""
        return min(self._outstanding, default=None)

    def sent(self, request_id: str, now: float) -> None:
        """A ping went out."""
        self._outstanding.add(request_id)
        if self._pong_deadline is None:  # a ping sent meanwhile gives the host no more time for the first
            self._pong_deadline, self._asked_at = now + self.policy.grace_s, now
        self._next_ping = None

    def answered(self, request_id: str | None, now: float) -> bool:
        """Return a pong came in; False if no ping of that id was waiting for it."""
        if request_id not in self._outstanding:
            return False
        self._outstanding.clear()
        self.misses = 0
        self._pong_deadline = None
        self._next_ping = now + self.policy.interval_s
        return True

    def late_s(self, now: float) -> float | None:
        """Return for how long the pong that is waited for is late; None if none is."""
        return None if self._pong_deadline is None or now < self._pong_deadline else now - self._pong_deadline

    def put_off(self, now: float) -> None:
        """Give a late pong its time once more, since its host was held up, but for what it may take at most."""
        longest = self._asked_at + self.policy.held_up_s
        if self._pong_deadline is not None and longest > now:
            self._pong_deadline = min(now + self.policy.grace_s, longest)

    def missed(self, now: float) -> bool:
        """Return whether a pong's deadline has passed; counts it. A late pong still ends the row of misses."""
        if self._pong_deadline is None or now < self._pong_deadline:
            return False
        self.misses += 1
        self._pong_deadline = None
        self._next_ping = None if self.unresponsive else now
        return True

    def ping_due(self, now: float) -> bool:
        """Return whether it is time to send the next ping."""
        return self._next_ping is not None and now >= self._next_ping
