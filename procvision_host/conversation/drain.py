"""How long a drain may take, and how much of it the running call gets. Pure: the clock is an argument."""

from __future__ import annotations

TEARDOWN_TIME_S = 1.0
"""What is left of a drain for `teardown()` when the running call has used up its time; at most half of it."""


class Drain:
    """The time of a drain. It begins once, and can only become shorter."""

    def __init__(self, grace_s: float, timeout_s: float) -> None:
        self._grace_s = grace_s
        self._timeout_s = timeout_s
        self.began = 0.0
        """When it began."""
        self.call_until = 0.0
        """Until when the running call may take."""
        self._gone_at = 0.0

    def begin(self, now: float, timeout_s: float | None) -> None:
        """Begin; `timeout_s` is what the runner asks for, None where it doesn't say."""
        self.began = now
        self._set(now, self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s))

    def shorten(self, now: float, timeout_s: float) -> bool:
        """Leave less time from now on. Return False where it is not less than there was."""
        if now + timeout_s >= self._gone_at:
            return False
        self._set(now, timeout_s)
        return True

    def _set(self, now: float, timeout_s: float) -> None:
        self._gone_at = now + timeout_s
        longest_s = timeout_s - min(TEARDOWN_TIME_S, timeout_s / 2)
        self.call_until = min(self.began + self._grace_s, now + longest_s)

    @property
    def call_time_s(self) -> float:
        """How long the running call may take, from when the drain began."""
        return self.call_until - self.began
