"""The mechanism below a host: spawn, wait, signal, and the end of the whole process tree. No policy.

A host is started in a session of its own, so that a Ctrl-C at the runner's terminal reaches the runner alone, and
so that everything it started can be found when it has to go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from procvision_runner.errors import LaunchError
from procvision_sdk.wire.greeting import ARENA_VARIABLE

if TYPE_CHECKING:
    from procvision_runner.images.arena import Arena

_KILL_PATIENCE_S = 2.0


class HostProcess:
    """One launched process with its three pipes, the arena that it is handed, and its process tree."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, arena: Arena | None = None
    ) -> None:
        self.command = tuple(command)
        told = dict(os.environ if environment is None else environment)
        told.pop(ARENA_VARIABLE, None)  # of a runner that this one was started by
        if arena is not None:
            told[ARENA_VARIABLE] = arena.told
        try:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=told,
                pass_fds=() if arena is None else (arena.descriptor,),
            )
        except OSError as error:
            raise LaunchError(f"{self.command[0]!r} can't be started: {_why(self.command[0], error)}") from error
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self.stdin = self._popen.stdin.fileno()
        self.stdout = self._popen.stdout.fileno()
        self.stderr = self._popen.stderr.fileno()
        # Our end only: a host that doesn't read must not be able to block us.
        os.set_blocking(self.stdin, False)
        self.process_id = self._popen.pid
        self._oom_kills_before = oom_kills()
        self.pidfd = -1
        with self.ended_on_error():
            self.pidfd = os.pidfd_open(self.process_id)

    @contextlib.contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """End the process if the block raises, as for a lack of descriptors."""
        try:
            yield
        except BaseException:
            self.kill_tree()
            self.release()
            raise

    @property
    def exit_status(self) -> int | None:
        """The exit status: None while it runs, negative for a signal."""
        return self._popen.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end. Return the exit status, or None if it still runs after the timeout."""
        if self._popen.poll() is None:
            if self.pidfd < 0:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._popen.wait(timeout_s)
                return self._popen.poll()
            poller = select.poll()
            poller.register(self.pidfd, select.POLLIN)
            poller.poll(max(0.0, timeout_s) * 1000)
        return self._popen.poll()

    def new_oom_kills(self) -> int:
        """Return how often the kernel has killed for want of memory since this process was started."""
        return oom_kills() - self._oom_kills_before

    def send_signal(self, number: int) -> None:
        """Send a signal to the launched process alone."""
        self._popen.send_signal(number)

    def close_stdin(self) -> None:
        """Close the host's stdin, so that it leaves by itself."""
        with contextlib.suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()

    def terminate(self) -> None:
        """Send SIGTERM to the launched process alone."""
        self._popen.terminate()

    def kill_tree(self) -> None:
        """Send SIGKILL to the process and all that it started, until nothing of it is left."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        try:
            doomed = tree(self.process_id)
            while True:
                for process_id in doomed:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process_id, signal.SIGKILL)
                self.wait(0.05)
                doomed = tree(self.process_id) or self._holders()
                if not doomed or time.monotonic() > deadline:
                    return
                time.sleep(0.005)
        except OSError:
            # No descriptor is left to read /proc with. The group is not the whole tree, but the host is in it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process_id, signal.SIGKILL)
            self.wait(_KILL_PATIENCE_S)

    def _holders(self) -> set[int]:
        """Return the processes that still hold the host's end of a pipe: its offspring, also where it left the tree.

        A process of this one's own session is none of them: it is a fork of the runner's.
        """
        poller = select.poll()
        for descriptor in (self.stdout, self.stderr):
            poller.register(descriptor, 0)
        open_pipes = {self.stdout, self.stderr} - {descriptor for descriptor, _ in poller.poll(0)}
        if not open_pipes:
            return set()
        names = {f"pipe:[{os.fstat(descriptor).st_ino}]" for descriptor in open_pipes}
        own_session = os.getsid(0)
        return {process_id for process_id in _foreign(own_session) if names & _open_files(process_id)}

    def release(self) -> None:
        """Close the pipes of a process that has ended."""
        self.close_stdin()
        for stream in (self._popen.stdout, self._popen.stderr):
            assert stream is not None
            stream.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)


def _why(program: str, error: OSError) -> str:
    """Return why a program can't be started, and what to do about it."""
    interpreter = missing_interpreter(Path(program)) if error.errno == errno.ENOENT else None
    if interpreter is not None:
        return f"its interpreter {interpreter} is gone; hint: the environment was moved, make it anew where it is now"
    return f"{error.strerror}; hint: is procvision installed there?"


def missing_interpreter(script: Path) -> str | None:
    """Return the interpreter that a script's first line names where it is gone, else None."""
    try:
        with script.open("rb") as file:
            first = file.readline(512)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].strip().split(maxsplit=1)
    interpreter = os.fsdecode(words[0]) if words else ""
    return interpreter if interpreter.startswith("/") and not Path(interpreter).exists() else None


def oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory; 0 if it doesn't tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/vmstat").read_text().partition("\noom_kill ")[2].split()[0])
    return 0


def tree(leader: int) -> set[int]:
    """Return the living processes of a session and their descendants, also those that left the session.

    `leader` is the session's first process, which need not live any more. Raises OSError without a descriptor to read
    /proc with: an empty set would say that nothing lives.
    """
    parents: dict[int, int] = {}
    members: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # state, parent, process group, session, after the name in parentheses, which may hold anything.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise
            continue  # it has ended meanwhile
        if len(fields) < 4 or fields[0] in "ZX":
            continue
        process_id = int(entry.name)
        parents[process_id] = int(fields[1])
        if int(fields[3]) == leader:
            members.add(process_id)
    grown = True
    while grown:
        below = {child for child, parent in parents.items() if parent in members and child not in members}
        members |= below
        grown = bool(below)
    return members


def _foreign(own_session: int) -> list[int]:
    """Return the processes outside a session."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) != own_session:
                    found.append(int(entry.name))
    return found


def _open_files(process_id: int) -> set[str]:
    """Return what a process's descriptors are, as far as this process may see them."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{process_id}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found
