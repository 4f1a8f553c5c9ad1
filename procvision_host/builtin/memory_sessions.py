"""Sessions in the host's own memory: bounded, least recently used out, with a time to live. The default store."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from procvision_sdk.hookspecs import hookimpl
from procvision_sdk.session import SessionStore

MAX_SESSIONS = 1024
"""A station inspects one product at a time; a thousand leaves room for many lanes and forgotten ends."""
TIME_TO_LIVE_S = 3600.0
"""An inspection that was not touched for an hour has ended without saying so."""


class MemorySessionStore:
    """Keeps states as bytes, so that nobody can change them behind the store's back."""

    def __init__(
        self,
        max_sessions: int = MAX_SESSIONS,
        time_to_live_s: float = TIME_TO_LIVE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_sessions = max_sessions
        self._time_to_live_s = time_to_live_s
        self._clock = clock
        self._states: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def load(self, session_id: str) -> bytes | None:
        """The state last saved, unless its time has passed."""
        found = self._states.get(session_id)
        if found is None:
            return None
        if self._clock() - found[0] > self._time_to_live_s:
            del self._states[session_id]
            return None
        return found[1]

    def save(self, session_id: str, state: bytes) -> None:
        """Keeps the state as the most recently used; what has expired or is one too many goes."""
        now = self._clock()
        self._states[session_id] = (now, state)
        self._states.move_to_end(session_id)
        while self._states:
            oldest, (saved_at, _) = next(iter(self._states.items()))
            if len(self._states) <= self._max_sessions and now - saved_at <= self._time_to_live_s:
                break
            del self._states[oldest]

    def delete(self, session_id: str) -> None:
        """Forgets the id."""
        self._states.pop(session_id, None)

    def close(self) -> None:
        """Forgets everything."""
        self._states.clear()


@hookimpl
def procvision_session_stores() -> Mapping[str, Callable[[str], SessionStore]]:
    """`--sessions memory`."""
    return {"memory": lambda _: MemorySessionStore()}
