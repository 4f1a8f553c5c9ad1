"""Writes whole frames into a host's stdin. A write waits until its deadline at most, whatever the host does."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from procvision_runner.connection.pending_call import PendingCall
from procvision_runner.process.host_process import HostProcess

KEPT_FRAMES = 32
"""How many of the last reads and writes are kept for a crash report."""
KEPT_FRAME_BYTES = 4096
"""How much of each is kept."""
_WRITE_SLICE_S = 0.1
"""How often a blocked write looks at `given_up`."""

Record = deque[tuple[float, str, bytes]]
"""The last bytes that went "out" and came "in", each with its monotonic time."""


class Writer:
    """Any thread may write. A frame goes out whole before the next one."""

    __slots__ = ("_before_waiting", "_closed", "_process", "_record", "given_up", "lock", "torn")

    def __init__(
        self, process: HostProcess, record: Record, before_waiting: Callable[[PendingCall | None], None]
    ) -> None:
        self._process = process
        self._before_waiting = before_waiting
        """Called with the frame's call when a frame has to wait."""
        self._record = record
        self.lock = threading.Lock()
        self._closed = False
        self.torn = False
        """Whether only a part of a frame went out: no other frame can follow it."""
        self.given_up = False
        """Set to make blocked writes end."""

    def write(self, frame: bytes, now: float, deadline: float, pending: PendingCall | None = None) -> bool:
        """Write a whole frame; `pending` is its call, if it is one.

        Return False if the host doesn't take it by the deadline: then the frame may be torn.
        """
        lock = self.lock
        if not lock.acquire(blocking=False):
            # The thread that holds it may be blocked by a host that doesn't read.
            self._before_waiting(pending)
            left = deadline - time.monotonic()
            if not lock.acquire(timeout=max(0.0, min(left, threading.TIMEOUT_MAX))):
                return False
        try:
            if self._closed:
                return True
            self._record.append((now, "out", frame[:KEPT_FRAME_BYTES]))
            try:
                written = os.write(self._process.stdin, frame)
            except BlockingIOError:
                written = 0
            except OSError:
                return True  # The host is gone: the leader learns of it with the cause.
            if written == len(frame):
                return True
            self._before_waiting(pending)
            return self._write_rest(frame, written, deadline)
        finally:
            lock.release()

    def finish(self, frame: bytes, written: int, deadline: float, pending: PendingCall) -> bool:
        """Write the rest of a frame, as `write`. The lock is held by this thread, and released here."""
        try:
            self._before_waiting(pending)
            return self._write_rest(frame, written, deadline)
        finally:
            self.lock.release()

    def _write_rest(self, frame: bytes, written: int, deadline: float) -> bool:
        poller = select.poll()
        poller.register(self._process.stdin, select.POLLOUT)
        while written < len(frame):
            left = deadline - time.monotonic()
            if left <= 0 or self.given_up:
                self.torn = written > 0
                return False
            if poller.poll(min(left, _WRITE_SLICE_S) * 1000):
                try:
                    written += os.write(self._process.stdin, memoryview(frame)[written:])
                except BlockingIOError:
                    continue
                except OSError:
                    return True
        return True

    def close(self, release: Callable[[], None]) -> None:
        """Write nothing from here on. `release` runs while no thread writes."""
        with self.lock:
            self._closed = True
            release()
