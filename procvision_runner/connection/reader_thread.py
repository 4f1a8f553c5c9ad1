"""The client's own thread. It sends the heartbeat while no caller reads, reads while only submitted calls wait, and
collects the host's log.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Collection
from time import monotonic

from procvision_runner.connection.call_table import CallTable
from procvision_runner.connection.pending_call import PendingCall
from procvision_runner.connection.receiver import Receiver
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess


class ReaderThread:
    """Wakes when the host writes to stderr, when it ends, when a deadline is due, and when `wake` is called."""

    def __init__(
        self,
        process: HostProcess,
        table: CallTable,
        receiver: Receiver,
        log: HostLog,
        *,
        give_up: Callable[[PendingCall], None],
        outlived: Callable[[], None],
    ) -> None:
        self._process = process
        self._table = table
        self._leadership = table.leadership
        table.leadership.reader_thread = self
        self._receiver = receiver
        self._log = log
        self._give_up = give_up
        self._outlived = outlived
        self.leaves_by: float | None = None
        """When a host that has sent its last frame has to be gone; `outlived` is called of one that isn't."""
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="procvision-reader", daemon=True)
        self._stops = self._replaced = False
        self.exit_seen = False
        """Whether the process has ended or is about to: its last frames have to be read."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Wake the thread."""
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake_write, b"\n")

    def leave(self) -> None:
        """Make the thread end."""
        self._stops = True
        self.wake()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def is_any_of(self, threads: Collection[int]) -> bool:
        """Tell whether the thread is among those with these identifiers."""
        return self._thread.ident in threads

    def replaced(self) -> ReaderThread:
        """Start another thread in place of this one, which is held up, and leaves as soon as it is not any more."""
        self._replaced = True
        self.leave()
        other = ReaderThread(
            self._process, self._table, self._receiver, self._log, give_up=self._give_up, outlived=self._outlived
        )
        other.exit_seen, other.leaves_by = self.exit_seen, self.leaves_by
        other.start()
        return other

    def close(self) -> None:
        """Close the descriptors."""
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            if self._replaced:
                self.close()

    def _serve(self) -> None:
        process = self._process
        idle, leading = select.poll(), select.poll()
        for poller in (idle, leading):
            poller.register(self._wake_read, select.POLLIN)
            poller.register(process.stderr, select.POLLIN)
            poller.register(process.pidfd, select.POLLIN)
        leading.register(process.stdout, select.POLLIN)
        while not self._stops:
            leads = self._table.lead_from_reader_thread(self, needed=self._receiver.pong_awaited or self.exit_seen)
            ready = dict((leading if leads else idle).poll(self._patience_ms()))
            if ready.get(self._wake_read):
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            if ready.get(process.stderr):
                self._log.read()
                if self._log.ended:
                    for poller in (idle, leading):
                        poller.unregister(process.stderr)
            if ready.get(process.pidfd):
                # Its last frames may still be in the pipe. They have to be read to their end, and the processes that
                # it left behind must not put that end off.
                self.exit_seen = True
                process.kill_tree()
                for poller in (idle, leading):
                    poller.unregister(process.pidfd)
            leads = leads and self._leadership.leader is self
            if leads and ready.get(process.stdout):
                self._receiver.read()
                if self._table.end is not None:
                    leading.unregister(process.stdout)
            self._receiver.tick()
            for pending in self._table.overdue_calls(monotonic()):
                self._give_up(pending)
            self._look_whether_it_left()
            if leads and self._leadership.leader is self:
                # The next turn of the loop shows whether a caller leads now or this thread goes on.
                self._table.hand_over(self)

    def _look_whether_it_left(self) -> None:
        if self.leaves_by is not None and monotonic() >= self.leaves_by:
            self.leaves_by = None
            self._outlived()

    def _patience_ms(self) -> float | None:
        deadlines = [at for at in (self._table.next_deadline(), self.leaves_by) if at is not None]
        return max(0.0, min(deadlines) - monotonic()) * 1000 + 1 if deadlines else None
