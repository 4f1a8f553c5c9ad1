"""A host behind real pipes.

Two threads, since a host that stops reading must not stop the player, and a deadline must be able to pass while
nothing comes. Whatever happens, `close` leaves no process behind.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from procvision_sdk.wire.frames import FrameSplitter
from procvision_sdk.wire.tables import Role
from procvision_testing.conformance.segments import HandedArena

_READ_BYTES = 65536
_STDERR_LINES_KEPT = 30
_LAST_WORDS_S = 2.0


class ProcessTarget:
    """A host started by `command`; a row's options become command-line options, as `--max-frame-bytes 2048`.

    It is handed an arena, as `arena` says: `sealed`, or what stands in the table of the arena.
    """

    role = Role.HOST

    def __init__(
        self,
        command: Sequence[str],
        options: dict[str, Any] | None = None,
        *,
        environment: dict[str, str] | None = None,
        arena: str = "sealed",
    ) -> None:
        flags = [
            text for name, value in (options or {}).items() for text in (f"--{name.replace('_', '-')}", str(value))
        ]
        self.arena = HandedArena(arena)
        """Where rows lay slots."""
        try:
            self._process = subprocess.Popen(
                [*command, *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=self.arena.environment(environment),
                pass_fds=(self.arena.descriptor,) if self.arena.descriptor >= 0 else (),
            )
        except BaseException:
            self.arena.close()
            raise
        self._pidfd = os.pidfd_open(self._process.pid)
        self._to_write: queue.Queue[bytes | None] = queue.Queue()
        self._frames: queue.Queue[bytes | None] = queue.Queue()
        self._ended = threading.Event()
        self._stderr: deque[bytes] = deque(maxlen=_STDERR_LINES_KEPT)
        self._threads = [
            threading.Thread(target=work, name=f"conformance-{work.__name__}", daemon=True)
            for work in (self._write_all, self._read_frames, self._read_stderr)
        ]
        self._stderr_reader = self._threads[-1]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # Ctrl-C: nobody has this target yet, so nobody would close it
            self._kill()
            raise

    def __enter__(self) -> ProcessTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def process_id(self) -> int:
        """The operating system's."""
        return self._process.pid

    def write(self, data: bytes) -> None:
        """Give it bytes to read; don't wait until it does."""
        self._to_write.put(data)

    def end(self) -> None:
        """Close its stdin, after all that was written."""
        self._to_write.put(None)

    def signal(self, name: str) -> None:
        """Return the process alone a signal, as a service manager would."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.Signals[name])

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def frame(self, patience_s: float) -> dict[str, Any] | None:
        """Return its next frame; None if none comes in time, or none can come any more."""
        try:
            payload = self._frames.get(timeout=patience_s)
        except queue.Empty:
            return None
        if payload is None:
            self._frames.put(None)
            return None
        try:
            found = msgspec.json.decode(payload)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {"type": "(not a frame)", "payload": repr(payload[:500])}

    def ended(self, patience_s: float) -> bool:
        """Return whether its stdout has ended."""
        return self._ended.wait(patience_s)

    def exit_status(self, patience_s: float) -> int | None:
        """Return its exit status, negative for a signal; None if it doesn't end in time."""
        if self._process.returncode is not None:
            return self._process.returncode
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        poller.poll(patience_s * 1000)
        # It isn't collected before `close`: so long its number, which is its group's, is nobody else's.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def evidence(self) -> str:
        """Return how the process is, and the last lines of its stderr."""
        # A process that has hung up is about to end, and its last line is often the one that tells why.
        status = self.exit_status(_LAST_WORDS_S) if self._ended.is_set() else self.exit_status(0.0)
        if status is not None:
            self._stderr_reader.join(_LAST_WORDS_S)
        lines = "\n".join("    " + line.decode("utf-8", "replace").rstrip() for line in list(self._stderr))
        return f"  process: {'running' if status is None else f'exited {status}'}, stderr ends with\n{lines}"

    def close(self) -> None:
        """Kill it, with what it started, and give everything back. What has ended may have left children."""
        self._kill()
        self.arena.close()
        self._to_write.put(None)
        for thread in self._threads:
            thread.join(5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)

    def _write_all(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        while (data := self._to_write.get()) is not None:
            view = memoryview(data)
            with contextlib.suppress(BrokenPipeError):  # it has left: its answers say why
                while view:
                    view = view[os.write(stdin.fileno(), view) :]
        with contextlib.suppress(BrokenPipeError):
            stdin.close()

    def _read_frames(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        splitter = FrameSplitter()
        while data := os.read(stdout.fileno(), _READ_BYTES):
            for payload in splitter.feed(data):
                self._frames.put(payload)
            if splitter.overrun is not None:
                self._frames.put(b"(what it writes to stdout is not frames) " + data[:200])
                break
        self._frames.put(None)
        self._ended.set()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._stderr.append(line)
