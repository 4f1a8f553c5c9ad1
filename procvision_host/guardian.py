"""The guardian: the process that was launched, and the parent of the host.

It runs nothing of a vendor's, so it can be relied on when the host can't be: it brings stray output and crash
traces into the log's form, never lets a reader of stderr that has stopped reading stop the host, passes on
SIGTERM and SIGINT, and sees to the end: when the runner is gone or the drain takes too long the host is killed,
and whatever it started goes with it. Then it leaves with the host's own exit status or signal.
Warning: it is forked before anything is imported and stays small; it uses the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import time
from typing import NoReturn

from procvision_host import exits
from procvision_host.board import Board
from procvision_host.channels import DRAIN_REQUEST, GuardianEnds
from procvision_host.system import kill_descendants, take_in_orphans

DRAIN_LIMIT_S = 10.0
"""The protocol's watchdog: so long after it began to drain a host is gone, whatever still runs."""
DUMP_TIME_S = 0.3
"""How long a hung host gets to write its stacks before it is killed."""
STRAY_QUIET_S = 0.05
"""Stray output is put into one record once it paused for so long, or its call ended."""
STRAY_RECORD_BYTES = 4096
"""How much of one call's stray output a record shows; the rest is counted."""
MAX_BACKLOG_BYTES = 1024 * 1024
"""How much waits for a stderr that nobody reads; further lines are counted and dropped."""
FLUSH_TIME_S = 1.0
"""How long a leaving guardian waits for a reader to take the last lines."""

_CHUNK = 65536
_PIPE_BUF = select.PIPE_BUF
"""A poll that says a pipe is writable promises room for so many bytes."""


class Backlog:
    """Lines on their way to stderr, never more than a bound; written only as far as no write can block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._dropped = 0
        self.broken = False

    def add(self, line: bytes) -> None:
        """One line, its newline included."""
        if self.broken:
            return
        if len(self._waiting) + len(line) > MAX_BACKLOG_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._waiting += record("warning", f"{dropped} log lines were dropped: stderr was not read")
        self._waiting += line

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting)

    def write_some(self) -> None:
        """Writes a piece; to be called when the descriptor was found writable."""
        try:
            written = os.write(self._descriptor, self._waiting[:_PIPE_BUF])
        except OSError:
            # Nobody will ever read it again; the host goes on.
            self.broken = True
            self._waiting.clear()
        else:
            del self._waiting[:written]

    def flush(self, limit_s: float) -> None:
        """Writes what waits, for as long as a reader takes it."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        deadline = time.monotonic() + limit_s
        while self._waiting and (left := deadline - time.monotonic()) > 0 and poller.poll(left * 1000):
            self.write_some()


def record(level: str, message: str, **fields: object) -> bytes:
    """A log line in the form of all log lines."""
    values = {"timestamp_ms": time.time_ns() // 1_000_000, "level": level, "message": message}
    values |= {"logger": "procvision.guardian", **{key: value for key, value in fields.items() if value is not None}}
    return json.dumps(values).encode() + b"\n"


class Stray:
    """What arrived on one of the host's standard descriptors, gathered into one record a call."""

    def __init__(self, name: str, level: str, board: Board) -> None:
        self._name = name
        self._level = level
        self._board = board
        self._kept = bytearray()
        self._count = 0
        self._call: tuple[int, str | None] = (0, None)
        self._last = 0.0

    def add(self, data: bytes, call: tuple[int, str | None], now: float, out: Backlog) -> None:
        """Takes what was read; `call` was on the board before it was."""
        if self._count and call != self._call:
            self.report(out)
        self._call = call
        self._count += len(data)
        self._kept += data[: STRAY_RECORD_BYTES - len(self._kept)]
        self._last = now

    @property
    def due(self) -> float | None:
        """The instant at which what was gathered becomes a record."""
        return self._last + STRAY_QUIET_S if self._count else None

    def ripe(self, now: float) -> bool:
        """Whether the pause was long enough, and the call that wrote it is over."""
        if not self._count or now < self._last + STRAY_QUIET_S:
            return False
        return self._call[0] == 0 or self._board.call != self._call or now > self._last + 1.0

    def report(self, out: Backlog, level: str | None = None) -> None:
        """Puts what was gathered into a record; the last words of a crashed process are an error."""
        if not self._count:
            return
        text = self._kept.decode("utf-8", "replace").rstrip("\n")
        out.add(
            record(
                level or self._level,
                f"output on {self._name} ({self._count} bytes): {text}",
                stream=self._name,
                bytes=self._count,
                request_id=self._call[1],
            )
        )
        self._kept.clear()
        self._count = 0


class Guardian:
    """The loop that watches one host until it is gone."""

    def __init__(self, host: int, ends: GuardianEnds, board: Board) -> None:
        self._host = host
        self._ends = ends
        self._board = board
        self._out = Backlog(ends.stderr)
        # Foreign text on stderr is as often a banner as a complaint; on stdout it is a mistake.
        self._strays = {
            ends.stray_stdout: Stray("stdout", "warning", board),
            ends.stray_stderr: Stray("stderr", "info", board),
        }
        self._log_tail = b""
        self._kill_at: float | None = None
        self._dumped = False
        self._watchdog_killed = False
        self._status: int | None = None
        self._poller = select.poll()

    def run(self) -> NoReturn:
        """Watches, cleans up, leaves as the host left."""
        take_in_orphans()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        ends = self._ends
        for descriptor in (wake_read, ends.logs, ends.stray_stdout, ends.stray_stderr, ends.notices):
            self._poller.register(descriptor, select.POLLIN)
        # No event but the hang-up, which comes when every writer of the runner's pipe is gone.
        self._poller.register(ends.stdin, 0)
        self._reap()
        while self._status is None:
            self._round(wake_read)
        self._finish()

    def _round(self, wake_read: int) -> None:
        ends = self._ends
        if self._out.waiting:
            self._poller.register(ends.stderr, select.POLLOUT)
        ready = dict(self._poller.poll(self._patience_ms()))
        if self._out.waiting:
            self._poller.unregister(ends.stderr)
            if ready.get(ends.stderr):
                self._out.write_some()
        if ready.get(wake_read):
            self._on_signals(os.read(wake_read, 256))
        now = time.monotonic()
        self._watch_for_drain(ready, now)
        for descriptor in (ends.logs, ends.stray_stdout, ends.stray_stderr):
            if ready.get(descriptor):
                self._take_output(descriptor, now)
        for stray in self._strays.values():
            if stray.ripe(now):
                stray.report(self._out)
        if self._kill_at is not None and now >= self._kill_at:
            self._watchdog(now)
        self._reap()

    def _watch_for_drain(self, ready: dict[int, int], now: float) -> None:
        ends = self._ends
        if ready.get(ends.stdin):
            # The host sees the end of its stdin too; this is for one that can't look any more.
            self._poller.unregister(ends.stdin)
            self._begin_drain(now)
        if ready.get(ends.notices) and os.read(ends.notices, 64):
            self._begin_drain(now)

    def _patience_ms(self) -> float | None:
        deadlines = [stray.due for stray in self._strays.values()]
        deadlines.append(self._kill_at)
        known = [deadline for deadline in deadlines if deadline is not None]
        return max(5.0, (min(known) - time.monotonic()) * 1000) if known else None

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                with contextlib.suppress(OSError):
                    os.write(self._ends.control, DRAIN_REQUEST)
                self._begin_drain(time.monotonic())
            elif number == signal.SIGQUIT:
                self._signal_host(signal.SIGQUIT)

    def _begin_drain(self, now: float) -> None:
        if self._kill_at is None:
            self._kill_at = now + DRAIN_LIMIT_S

    def _watchdog(self, now: float) -> None:
        if not self._dumped:
            self._dumped = True
            self._kill_at = now + DUMP_TIME_S
            self._out.add(
                record(
                    "error",
                    f"the host still ran {DRAIN_LIMIT_S:g} s after it began to drain: its stacks, then the end",
                    request_id=self._board.call[1],
                )
            )
            self._signal_host(signal.SIGQUIT)
        else:
            self._watchdog_killed = True
            self._kill_at = None
            self._signal_host(signal.SIGKILL)

    def _signal_host(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._host, number)

    def _take_output(self, descriptor: int, now: float) -> None:
        # The host holds a call on the board until what it wrote was read: looked up first, it can't be the next one.
        call = self._board.call
        data = os.read(descriptor, _CHUNK)
        if descriptor == self._ends.logs:
            lines = (self._log_tail + data).split(b"\n")
            self._log_tail = lines.pop()
            for line in lines:
                self._out.add(line + b"\n")
        else:
            self._strays[descriptor].add(data, call, now, self._out)

    def _reap(self) -> None:
        """Collects every child that ended; the host's status among them."""
        while True:
            try:
                process_id, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process_id:
                return
            if process_id == self._host:
                self._status = status

    def _finish(self) -> NoReturn:
        assert self._status is not None
        kill_descendants()
        code = os.waitstatus_to_exitcode(self._status)
        self._drain_pipes("error" if code < 0 else None)
        number, request_id = self._board.call
        during = f" while it executed call {number}" if number else ""
        if code < 0:
            if not self._watchdog_killed:
                name = signal.Signals(-code).name
                self._out.add(record("error", f"the host was ended by {name}{during}", request_id=request_id))
        elif not self._board.left_by_itself:
            text = f"the algorithm ended the process with status {code}{during}"
            self._out.add(record("error", text, request_id=request_id))
            code = exits.ALGORITHM_FAILED
        self._out.flush(FLUSH_TIME_S)
        if self._watchdog_killed:
            code = exits.ALGORITHM_FAILED
        if code < 0:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if -code not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)

    def _drain_pipes(self, level: str | None) -> None:
        """Takes what the host wrote before it ended; everything that could still write is gone by now."""
        now = time.monotonic()
        for descriptor in (self._ends.logs, self._ends.stray_stdout, self._ends.stray_stderr):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError, KeyError):
                while data := os.read(descriptor, _CHUNK):
                    if descriptor == self._ends.logs:
                        for line in (self._log_tail + data).splitlines():
                            self._out.add(line + b"\n")
                        self._log_tail = b""
                    else:
                        self._strays[descriptor].add(data, self._board.call, now, self._out)
        for stray in self._strays.values():
            stray.report(self._out, level)


def guard(host: int, ends: GuardianEnds, board: Board) -> NoReturn:
    """Runs the guardian of `host`; never returns, whatever goes wrong in here."""
    try:
        Guardian(host, ends, board).run()
    except BaseException as error:  # noqa: BLE001 - a guardian that fails takes its host along
        with contextlib.suppress(OSError):
            os.write(ends.stderr, record("error", f"the guardian failed: {error!r}"))
        with contextlib.suppress(OSError):
            os.kill(host, signal.SIGKILL)
        os._exit(exits.ALGORITHM_FAILED)
