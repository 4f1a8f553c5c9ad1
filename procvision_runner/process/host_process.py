"""The mechanism below a host: spawn, wait, signal, and the end of the whole process tree. No policy.

A host is started in a session of its own, so that a Ctrl-C at the runner's terminal reaches the runner alone, and
so that everything it started can be found when it has to go.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from procvision_runner.deployments import runs_by_python, taken, told_of
from procvision_runner.errors import LaunchError
from procvision_runner.process import process_tree
from procvision_runner.process.process_tree import kill, processes, runs, tree
from procvision_sdk.environment import PASS_VARIABLE, is_allowed, passed_names
from procvision_sdk.wire.greeting import ARENA_VARIABLE, MAX_DRAIN_TIMEOUT_S, RUNNER_VARIABLE

if TYPE_CHECKING:
    from procvision_runner.images.arena import Arena

_KILL_PATIENCE_S = 2.0
_OWN_END_S = 0.2
"""How long a host whose launched process is gone may take to clean up itself, as ours does, before each process that is
left is killed: one by one, a process that is just being started could be missed."""
_OUR_HOSTS = ("procvision-host", "procvision_host")
_OUR_PROGRAMS = ("/procvision-host", "/procvision_host/launched.py")
_LAST_STANDARD_DESCRIPTOR = 2
_THE_HOSTS = "PROCVISION_"
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by every Python; `subprocess` sees to these."""
_INFO = struct.Struct("=Q52xi")
"""Of struct pidfd_info: its mask, and the exit status as waitpid(2) has it."""
_INFO_EXIT = 8
_PIDFD_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11


class HostProcess:
    """One launched process with its three pipes, the arena that it is handed, and its process tree.

    It isn't collected before `kill_tree`, which is done once: until then its number is nobody else's, also where it
    has ended, and after that no signal goes anywhere.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        arena: Arena | None = None,
        passed: Sequence[str] = (),
        *,
        locks_deployment: bool = True,
    ) -> None:
        """Launch a command, of a deployment only if that is as it was installed. Raises LaunchError."""
        self.command = tuple(command)
        occupy_standard_descriptors()
        told = dict(os.environ if environment is None else environment)
        named = _named(environment, passed, told.pop(PASS_VARIABLE, ""))
        if named:
            told[PASS_VARIABLE] = ",".join(named)
        told.pop(ARENA_VARIABLE, None)  # of a runner that this one was started by
        if arena is not None:
            told[ARENA_VARIABLE] = arena.told
        self._burying = threading.Lock()
        self._buried = False
        self._status: int | None = None
        own = os.pidfd_open(os.getpid())
        try:
            self._deployment = taken(self.command, locked=locks_deployment)
            self.deployment = told_of(self.command)
            """The installed version that it is of, as results tell it; None where it is of none."""
        except BaseException:
            os.close(own)
            raise
        told[RUNNER_VARIABLE] = f"{own}:{os.fstat(own).st_ino}"
        try:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=told,
                pass_fds=(own,) if arena is None else (own, arena.descriptor),
                # Only where it is needed: it makes the launch a whole fork.
                preexec_fn=None if _signals_are_as_ever() else _take_signals_as_ever,  # noqa: PLW1509
            )
        except OSError as error:
            self.let_deployment_go()
            raise LaunchError(f"{self.command[0]!r} can't be started: {_why(self.command[0], error)}") from error
        finally:
            os.close(own)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self.stdin = self._popen.stdin.fileno()
        self.stdout = self._popen.stdout.fileno()
        self.stderr = self._popen.stderr.fileno()
        # Our ends only: a host must not be able to block us that doesn't read, or that takes out of its pipe what was
        # seen in it. It is gone then.
        os.set_blocking(self.stdin, False)
        os.set_blocking(self.stdout, False)
        self.process_id = self._popen.pid
        self._oom_kills_before = oom_kills()
        self.pidfd = -1
        self._guard: subprocess.Popen[bytes] | None = None
        with self.ended_on_error():
            try:
                self.pidfd = os.pidfd_open(self.process_id)
            except ProcessLookupError:  # uncollected it would still be there
                raise LaunchError(
                    f"{self.command[0]!r} ended at once, and how is lost: this program ignores SIGCHLD, or collects "
                    "children that aren't its own; hint: signal.signal(signal.SIGCHLD, signal.SIG_DFL)"
                ) from None
            if not ends_with_its_runner(self.command):
                self._guard = self._left_behind()

    def _left_behind(self) -> subprocess.Popen[bytes] | None:
        """Start the process that ends the host if this one is gone; None where no interpreter is known."""
        if not runs_by_python():
            return None
        runner = os.pidfd_open(os.getpid())
        words = (*map(str, (runner, self.pidfd, self.process_id)), f"{MAX_DRAIN_TIMEOUT_S:g}")
        try:
            return subprocess.Popen(
                (sys.executable, "-I", "-S", str(process_tree.__file__), *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={},
                cwd="/",
                pass_fds=(runner, self.pidfd),
            )
        except OSError:
            return None  # No process is left for it: the host has the one that it needs.
        finally:
            os.close(runner)

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
        """The exit status: None while it runs, negative for a signal, `UNKNOWN_STATUS` where nobody can tell.

        It can't be told where this program ignores SIGCHLD or collects children that aren't its own, on a kernel
        before 6.15.
        """
        if self._status is None and not self._buried:
            try:
                ended = os.waitid(os.P_PID, self.process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                if self._has_ended():
                    self._status = _status_without_waiting(self.pidfd)
            else:
                if ended is not None:
                    self._status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        return self._status

    def _has_ended(self, timeout_s: float = 0.0) -> bool:
        if self.pidfd < 0:
            return not self._is_uncollected()
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return bool(poller.poll(max(0.0, timeout_s) * 1000))

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end. Return the exit status, or None if it still runs after the timeout."""
        if self.exit_status is None and self.pidfd >= 0:
            self._has_ended(timeout_s)
        return self.exit_status

    def new_oom_kills(self) -> int:
        """Return how often the kernel has killed for want of memory since this process was started."""
        return oom_kills() - self._oom_kills_before

    def send_signal(self, number: int) -> None:
        """Send a signal to the launched process alone; to nobody where it has ended."""
        with self._burying:
            if self._buried:
                return
            with contextlib.suppress(ProcessLookupError):
                if self.pidfd >= 0:
                    signal.pidfd_send_signal(self.pidfd, number)
                elif self.exit_status is None:
                    os.kill(self.process_id, number)

    def close_stdin(self) -> None:
        """Close the host's stdin, so that it leaves by itself."""
        with contextlib.suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()

    def terminate(self) -> None:
        """Send SIGTERM to the launched process alone."""
        self.send_signal(signal.SIGTERM)

    def kill_tree(self) -> None:
        """Send SIGKILL to the process and all that it started, until nothing of it is left; then collect it.

        This is done once. A second call does nothing, whatever has got the process's number by then.
        """
        with self._burying:
            if self._buried:
                return
            try:
                self._kill_tree()
            except OSError:
                # No descriptor is left to read /proc with. The group is not the whole tree, but the host is in it.
                if self._is_uncollected():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(self.process_id, signal.SIGKILL)
                self.wait(_KILL_PATIENCE_S)
            if self.exit_status is not None:
                self._popen.poll()
                self._buried = True

    def _is_uncollected(self) -> bool:
        """Return whether the process's number, and that of its session, is still its own."""
        try:
            os.waitid(os.P_PID, self.process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False  # this program ignores SIGCHLD, or collects children that aren't its own
        return True

    def _kill_tree(self) -> None:
        started = time.monotonic()
        # Of one that has ended already the loop below finds what there is.
        listed = tree(self.process_id) if self.exit_status is None and self._is_uncollected() else {}
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            elif self._is_uncollected():
                os.kill(self.process_id, signal.SIGKILL)
        while True:
            self.wait(0.05)
            listed = {process_id: start for process_id, start in listed.items() if runs(process_id, start)}
            if self._is_uncollected():
                listed |= tree(self.process_id)
            if self.exit_status is not None and not listed:
                listed = self._holders()
                if not listed:
                    return
            now = time.monotonic()
            if now > started + _KILL_PATIENCE_S:
                return
            if now > started + _OWN_END_S:
                for process_id, start in listed.items():
                    kill(process_id, start)
            time.sleep(0.005)

    def _holders(self) -> dict[int, int]:
        """Return the processes that still hold the host's end of a pipe: its offspring, also where it left the tree.

        A process of this one's own session is none of them: it is a fork of the runner's.
        """
        poller = select.poll()
        for descriptor in (self.stdout, self.stderr):
            poller.register(descriptor, 0)
        open_pipes = {self.stdout, self.stderr} - {descriptor for descriptor, _ in poller.poll(0)}
        if not open_pipes:
            return {}
        names = {f"pipe:[{os.fstat(descriptor).st_ino}]" for descriptor in open_pipes}
        own_session = os.getsid(0)
        found: dict[int, int] = {}
        for process_id, process in processes():
            if process.session != own_session and names & _open_files(process_id):
                found[process_id] = process.start
        return found

    def release(self) -> None:
        """Close the pipes of a process that has ended."""
        self.close_stdin()
        for stream in (self._popen.stdout, self._popen.stderr):
            assert stream is not None
            stream.close()
        if self._guard is not None:  # it leaves when the host has
            try:
                self._guard.wait(_KILL_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
        with self._burying:
            if self.pidfd >= 0:
                os.close(self.pidfd)
                self.pidfd = -1
        self.let_deployment_go()

    def let_deployment_go(self) -> None:
        """Let the deployment be removed, although the process may still run."""
        if self._deployment is not None:
            os.close(self._deployment)
            self._deployment = None


def ends_with_its_runner(command: Sequence[str]) -> bool:
    """Return whether a command line starts our host, whose processes see to that themselves."""
    return any(word in _OUR_HOSTS or word.endswith(_OUR_PROGRAMS) for word in command)


def _named(environment: Mapping[str, str] | None, passed: Sequence[str], before: str) -> list[str]:
    """Return the variables that the algorithm gets beside the allow-list: those passed by name, and those set anew."""
    found = {*passed_names(before), *passed}
    for name, value in (environment or {}).items():
        if os.environ.get(name) != value and not is_allowed(name) and not name.startswith(_THE_HOSTS):
            found.add(name)
    return sorted(name for name in found if "," not in name)


def occupy_standard_descriptors() -> None:
    """Put /dev/null where this program has closed 0, 1 or 2: what it prints must not go into a pipe or a picture."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_DESCRIPTOR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _signals_are_as_ever() -> bool:
    """Return whether a program that this thread launches has no signal blocked or ignored."""
    return not signal.pthread_sigmask(signal.SIG_BLOCK, ()) and not _ignored()


def _ignored() -> list[int]:
    return [
        number
        for number in signal.valid_signals()
        if number not in _PYTHONS_OWN and signal.getsignal(number) is signal.SIG_IGN
    ]


def _take_signals_as_ever() -> None:
    """In the child, before it becomes the host: a host of another make may not see to that itself."""
    for number in _ignored():
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _status_without_waiting(pidfd: int) -> int:
    """Return the exit status of a process that somebody else has collected (linux/pidfd.h, Linux 6.15)."""
    from procvision_runner.exit_causes import UNKNOWN_STATUS

    told = bytearray(_INFO.pack(_INFO_EXIT, 0))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, told)
    except OSError:
        return UNKNOWN_STATUS
    mask, status = _INFO.unpack(told)
    return os.waitstatus_to_exitcode(status) if mask & _INFO_EXIT else UNKNOWN_STATUS


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


def _open_files(process_id: int) -> set[str]:
    """Return what a process's descriptors are, as far as this process may see them."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{process_id}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found
