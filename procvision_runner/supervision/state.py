"""Where a supervisor stands. Every change of its state is made here, under one lock."""

from __future__ import annotations

import threading
from enum import StrEnum


class SupervisorState(StrEnum):
    """What a supervisor is at."""

    NEW = "new"
    """`start` wasn't called yet."""
    STARTING = "starting"
    """The first host is launched and set up."""
    READY = "ready"
    """A host takes calls."""
    RESTARTING = "restarting"
    """The host was lost, or is about to be; calls wait for the next."""
    BROKEN = "broken"
    """Given up: every call gets a BrokenError, until `recover()` or a swap."""
    STOPPED = "stopped"
    """For good."""


class Standing:
    """The state, why it is broken if it is, and whether it was asked to stop."""

    def __init__(self) -> None:
        self.state = SupervisorState.NEW
        self.broken_because: str | None = None
        self.stop_asked = threading.Event()
        self._lock = threading.Lock()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop, or has stopped."""
        return self.stop_asked.is_set()

    def start(self) -> None:
        """Once. Raises RuntimeError."""
        with self._lock:
            if self.state is not SupervisorState.NEW:
                raise RuntimeError("this Supervisor was started already: make a new one")
            self.state = SupervisorState.STARTING

    def ready(self) -> None:
        """A host takes calls."""
        with self._lock:
            if not self.stopping:
                self.state = SupervisorState.READY
                self.broken_because = None

    def host_lost(self) -> None:
        """The host that took calls is gone, or is about to be."""
        with self._lock:
            if self.state is SupervisorState.READY and not self.stopping:
                self.state = SupervisorState.RESTARTING

    def give_up(self, reason: str) -> bool:
        """No host is started any more; False if it stops anyway."""
        with self._lock:
            if self.stopping:
                return False
            self.state = SupervisorState.BROKEN
            self.broken_because = reason
            return True

    def try_again(self) -> bool:
        """Somebody has looked; False if it wasn't broken."""
        with self._lock:
            if self.state is not SupervisorState.BROKEN or self.stopping:
                return False
            self.state = SupervisorState.RESTARTING
            return True

    def end(self, state: SupervisorState, reason: str | None = None) -> None:
        """It has stopped, or never got as far as to be ready."""
        with self._lock:
            self.state = state
            self.broken_because = reason
