"""Runs foreign code that only observes. What it raises, and how long it takes, concerns nothing else."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread, current_thread
from time import monotonic
from typing import Any

from procvision_host.hooks.selection import IsolationPolicy
from procvision_host.logs import HOST_LOGGER

MAX_WAITING_EVENTS = 4096
"""How much a plugin that hangs may keep in memory: some megabytes of answers, minutes of a busy station."""
MAX_WAITING_BYTES = 128 * 1024 * 1024
"""The same where answers are large, as of an algorithm that is out to fill the memory: two of the longest frames."""

GATHER_S = 0.005
"""How long a thread that was woken gathers events before it looks at them: to wake it costs more than an event."""

_log = logging.getLogger(HOST_LOGGER)


class Isolation:
    """Runs one plugin's observers, or its wrapper. Counts and names failures, and at last switches the plugin off."""

    __slots__ = ("_in_a_row", "_policy", "_slow_s", "_what", "failures", "name", "off", "slow")

    def __init__(self, name: str, what: str, policy: IsolationPolicy) -> None:
        self.name = name
        self._what = what
        self._policy = policy
        self._slow_s = policy.slow_ms / 1000
        self._in_a_row = 0
        self.failures = 0
        self.slow = 0
        self.off = False

    def run(self, hook: str, function: Callable[[], Any], *, slow_fails: bool = False, whole: bool = True) -> Any:
        """Return what the function returns; None if it raised. Never raises.

        If the function is only a part of the work, its success doesn't end a row of failures.
        """
        began = monotonic()
        try:
            given = function()
        except BaseException as error:  # noqa: BLE001 - foreign code, SystemExit included
            self.failed(hook, f"raised {type(error).__name__}", error)
            return None
        took = monotonic() - began
        if took > self._slow_s:
            self._was_slow(hook, took, fails=slow_fails)
        elif whole:
            self._in_a_row = 0
        return given

    def failed(self, hook: str, what: str, error: BaseException | None = None) -> None:
        """Count a failure. The last that is allowed switches the plugin off."""
        self.failures += 1
        self._in_a_row += 1
        if _worth_a_line(self.failures):
            _log.error(
                "hook plugin %s: %s %s (failure %d); it changes nothing",
                self.name, hook, what, self.failures, exc_info=error,
            )  # fmt: skip
        if self._in_a_row >= self._policy.max_failures and not self.off:
            self.off = True
            limit = self._policy.max_failures
            _log.error("hook plugin %s: its %s is switched off: %d failures in a row", self.name, self._what, limit)

    def _was_slow(self, hook: str, took_s: float, *, fails: bool) -> None:
        self.slow += 1
        took_ms = took_s * 1000
        if fails:
            self.failed(hook, f"held the call up for {took_ms:.0f} ms")
            return
        self._in_a_row = 0
        if _worth_a_line(self.slow):
            _log.warning(
                "hook plugin %s is slow: %s took %.0f ms (time %d that it took more than %g)",
                self.name, hook, took_ms, self.slow, self._policy.slow_ms,
            )  # fmt: skip


class Observer:
    """One plugin's observing functions, on a thread of their own that begins with the first event."""

    def __init__(self, isolation: Isolation, functions: Mapping[str, Callable[..., None]]) -> None:
        self._isolation = isolation
        self._functions = functions
        self._events: deque[tuple[str, Callable[[], dict[str, Any]], int]] = deque()
        self._bytes = 0
        self._counting = Lock()
        self._thread: Thread | None = None
        self._starting = Lock()
        self._wanted = Event()
        self._sleeps = False
        self._ending = Event()
        self.lost = 0

    @property
    def name(self) -> str:
        """The name of the plugin."""
        return self._isolation.name

    def listens(self, hook: str) -> bool:
        """Tell whether there is a function for this hook."""
        return hook in self._functions

    def tell(self, hook: str, arguments: Callable[[], dict[str, Any]], size: int = 0) -> None:
        """Hand an event over and return at once. `arguments` is called on the thread, for a copy of the plugin's own.

        `size` is how many bytes it holds until then. An event that finds the queue full is lost, counted and named.
        """
        if self._isolation.off:
            return
        if len(self._events) >= MAX_WAITING_EVENTS or self._bytes + size > MAX_WAITING_BYTES:
            self.lost += 1
            if _worth_a_line(self.lost):
                _log.error(
                    "hook plugin %s doesn't keep up: %d wait with %d bytes, %d are lost",
                    self.name, len(self._events), self._bytes, self.lost,
                )  # fmt: skip
            return
        if size:
            self._waits(size)
        self._events.append((hook, arguments, size))
        if self._sleeps:
            self._wanted.set()
        elif self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:  # the loop's threads and those that log may all be the first to tell
            if self._thread is None:
                self._thread = Thread(target=self._run, name=f"{THREAD_PREFIX}{self.name}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            ending = self._ending.wait(GATHER_S)
            while self._events:
                hook, arguments, size = self._events[0]
                self._see(hook, arguments)
                self._events.popleft()
                if size:
                    self._waits(-size)
            if ending:
                return
            self._wanted.clear()
            self._sleeps = True
            # Looked at once more: what was told in between has seen nobody asleep.
            if not self._events and not self._ending.is_set():
                self._wanted.wait()
            self._sleeps = False

    def _waits(self, size: int) -> None:
        with self._counting:
            self._bytes += size

    def _see(self, hook: str, arguments: Callable[[], dict[str, Any]]) -> None:
        if self._isolation.off:
            return
        function = self._functions[hook]
        self._isolation.run(hook, lambda: function(**arguments()))

    def end(self, timeout_s: float) -> None:
        """Wait until every event was seen, `timeout_s` at most. Events that were not are lost, counted and named."""
        if self._thread is None:
            return
        self._ending.set()
        self._wanted.set()
        self._thread.join(max(0.0, timeout_s))
        if self._thread.is_alive():
            lost = self.lost + len(self._events)
            _log.error("hook plugin %s did not end in time: %d events are lost", self.name, lost)
        elif self._isolation.failures or self.lost:
            _log.warning(
                "hook plugin %s failed %d times and lost %d events", self.name, self._isolation.failures, self.lost
            )


THREAD_PREFIX = "procvision-hook-"


def on_observers_thread() -> bool:
    """Tell whether a hook plugin's observer runs on this thread: what it logs isn't told to observers."""
    return current_thread().name.startswith(THREAD_PREFIX)


def _worth_a_line(count: int) -> bool:
    # The first ten, then each power of two: a plugin that always fails doesn't fill the log.
    return count <= 10 or count & (count - 1) == 0
