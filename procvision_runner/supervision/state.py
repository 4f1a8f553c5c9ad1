"""The state of a supervisor. Every change of it is made here, under one lock."""

from __future__ import annotations

import threading
from enum import StrEnum


class SupervisorState(StrEnum):
    """The states of a supervisor."""

    NEW = "new"
    """`start` wasn't called yet."""
    STARTING = "starting"
    """The first host is launched and set up."""
    READY = "ready"
    """A host takes calls."""
    RESTARTING = "restarting"
    """The host was lost, or is about to be; calls wait for the next."""
    WAITING = "waiting"
    """Restarting, while what a host needs is away: hosts are tried until one is ready. `waiting_because` says why."""
    BROKEN = "broken"
    """Given up: every call gets a BrokenError, until `recover()` or a swap."""
    STOPPED = "stopped"
    """For good."""


class Lifecycle:
    """The current state, why it is broken, and whether a stop was asked for."""

    def __init__(self) -> None:
        self.state = SupervisorState.NEW
        self.broken_because: str | None = None
        self.waiting_because: str | None = None
        self.stop_asked = threading.Event()
        self._lock = threading.Lock()

    @property
    def stopping(self) -> bool:
        """Whether the supervisor was asked to stop, or has stopped."""
        return self.stop_asked.is_set()

    def start(self) -> None:
        """Begin, once. Raises RuntimeError the second time."""
        with self._lock:
            if self.state is not SupervisorState.NEW:
                raise RuntimeError("this Supervisor was started already: make a new one")
            self.state = SupervisorState.STARTING

    def ready(self) -> None:
        """Note that a host takes calls."""
        with self._lock:
            if not self.stopping:
                self.state = SupervisorState.READY
                self.broken_because = self.waiting_because = None

    def host_lost(self) -> None:
        """Note that the host that took calls is gone, or is about to be."""
        with self._lock:
            if self.state is SupervisorState.READY and not self.stopping:
                self.state = SupervisorState.RESTARTING

    def wait(self, reason: str) -> bool:
        """Note that a host is waited for since what it needs is away. Return whether this reason is new."""
        with self._lock:
            if self.stopping or self.state not in {SupervisorState.RESTARTING, SupervisorState.WAITING}:
                return False
            new = self.waiting_because != reason
            self.state, self.waiting_because = SupervisorState.WAITING, reason
            return new

    def give_up(self, reason: str) -> bool:
        """Note that no host is started any more. Return False if the supervisor stops anyway."""
        with self._lock:
            if self.stopping:
                return False
            self.state = SupervisorState.BROKEN
            self.broken_because, self.waiting_because = reason, None
            return True

    def try_again(self) -> bool:
        """Leave the broken state. Return False if the supervisor was not broken."""
        with self._lock:
            if self.state is not SupervisorState.BROKEN or self.stopping:
                return False
            self.state = SupervisorState.RESTARTING
            return True

    def end(self, state: SupervisorState, reason: str | None = None) -> None:
        """Enter the last state: the supervisor has stopped, or never became ready."""
        with self._lock:
            self.state = state
            self.broken_because, self.waiting_because = reason, None
