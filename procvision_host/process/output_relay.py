"""Takes what a host and its algorithm say beside the frames to stderr: one JSON object a line, without waiting.

Lines of the host's log pass through; whatever else arrives on its standard descriptors is gathered into records. A
reader of stderr that has stopped reading loses lines, counted, and stops nobody.
Warning: used by the guardian, which is forked before anything is imported: the standard library only, and little of it.
"""

from __future__ import annotations

import os
import select
import stat
import time

from procvision_host.process.channels import GuardianEnds
from procvision_host.process.shared_page import SharedPage

try:
    from _json import encode_basestring_ascii as quoted  # without the rest of `json`, which takes longer
except ImportError:  # a Python that was built without it
    from procvision_sdk.wire.greeting import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procvision_host.halves.host_half import HostHalf

STRAY_QUIET_S = 0.05
"""Stray output is put into one record once it paused for so long, and its call ended."""
STRAY_LIMIT_S = 1.0
"""After so long a pause it is told although its call still runs: the stacks of a hung host are asked for in it."""
STACKS_TIME_S = 0.1
"""How long all stacks of a process take to come; it is ended 0.3 s after it was asked for them (`watchdog`)."""
STRAY_RECORD_BYTES = 4096
"""How much of one call's stray output a record shows; the rest is counted."""
MAX_LINE_BYTES = 128 * 1024
"""Twice what the longest line of ours takes: a line without an end must not fill this process's memory."""
MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""How much waits for a stderr that nobody reads, 1.6 s of a log of 10 MB/s; further lines are counted and dropped."""
_REFUSED_WORDS = (
    *(b"ermission denied", b"peration not permitted", b"ead-only file system"),
    *(b"can't open", b"annot open", b"nable to open", b"ailed to open", b"ould not open", b"ailed to connect"),
)
"""How libraries in C and programs complain of what they are refused, with the C library's words or their own."""
_STACKS_MARK = b"hread 0x"
"""In the first line of stacks, as faulthandler writes them."""
_CHUNK = 65536
_PIECES = 32
"""How many pieces are written between two looks at everything else."""
_LAST_WORD_S = 0.1
"""How long a leaving guardian waits for room for the count of what is lost."""
_PIPE_BUF = select.PIPE_BUF
"""A poll that says a pipe is writable promises room for so many bytes."""


def record(level: str, message: str, **fields: str | int | None) -> bytes:
    """Return a log line in the form of all log lines."""
    values = {"level": level, "message": message, "logger": "procvision.guardian", **fields}
    told = ", ".join(
        f'"{key}": {value if isinstance(value, int) else quoted(str(value))}'
        for key, value in values.items()
        if value is not None
    )
    return f'{{"timestamp_ms": {time.time_ns() // 1_000_000}, {told}}}\n'.encode()


class Backlog:
    """Lines on their way to a descriptor, up to a bound. They are written only as far as no write can block."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pieces = 1
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                # Opened once more, the pipe can be written without blocking, and nobody else's descriptor changes.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self.descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
                self._pieces = _PIECES
        except OSError:
            pass  # Then a piece at a time.
        self._waiting = bytearray()
        self._dropped = 0
        self._broken = False

    def add(self, line: bytes) -> None:
        """Add a line, with its newline."""
        if self._broken:
            return
        if len(self._waiting) + len(line) > MAX_BACKLOG_BYTES:
            self._dropped += 1
            return
        self._tell_dropped()
        self._waiting += line

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._waiting += record("warning", f"{dropped} log lines were dropped: stderr was not read")

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting)

    def write_some(self) -> None:
        """Write some pieces. Call it when the descriptor was found writable."""
        for _ in range(self._pieces):
            if not self._write_piece():
                return
        if not self._waiting:
            self._tell_dropped()

    def _write_piece(self) -> bool:
        """Write a piece, whole lines if they fit. Return whether there may be room for more."""
        piece = self._waiting[:_PIPE_BUF]
        if not piece:
            return True
        # So that a reader who comes too late finds no half of one, unless it is longer than a pipe takes at once.
        whole = piece.rfind(b"\n") + 1
        try:
            written = os.write(self.descriptor, piece[:whole] if whole else piece)
        except BlockingIOError:
            return False
        except OSError:
            # Nobody will ever read it again; the host goes on.
            self._broken = True
            self._waiting.clear()
            return False
        del self._waiting[:written]
        return True

    def flush(self, patience_s: float, limit_s: float) -> None:
        """Write what waits, for as long as a reader takes it: within `patience_s` each piece, within `limit_s` all.

        What is left then is counted in a last line.
        """
        poller = select.poll()
        poller.register(self.descriptor, select.POLLOUT)
        deadline = time.monotonic() + limit_s
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            if not poller.poll(min(left, patience_s) * 1000):
                break
            self.write_some()
        if self._waiting:
            self._dropped += self._waiting.count(b"\n")
            self._waiting.clear()
            self._tell_dropped()
            if poller.poll(_LAST_WORD_S * 1000):
                self._write_piece()


class Lines:
    """The host's log, cut into lines. A line that was torn, as a rule by the host's end, is told in a record.

    So is a piece of one that is longer than any of ours.
    """

    def __init__(self) -> None:
        self._tail = b""

    def take(self, data: bytes) -> Iterable[bytes]:
        """Return the lines that these bytes complete, each with its newline."""
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > MAX_LINE_BYTES:
            lines.append(self._tail)
            self._tail = b""
        return [_whole(line) for line in lines if line]

    def end(self) -> Iterable[bytes]:
        """Return what is left when nothing more can come."""
        tail, self._tail = self._tail, b""
        return [_whole(tail)] if tail else []


def _whole(line: bytes) -> bytes:
    if line.startswith(b"{") and line.endswith(b"}"):
        return line + b"\n"
    return record("warning", f"a torn log line: {line[:STRAY_RECORD_BYTES].decode('utf-8', 'replace')}")


class Stray:
    """What arrived on one of the host's standard descriptors, gathered into one record a call."""

    def __init__(self, name: str, level: str, board: SharedPage) -> None:
        self._name = name
        self._level = level
        self._board = board
        self._kept = bytearray()
        self._count = 0
        self._call: tuple[int, str | None] = (0, None)
        self._last = 0.0
        self._stacks_at: float | None = None
        """When stacks came from a process that prints without a pause: it makes none for them either."""

    def add(self, data: bytes, call: tuple[int, str | None], now: float, out: Backlog) -> bytes:
        """Add what was read. Return what was gathered of another call, now told. `call` was on the page before."""
        told = self.report(out) if call != self._call else b""
        if self._count + len(data) > STRAY_RECORD_BYTES and (at := data.find(_STACKS_MARK)) >= 0:
            # Whatever a process that hangs has printed until then: its stacks are what was asked for.
            start = data.rfind(b"\n", 0, at) + 1
            self.add(data[:start], call, now, out)
            told += self.report(out)
            data = data[start:]
            self._stacks_at = now
        self._call = call
        self._count += len(data)
        self._kept += data[: STRAY_RECORD_BYTES - len(self._kept)]
        self._last = now
        return told

    @property
    def due(self) -> float | None:
        """The time at which `ripe` has to be asked again."""
        if self._stacks_at is not None:
            return self._stacks_at + STACKS_TIME_S
        return self._last + STRAY_QUIET_S if self._count else None

    def ripe(self, now: float) -> bool:
        """Tell whether the pause was long enough, and the call that wrote it is over."""
        if self._stacks_at is not None:
            return now >= self._stacks_at + STACKS_TIME_S
        if not self._count or now < self._last + STRAY_QUIET_S:
            return False
        return self._call[0] == 0 or self._board.call != self._call or now > self._last + STRAY_LIMIT_S

    def report(self, out: Backlog, level: str | None = None) -> bytes:
        """Make a record of what was gathered, and return that. The last words of a crashed process are an error."""
        self._stacks_at = None
        if not self._count:
            return b""
        told = bytes(self._kept)
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
        return told


class Relay:
    """The host's three pipes, and stderr."""

    def __init__(
        self, ends: GuardianEnds, board: SharedPage, half: HostHalf | None = None, *, strict: bool = False
    ) -> None:
        """`strict` says whether the host is refused more than others' processes."""
        self._strict = strict
        self._complaints = 0
        self.out = Backlog(ends.stderr)
        self.descriptors: tuple[int, ...] = (ends.logs, ends.stray_stdout, ends.stray_stderr)
        self._board = board
        self._half = half
        self._dropped = 0
        self._lines = {ends.logs: Lines()}
        self._logs = ends.logs
        if half is not None:
            self.descriptors += (half.log,)
            self._lines[half.log] = Lines()
        # Foreign text on stderr is as often a banner as a complaint; on stdout it is a mistake.
        self._strays = {
            ends.stray_stdout: Stray("stdout", "warning", board),
            ends.stray_stderr: Stray("stderr", "info", board),
        }

    def say(self, level: str, message: str, **fields: str | int | None) -> None:
        """Write a record of the guardian's own."""
        self.out.add(record(level, message, **fields))

    @property
    def due(self) -> float | None:
        """The next time at which `report` has something to do."""
        return min((stray.due for stray in self._strays.values() if stray.due is not None), default=None)

    def take(self, descriptor: int, now: float) -> None:
        """Read from a pipe that was found readable. Raises BlockingIOError if there is nothing in it any more."""
        # The host holds a call on the board until what it wrote was read: looked up first, it can't be the next one.
        call = self._board.call
        data = os.read(descriptor, _CHUNK)
        if descriptor in self._lines:
            self._pass_on(descriptor, self._lines[descriptor].take(data))
        elif data:
            self._explain(self._strays[descriptor].add(data, call, now, self.out))

    def _pass_on(self, descriptor: int, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.out.add(line)
            if self._half is not None and descriptor == self._logs:
                self._half.hear(line)

    def report(self, now: float) -> None:
        """Make records of what was gathered and is complete, and of what the host had to drop."""
        self._tell_dropped()
        for stray in self._strays.values():
            if stray.ripe(now):
                self._explain(stray.report(self.out))

    def _explain(self, told: bytes) -> None:
        """Say what may be behind a complaint of a library or a program that tells of no need."""
        if not self._strict or not any(words in told for words in _REFUSED_WORDS):
            return
        self._complaints += 1
        if self._complaints & (self._complaints - 1) == 0:  # the first, the second, the fourth …
            self.say(
                "info",
                "the output before may tell of what isolation strict refused: a file, a folder, a device or a "
                f"connection ({self._complaints}); hint: declare it under needs in manifest.json and grant it; "
                "`strace -f -Z procvision-host confined --isolation strict COMMAND` lists what is refused",
            )

    def _tell_dropped(self) -> None:
        dropped = self._board.lines_dropped + (0 if self._half is None else self._half.lines_dropped)
        if dropped != self._dropped:
            count, self._dropped = dropped - self._dropped, dropped
            self.say("warning", f"{count} log lines were dropped: they came faster than they could be taken")

    def finish(self, level: str | None) -> None:
        """Take what was written before the end, when everything that could still write is gone."""
        now = time.monotonic()
        for descriptor in self.descriptors:
            os.set_blocking(descriptor, False)
            try:
                while True:
                    self.take(descriptor, now)
            except BlockingIOError:
                continue
        for descriptor, lines in self._lines.items():
            self._pass_on(descriptor, lines.end())
        for stray in self._strays.values():
            self._explain(stray.report(self.out, level))
        self._tell_dropped()
