"""Sessions in the cell's own memory: the store of every start that names no other.

Warning: imported by every start; the hook plugin that offers it to a configuration stands in `memory_sessions`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from procvision_sdk.session import SessionStoreError

MAX_SESSIONS = 1024
"""A station inspects one product at a time; a thousand leaves room for many lanes and forgotten ends."""
MAX_MEGABYTES = 256
"""A thousand sessions of some kilobytes take a few; this bounds a thousand of the largest."""
TTL_S = 3600.0
"""An inspection that was not touched for an hour has ended without saying so."""
REMEMBERED_PER_SESSION = 16
"""So many ids are remembered as put out for each session that there may be."""


class MemorySessionStore:
    """Keeps states as bytes, so that nobody can change them behind the store's back.

    Where there is no room the least recently used session is put out. Its next call is an error: a session that was
    lost is not an empty one.
    """

    __slots__ = ("_bytes", "_clock", "_max_bytes", "_max_sessions", "_put_out", "_states", "_ttl_s")

    def __init__(
        self,
        *,
        max_sessions: int = MAX_SESSIONS,
        max_megabytes: float = MAX_MEGABYTES,
        ttl_s: float = TTL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_sessions = max_sessions
        self._max_bytes = max_megabytes * 1e6
        self._ttl_s = ttl_s
        self._clock = clock
        self._bytes = 0
        self._states: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._put_out: OrderedDict[str, float] = OrderedDict()

    @property
    def values(self) -> dict[str, float]:
        """What another is made with that is like this one."""
        return {
            "max_sessions": self._max_sessions,
            "max_megabytes": self._max_bytes / 1e6,
            "ttl_s": self._ttl_s,
        }

    def load(self, session_id: str) -> bytes | None:
        """Return the state last saved, unless its time has passed. Raises SessionStoreError if it was put out."""
        found = self._states.get(session_id)
        if found is None:
            if self._put_out:
                self._refuse_if_put_out(session_id)
            return None
        if self._expired(found[0]):
            self._drop(session_id)
            return None
        self._states.move_to_end(session_id)
        return found[1]

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state as the most recently used. What has no room beside it is put out."""
        self._drop(session_id)
        self._put_out.pop(session_id, None)
        self._states[session_id] = (self._clock(), state)
        self._bytes += len(state)
        while len(self._states) > self._max_sessions or (self._bytes > self._max_bytes and len(self._states) > 1):
            oldest, (saved_at, _) = next(iter(self._states.items()))
            self._drop(oldest)
            if not self._expired(saved_at):
                self._remember(oldest, saved_at)

    def delete(self, session_id: str) -> None:
        """Forget the id."""
        self._drop(session_id)
        self._put_out.pop(session_id, None)

    def close(self) -> None:
        """Forget everything."""
        self._states.clear()
        self._put_out.clear()
        self._bytes = 0

    def _expired(self, saved_at: float) -> bool:
        return self._clock() - saved_at > self._ttl_s

    def _drop(self, session_id: str) -> None:
        found = self._states.pop(session_id, None)
        if found is not None:
            self._bytes -= len(found[1])

    def _remember(self, session_id: str, saved_at: float) -> None:
        self._put_out[session_id] = saved_at
        if len(self._put_out) > REMEMBERED_PER_SESSION * self._max_sessions:
            self._put_out.popitem(last=False)

    def _refuse_if_put_out(self, session_id: str) -> None:
        saved_at = self._put_out.get(session_id)
        if saved_at is not None and not self._expired(saved_at):
            raise SessionStoreError(
                f"the session {session_id[:80]!r} was put out: the memory holds {self._max_sessions} sessions and "
                f"{self._max_bytes / 1e6:g} MB; hint: end sessions with final, or raise max_sessions or max_megabytes"
            )
