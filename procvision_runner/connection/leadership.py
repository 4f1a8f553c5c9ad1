"""Who reads what the host says: one thread at a time, the *leader*.

A caller that waits for its answer leads, so one caller at a time, the common case, needs no hand-over between threads.
The client's own reader thread leads while only submitted calls wait. `TRANSITIONS` says who may become the leader, and
when that ends. What does not stand in the table does not happen.
Warning: not thread-safe. `CallTable` holds its lock around every method here, except where the method says otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

_NO_THREAD = object()


class Reading(StrEnum):
    """Who reads."""

    NOBODY = "nobody"
    """No thread waits for the host: what it says stays in the pipe."""
    HANDSHAKE = "handshake"
    """The thread that starts the client."""
    CALLER = "caller"
    """The thread of a call that waits for its answer."""
    READER_THREAD = "reader_thread"
    """The client's own thread."""
    ENDED = "ended"
    """Nobody any more: the host has ended."""


class ReadingEvent(StrEnum):
    """What changes who reads."""

    GREETING = "greeting"
    """The client begins to wait for the host's hello."""
    CALL = "call"
    """A caller waits for its answer."""
    NESTED_CALL = "nested_call"
    """A Future's callback, on the thread that reads, makes a call and waits for its answer."""
    READER_NEEDED = "reader_needed"
    """Something waits for the host, and no caller does."""
    ANSWERED = "answered"
    """The leading caller has its answer, and no other call is on its way."""
    HANDED_OVER = "handed_over"
    """The leader stops, so that another can read."""
    HELD_UP = "held_up"
    """The leader runs a callback while the client stops: the stop needs another to read."""
    HOST_ENDED = "host_ended"
    """The end of the host is known."""


_R, _E = Reading, ReadingEvent

TRANSITIONS: Mapping[Reading, Mapping[ReadingEvent, Reading]] = MappingProxyType(
    {
        _R.NOBODY: {
            _E.GREETING: _R.HANDSHAKE,
            _E.CALL: _R.CALLER,
            _E.READER_NEEDED: _R.READER_THREAD,
            _E.HOST_ENDED: _R.ENDED,
        },
        _R.HANDSHAKE: {
            _E.HANDED_OVER: _R.NOBODY,
            _E.HOST_ENDED: _R.ENDED,
        },
        _R.CALLER: {
            _E.ANSWERED: _R.NOBODY,
            _E.HANDED_OVER: _R.NOBODY,
            _E.NESTED_CALL: _R.CALLER,
            _E.HELD_UP: _R.NOBODY,
            _E.HOST_ENDED: _R.ENDED,
        },
        _R.READER_THREAD: {
            _E.HANDED_OVER: _R.NOBODY,
            _E.NESTED_CALL: _R.CALLER,
            _E.HELD_UP: _R.NOBODY,
            _E.HOST_ENDED: _R.ENDED,
        },
        _R.ENDED: {},
    }
)


_Steps: TypeAlias = dict[ReadingEvent, tuple[Reading, "_Steps"]]


def _steps() -> Mapping[Reading, _Steps]:
    """Return the table with each state's own row beside it: what a call looks up twice."""
    rows: dict[Reading, _Steps] = {state: {} for state in TRANSITIONS}
    for state, ways in TRANSITIONS.items():
        rows[state].update({event: (target, rows[target]) for event, target in ways.items()})
    return rows


TRANSITION_STEPS = _steps()


class Leadership:
    """The current leader, and the threads that run Futures' callbacks."""

    __slots__ = ("_steps", "callbacks", "leader", "reader_thread", "state")

    def __init__(self) -> None:
        self.state = Reading.NOBODY
        self.leader: object | None = None
        """A leading caller's `PendingCall`, the reader thread, or another's token. None where nobody leads."""
        self.reader_thread: object = _NO_THREAD
        """The token of the reader thread that serves now."""
        self.callbacks: dict[int, object | None] = {}
        """The identifiers of the threads that run callbacks, each with the leader that it was then, if it was one."""
        self._steps = TRANSITION_STEPS[self.state]

    def follow(self, event: ReadingEvent, leader: object | None = None) -> bool:
        """Follow the table. Return False, and change nothing, where the state has no such event."""
        step = self._steps.get(event)
        if step is None:
            return False
        self.state, self._steps = step
        self.leader = leader
        return True

    def lead(self, caller: object) -> bool:
        """Make a caller the leader. Return False if it has to wait for another thread that reads."""
        if self.follow(_E.CALL, caller):
            return True
        # This thread may lead already, as another caller or as the reader thread, and be in a callback now.
        leads_already = self.leader is not None and self.callbacks.get(threading.get_ident()) is self.leader
        return leads_already and self.follow(_E.NESTED_CALL, caller)

    def stop(self, leader: object) -> bool:
        """End the lead of `leader`. Return False if it does not lead any more."""
        return self.leader is leader and self.follow(_E.HANDED_OVER)

    def free(self, held_up: object | None) -> bool:
        """End the lead of a thread that runs a callback, or of `held_up`. Return False if no such thread leads."""
        if self.leader is None or (self.leader is not held_up and self.leader not in self.callbacks.values()):
            return False
        return self.follow(_E.HELD_UP)

    def enter_callbacks(self, *, reading: bool) -> bool:
        """Note that this thread runs callbacks; `reading` if it leads. Needs no lock.

        Return False if it runs callbacks already: the outermost call of this is the one that `leave_callbacks` ends.
        """
        thread = threading.get_ident()
        if thread in self.callbacks:
            return False
        self.callbacks[thread] = self.leader if reading else None
        return True

    def leave_callbacks(self) -> None:
        """Note that this thread runs no callback any more. Needs no lock."""
        del self.callbacks[threading.get_ident()]
