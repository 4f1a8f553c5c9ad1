"""The adapter as a child process: its start, its pipes, and the end of whatever it started. No policy.

Both ends are never waited for: what the adapter doesn't read is kept until it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_PATIENCE_S = 2.0
"""How long killed processes may take to be gone; one in an uninterruptible sleep can take longer."""
READ_BYTES = 16 * 1024
"""A flood is taken in pieces of this size, so that a ping between two of them is answered at once."""


class Adapter:
    """One running adapter. It is killed when the gateway ends, in whatever way."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Raise OSError where the command can't be started."""
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
        # What the adapter starts comes here when the adapter ends, and is found.
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        gateway = os.getpid()

        def die_with_gateway() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != gateway:
                os._exit(1)

        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            preexec_fn=die_with_gateway,  # noqa: PLW1509 - the gateway has one thread as yet
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self.stdin = self._popen.stdin.fileno()
        self.stdout = self._popen.stdout.fileno()
        self.stderr = self._popen.stderr.fileno()
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self.process_id = self._popen.pid
        self._unsent = bytearray()

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal. Known once `reap` has seen its end."""
        return self._popen.returncode

    # --- its pipes ------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Write a frame, as far as the adapter takes it now."""
        self._unsent += frame
        self.write_some()

    @property
    def unsent(self) -> bool:
        """Whether something waits for the adapter to read."""
        return bool(self._unsent)

    def write_some(self) -> None:
        """Write what waits."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self.stdin, self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            # It reads no more; its end is told by its stdout.
            self._unsent.clear()

    @staticmethod
    def read(descriptor: int) -> bytes | None:
        """Return what has come; b"" at the end, None where nothing is there."""
        try:
            return os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    # --- its end --------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Collect every child that has ended: the adapter, and what it left behind."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if ended.si_pid == self.process_id:
                    self._popen.wait()
                else:
                    os.waitpid(ended.si_pid, 0)

    def kill_tree(self) -> None:
        """SIGKILL for the adapter and whatever it started, until nothing of it is left."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while (below := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
            for process in below:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.002)
            # Not psutil's own waiting, which would take the adapter's exit status.
            self.reap()
        self.reap()

    def close(self) -> None:
        """Close the pipes."""
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
