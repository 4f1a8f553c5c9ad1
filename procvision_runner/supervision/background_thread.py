"""One thread for what others must not wait for, and for what is due by the clock.

Tasks are done in the order in which they come. Duties are called after each task, and when they asked to be. Neither
can end the thread by an exception: others wait for it. It begins with the first task.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

_log = logging.getLogger("procvision.runner")

Task: TypeAlias = Callable[[], None]
Duty: TypeAlias = Callable[[float], float | None]
"""Does what is due at a time. Returns the seconds until it is called again; None to be called after the next task."""


class BackgroundThread:
    """A thread with tasks and duties. `on_failure` gets each exception that one of them raised."""

    def __init__(
        self, name: str, duties: tuple[Duty, ...], on_failure: Callable[[Exception], None] | None = None
    ) -> None:
        self._name = name
        self._duties = duties
        self._on_failure = on_failure
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def do(self, task: Task) -> bool:
        """Run a task soon on the thread, without waiting for it. Return False if the thread was stopped."""
        with self._lock:
            if self._stopped:
                return False
            self._inbox.put(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            return True

    def look(self) -> None:
        """Call the duties soon."""
        self.do(_nothing)

    def stop(self, timeout_s: float | None = None) -> None:
        """End the thread after the tasks before this call. Wait for that, unless this is the thread itself."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._inbox.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        patience_s: float | None = None
        while True:
            try:
                task = self._inbox.get(timeout=patience_s)
            except queue.Empty:
                task = _nothing
            if task is None:
                return
            self._guarded(task)
            now = time.monotonic()
            wishes = [wish for duty in self._duties if (wish := self._asked(duty, now)) is not None]
            patience_s = max(0.0, min(wishes)) if wishes else None

    def _guarded(self, task: Task) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - callers must not wait for a thread that has gone
            _log.exception("a task of %s failed", self._name)
            if self._on_failure is not None:
                self._on_failure(error)

    def _asked(self, duty: Duty, now: float) -> float | None:
        wish: list[float | None] = [None]

        def ask() -> None:
            wish[0] = duty(now)

        self._guarded(ask)
        return wish[0]


def _nothing() -> None:
    """Do nothing: the task that only makes the thread call its duties."""
