"""The client's own thread: it sends the heartbeat while nobody reads, reads while only submitted calls wait, and
collects the host's log.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Collection
from time import monotonic

from procvision_runner.connection.call_table import Exchange
from procvision_runner.connection.pending_call import Pending
from procvision_runner.connection.receiver import Hearing
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess


class Attendant:
    """Woken by the host's stderr, by its end, by `wake`, and when a deadline is due."""

    def __init__(
        self,
        process: HostProcess,
        exchange: Exchange,
        hearing: Hearing,
        log: HostLog,
        *,
        give_up: Callable[[Pending], None],
    ) -> None:
        self._process = process
        self._exchange = exchange
        exchange.attendant = self
        self._hearing = hearing
        self._log = log
        self._give_up = give_up
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closed = False
        self._thread = threading.Thread(target=self._live, name="procvision-attendant", daemon=True)
        self._stops = self._replaced = False
        self.exit_seen = False
        """Whether the process has ended, or is about to: somebody has to read to the end of its frames."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Has it look at once."""
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake_write, b"\n")

    def leave(self) -> None:
        """Has the thread end."""
        self._stops = True
        self.wake()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread's end, at most so long."""
        self._thread.join(timeout_s)

    def is_any_of(self, threads: Collection[int]) -> bool:
        """Whether its thread is among those of these identifiers."""
        return self._thread.ident in threads

    def replaced(self) -> Attendant:
        """Another in its place, that has started: this one is held up, and leaves as soon as it isn't any more."""
        self._replaced = True
        self.leave()
        other = Attendant(self._process, self._exchange, self._hearing, self._log, give_up=self._give_up)
        other.exit_seen = self.exit_seen
        other.start()
        return other

    def close(self) -> None:
        """Gives its descriptors back."""
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _live(self) -> None:
        try:
            self._attend()
        finally:
            if self._replaced:
                self.close()

    def _attend(self) -> None:
        process = self._process
        quiet, leading = select.poll(), select.poll()
        for poller in (quiet, leading):
            poller.register(self._wake_read, select.POLLIN)
            poller.register(process.stderr, select.POLLIN)
            poller.register(process.pidfd, select.POLLIN)
        leading.register(process.stdout, select.POLLIN)
        while not self._stops:
            leads = self._leads()
            ready = dict((leading if leads else quiet).poll(self._patience_ms()))
            if ready.get(self._wake_read):
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            if ready.get(process.stderr):
                self._log.read()
                if self._log.ended:
                    for poller in (quiet, leading):
                        poller.unregister(process.stderr)
            if ready.get(process.pidfd):
                # Its last frames may still be in the pipe: somebody has to read to their end, which what it left
                # behind must not put off.
                self.exit_seen = True
                process.kill_tree()
                for poller in (quiet, leading):
                    poller.unregister(process.pidfd)
            leads = leads and self._exchange.leader is self
            if leads and ready.get(process.stdout):
                self._hearing.read()
                if self._exchange.end is not None:
                    leading.unregister(process.stdout)
            self._hearing.tick()
            for pending in self._exchange.overdue_calls(monotonic()):
                self._give_up(pending)
            if leads and self._exchange.leader is self:
                # Whether a caller leads now, or this thread goes on, the loop's next turn shows.
                self._exchange.stop_leading()

    def _leads(self) -> bool:
        exchange = self._exchange
        with exchange.lock:
            needed = (
                exchange.submitted > 0
                or exchange.overdue > 0
                or self._hearing.pong_awaited
                or self.exit_seen
                or exchange.stopping
            )
            if not needed or exchange.leader is not None or exchange.end is not None:
                return False
            exchange.leader = self
            return True

    def _patience_ms(self) -> float | None:
        deadline = self._exchange.next_deadline()
        return None if deadline is None else max(0.0, deadline - monotonic()) * 1000 + 1
