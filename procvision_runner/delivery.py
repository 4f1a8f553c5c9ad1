"""Takes what happens on any thread to foreign code, on a thread of its own.

Listeners are told in order. One that is slow, blocks or raises holds nothing up but itself; what isn't taken in time is
dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_log = logging.getLogger("procvision.runner")

T = TypeVar("T")

MAX_BACKLOG = 10_000
"""How much waits for slow listeners: some seconds of a line at full speed."""


class Delivery(Generic[T]):
    """Tells listeners on a thread, which starts with the first thing to tell."""

    __slots__ = ("__weakref__", "_changed", "_closed", "_listeners", "_thread", "_thread_name", "_waiting", "dropped")

    def __init__(self, listeners: tuple[Callable[[T], None], ...], thread_name: str) -> None:
        self.dropped = 0
        """How much was dropped, since the listeners did not take it in time."""
        self._listeners = listeners
        self._thread_name = thread_name
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def heard(self) -> bool:
        """Whether there is a listener."""
        return bool(self._listeners)

    def add(self, listener: Callable[[T], None]) -> None:
        """Tell this listener, too, from now on."""
        with self._changed:
            self._listeners = (*self._listeners, listener)

    def emit(self, told: T) -> bool:
        """Tell something, without blocking and without raising. Return whether listeners will hear it."""
        if not self._listeners:
            return False
        with self._changed:
            if self._closed:
                return False
            if len(self._waiting) >= MAX_BACKLOG:
                self.dropped += 1
                return False
            self._waiting.append(told)
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, name=self._thread_name, daemon=True)
                self._thread.start()
            self._changed.notify()
            return True

    def _deliver(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                told = self._waiting.popleft()
            for listener in self._listeners:
                try:
                    listener(told)
                except BaseException:  # noqa: BLE001 - foreign code: not even its SystemExit ends this thread
                    _log.exception("a listener raised at %.200r", told)

    def close(self, timeout_s: float = 2.0) -> None:
        """Deliver what waits, then end the thread. A listener that blocks is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
