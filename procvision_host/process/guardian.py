"""The guardian: the process that was launched. Its child is the reaper, whose child is the host.

It runs nothing of a vendor's, so it can be relied on when the host can't be: it brings stray output and crash
traces into the log's form, never lets a reader of stderr that has stopped reading stop the host, passes on
SIGTERM and SIGINT, and sees to the end: when the runner is gone or the drain takes too long the host is killed,
and whatever it started goes with it. Then it leaves with the host's own exit status or signal. The runner's end is
seen by a process descriptor where it handed one on: a fork of the runner may hold the pipes as long as it likes.
Warning: it is forked before anything is imported and stays small: it uses little of the standard library, and nothing
else, since it is started beside the cell, often on the same core.
"""

from __future__ import annotations

import os
import select
import sys
import time

from procvision_host import exits
from procvision_host.process.channels import DRAIN_NOTICE, DRAIN_REQUEST, GuardianEnds
from procvision_host.process.known_state import LEAVING_SIGNALS, hear_signals
from procvision_host.process.linux import Orphans, ended_children, kill_descendants
from procvision_host.process.output_relay import Relay, record
from procvision_host.process.reaper import leave_as
from procvision_host.process.shared_page import SharedPage
from procvision_host.process.watchdog import END_TIME_S, Bite, Watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence
    from typing import NoReturn

    from procvision_host.halves.host_half import HostHalf
    from procvision_host.halves.ring import Ring
else:  # without the enumerations of `signal`, which take longer than all the rest
    import _signal

FLUSH_PATIENCE_S = 1.0
"""How long a leaving guardian waits for a reader to take a piece of the last lines."""
FLUSH_TIME_S = 5.0
"""How long for all of them; END_TIME_S where the host didn't leave in its time."""
ORPHANS_WAIT_S = 30.0
"""So long a child that ended may wait for its parent."""


class Guardian:
    """The loop that watches one host until it is gone."""

    def __init__(
        self,
        reaper: int,
        reaper_fd: int,
        ends: GuardianEnds,
        board: SharedPage,
        half: HostHalf | None,
        drain_timeout_s: float,
        *,
        strict: bool,
    ) -> None:
        self._reaper = reaper
        self._reaper_fd = reaper_fd
        """What the reaper is sent it passes on to the host; SIGKILL ends both."""
        self._half = half
        self._orphans = Orphans(ORPHANS_WAIT_S)
        self._ends = ends
        self._board = board
        self._relay = Relay(ends, board, half, strict=strict)
        self._watchdog = Watchdog(drain_timeout_s)
        self._status: int | None = None
        self._poller = select.poll()

    def run(self) -> NoReturn:
        """Watch the host, clean up after it, and leave as it left."""
        signals = _listen_for_signals()
        for descriptor in (signals, self._ends.notices, *self._relay.descriptors):
            self._poller.register(descriptor, select.POLLIN)
        # No event but the hang-up, which comes when every writer of the runner's pipe is gone.
        self._poller.register(self._ends.stdin, 0)
        if self._ends.runner >= 0:
            self._poller.register(self._ends.runner, select.POLLIN)
        self._reap()
        if self._half is not None:
            self._half.start()
        while self._status is None:
            self._round(signals)
        self._finish(self._status)

    def _round(self, signals: int) -> None:
        ready = self._wait()
        if ready.get(signals):
            self._on_signals(os.read(signals, 256))
        now = time.monotonic()
        self._watch_for_drain(ready, now)
        for descriptor in self._relay.descriptors:
            if ready.get(descriptor):
                try:
                    self._relay.take(descriptor, now)
                except BlockingIOError:
                    continue  # The algorithm has taken it out again.
        self._relay.report(now)
        self._obey(self._watchdog.bite(now))
        self._reap()

    def _wait(self) -> dict[int, int]:
        """Return the descriptors that are ready. Stderr, watched only while something waits, is served already."""
        out = self._relay.out
        deadlines = [at for at in (self._relay.due, self._watchdog.deadline) if at is not None]
        patience_ms = max(5.0, (min(deadlines) - time.monotonic()) * 1000) if deadlines else None
        if not out.waiting:
            return dict(self._poller.poll(patience_ms))
        self._poller.register(out.descriptor, select.POLLOUT)
        ready = dict(self._poller.poll(patience_ms))
        self._poller.unregister(out.descriptor)
        if ready.get(out.descriptor):
            out.write_some()
        return ready

    # --- asked to leave -------------------------------------------------------------------------------------

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in LEAVING_SIGNALS:
                self._ask_to_leave(time.monotonic())
            elif number == _signal.SIGQUIT:
                self._signal_host(_signal.SIGQUIT)

    def _ask_to_leave(self, now: float) -> None:
        try:
            os.write(self._ends.control, DRAIN_REQUEST)
        except OSError:
            pass  # It is full: then it was asked already.
        self._watchdog.drain_began(now)

    def _watch_for_drain(self, ready: dict[int, int], now: float) -> None:
        ends = self._ends
        if ready.get(ends.stdin):
            # The host sees the end of its stdin too; this is for one that can't look any more.
            self._poller.unregister(ends.stdin)
            self._watchdog.drain_began(now)
        if ready.get(ends.runner):
            # A process that still holds its pipes is a fork of it, and speaks for nobody.
            self._poller.unregister(ends.runner)
            self._ask_to_leave(now)
        if ready.get(ends.notices):
            notices = _read(ends.notices)
            if self._half is not None:
                self._half.wake()
            if DRAIN_NOTICE in notices:
                self._watchdog.drain_began(now)
                if self._board.leave_within_ms:
                    self._watchdog.leave_within(self._board.leave_within_ms / 1000, now)

    def _obey(self, bite: Bite | None) -> None:
        if bite is Bite.DUMP:
            limit_s = f"{self._watchdog.limit_s:.3g}"
            text = f"the host still runs and may take {limit_s} s from when it began to drain: its stacks, then the end"
            self._relay.say("error", text, request_id=self._board.call[1])
            self._signal_host(_signal.SIGQUIT)
        elif bite is Bite.KILL:
            self._signal_host(_signal.SIGKILL)

    def _signal_host(self, number: int) -> None:
        try:
            _signal.pidfd_send_signal(self._reaper_fd, number)
        except ProcessLookupError:
            pass  # It has ended.

    # --- the end --------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Collect every child that ended, also the host.

        Where hook plugins run in this process, children of theirs are theirs to collect: orphans wait for a while.
        """
        if self._half is not None:
            for orphan in self._orphans.to_collect(time.monotonic(), ended_children) - {self._reaper}:
                try:
                    os.waitpid(orphan, os.WNOHANG)
                except ChildProcessError:
                    continue
        which = -1 if self._half is None else self._reaper
        while True:
            try:
                process_id, status = os.waitpid(which, os.WNOHANG)
            except ChildProcessError:
                return
            if not process_id:
                return
            if process_id == self._reaper:
                self._status = status

    def _finish(self, status: int) -> NoReturn:
        kill_descendants()
        code = os.waitstatus_to_exitcode(status)
        if self._half is not None:
            self._half.end(code if code >= 0 and self._board.left_by_itself else None)
        self._relay.finish("error" if code < 0 else None)
        code = exits.ALGORITHM_FAILED if self._watchdog.killed else self._told_end(code)
        self._relay.out.flush(FLUSH_PATIENCE_S, END_TIME_S if self._watchdog.killed else FLUSH_TIME_S)
        leave_as(code)

    def _told_end(self, code: int) -> int:
        """Log how the host ended, unless it ended of its own will. Return the exit status that follows from it."""
        number, request_id = self._board.call
        during = f" while it executed call {number}" if number else ""
        if code < 0:
            text = f"the host was ended by {_signal_name(-code)}{during}"
            self._relay.say("error", text, request_id=request_id)
        elif not self._board.left_by_itself:
            text = f"the algorithm ended the process with status {code}{during}"
            self._relay.say("error", text, request_id=request_id)
            return exits.ALGORITHM_FAILED
        return code


def _read(notices: int) -> bytes:
    try:
        return os.read(notices, 64)
    except BlockingIOError:
        return b""  # The algorithm has taken it out again.


def _listen_for_signals() -> int:
    """Return a descriptor from which the numbers of signals can be read as bytes."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    os.set_blocking(read, False)
    _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (*LEAVING_SIGNALS, _signal.SIGCHLD, _signal.SIGQUIT):
        _signal.signal(number, lambda *_: None)
    hear_signals()
    return read


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal


def guard(
    reaper: int,
    ends: GuardianEnds,
    board: SharedPage,
    arguments: Sequence[str],
    ring: Ring | None,
    drain_timeout_s: float,
    platform_python: str | None,
    *,
    strict: bool,
) -> NoReturn:
    """Run the guardian of the host behind `reaper`. Never returns, whatever goes wrong in here.

    `arguments` are the command line's, for a host half that does more, which it does if there is a `ring`. Its packages
    are those of `platform_python`, where the algorithm has an environment of its own. `strict` is the isolation's.
    """
    reaper_fd = os.pidfd_open(reaper)
    try:
        half = None
        if ring is not None and ends.private is not None:
            from procvision_host.process.packages import add_folders

            add_folders(platform_python or sys.executable)
            from procvision_host.halves.host_half import HostHalf

            half = HostHalf(arguments, reaper_fd, ends.private, ring)
        Guardian(reaper, reaper_fd, ends, board, half, drain_timeout_s, strict=strict).run()
    except BaseException as error:  # noqa: BLE001 - a guardian that fails takes its host along
        try:
            os.write(ends.stderr, record("error", f"the guardian failed: {error!r}"))
        except OSError:
            pass
        try:
            _signal.pidfd_send_signal(reaper_fd, _signal.SIGKILL)
        except OSError:
            pass
        kill_descendants()
        os._exit(exits.ALGORITHM_FAILED)
