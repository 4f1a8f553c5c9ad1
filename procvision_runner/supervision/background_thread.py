"""One thread that runs errands: what others may not wait for, and what is to be looked at by the clock.

What others notice comes as tasks, done in their order; duties are asked after each and whenever they wished to be.
Neither can end the thread: whoever waits for it must not wait for ever. It begins with the first task.
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
"""Does what is due at an instant; returns in how many seconds it wants to be asked again, None for after a task."""


class Errands:
    """`name` is the thread's; `on_failure` is told of an exception that a task or duty raised."""

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
        """Has it done soon, never blocks; False if the thread has been stopped and nobody will do it."""
        with self._lock:
            if self._stopped:
                return False
            self._inbox.put(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            return True

    def look(self) -> None:
        """Has the duties asked soon."""
        self.do(_nothing)

    def stop(self, timeout_s: float | None = None) -> None:
        """Waits until what came before is done, unless this is the errands' own thread, and ends it."""
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
            _log.exception("an errand of %s failed", self._name)
            if self._on_failure is not None:
                self._on_failure(error)

    def _asked(self, duty: Duty, now: float) -> float | None:
        wish: list[float | None] = [None]

        def ask() -> None:
            wish[0] = duty(now)

        self._guarded(ask)
        return wish[0]


def _nothing() -> None:
    """The task of whoever only wants the duties asked."""
