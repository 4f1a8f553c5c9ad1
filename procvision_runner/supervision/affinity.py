"""Which host knows which session. Pure: the clock is an argument. Threads that share it hold a lock.

A session belongs to the host that answered its first call: its state lies there. It is *lost* when that host goes,
and no other host may go on with it, since to an algorithm a session without its state is another product.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

HostT = TypeVar("HostT")

MAX_SESSIONS = 4096
"""Four times what the default store keeps: this must not forget first."""


class Binding(Generic[HostT]):
    """One session. `owner` is its call that is on its way: a retry must not be overtaken by the call after it."""

    __slots__ = ("answered", "host", "lost", "owner", "used_at")

    def __init__(self, now: float) -> None:
        self.host: HostT | None = None
        self.answered = False
        """Whether any of its calls was answered: then its state lies in its host."""
        self.owner: object | None = None
        self.lost: str | None = None
        """Why it is lost; None if it is not."""
        self.used_at = now


class SessionBindings(Generic[HostT]):
    """The open sessions, least recently used first."""

    __slots__ = ("_max_sessions", "_ttl_s", "bindings")

    def __init__(self, ttl_s: float, max_sessions: int = MAX_SESSIONS) -> None:
        self._ttl_s = ttl_s
        self._max_sessions = max_sessions
        self.bindings: OrderedDict[str, Binding[HostT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.bindings)

    def get(self, session_id: str, now: float) -> Binding[HostT]:
        """Return the session's binding. Make it if there is none."""
        self._expire(now)
        binding = self.bindings.get(session_id)
        if binding is None:
            binding = self.bindings[session_id] = Binding(now)
        else:
            self.bindings.move_to_end(session_id)
            binding.used_at = now
        return binding

    def find(self, session_id: str) -> Binding[HostT] | None:
        """Return the session's binding if there is one."""
        return self.bindings.get(session_id)

    def _expire(self, now: float) -> None:
        while self.bindings:
            oldest = next(iter(self.bindings.values()))
            over = now - oldest.used_at > self._ttl_s or len(self.bindings) > self._max_sessions
            if not over or oldest.owner is not None:
                return
            self.bindings.popitem(last=False)

    def end(self, session_id: str) -> None:
        """Forget a session that is over."""
        self.bindings.pop(session_id, None)

    def open_on(self, host: HostT, now: float) -> int:
        """Return how many open sessions a host has."""
        self._expire(now)
        return sum(1 for binding in self.bindings.values() if binding.host is host and not binding.lost)

    def lose(self, host: HostT, why: str, *, keep: bool = False) -> int:
        """Mark as lost the sessions that had an answer from a host that is gone; the others may begin again.

        With `keep`, their state lies outside the host: any other may go on with them. Return how many were lost.
        """
        lost = 0
        for binding in self.bindings.values():
            if binding.host is host:
                binding.host = None
                if binding.answered and not keep:
                    binding.lost = why
                    lost += 1
        return lost
