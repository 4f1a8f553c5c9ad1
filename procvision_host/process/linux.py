"""What only Linux's own interface gives: parent death signals, orphans, a process's descendants and their end.

Signals go to process descriptors: a number may be another process's by the time a signal is sent to it.
Warning: the reaper uses this, which is forked before anything is imported: built-in modules only.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
else:  # without the enumerations of `signal`, which take longer than all the rest
    import _signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
KILL_PATIENCE_S = 2.0
"""How long to wait for killed processes to be gone; a process in an uninterruptible sleep can take longer."""
_NOW = 2
"""RTLD_NOW of dlopen(3)."""


def _prctl(option: int, argument: int) -> None:
    # The core of ctypes: the whole of it takes longer than the rest of a host's start up to its hello.
    import _ctypes

    program = _ctypes.dlopen(None, _NOW)  # type: ignore[arg-type]
    function = _ctypes.dlsym(program, "prctl")
    _ctypes.call_function(function, (option, argument, 0, 0, 0))


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent`, a process of one thread, ends; also if it already did."""
    _prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), _signal.SIGKILL)


def take_in_orphans() -> None:
    """Make descendants whose parent ends this process's own children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _state_and_parent(process_id: int) -> tuple[str, int] | None:
    try:
        descriptor = os.open(f"/proc/{process_id}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The name, in parentheses, may hold anything; the fields begin after the last one.
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split(None, 2)
        return fields[0].decode(), int(fields[1])
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(descriptor)


def parents() -> dict[int, int]:
    """Return every process's parent, from /proc."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - no pathlib in the reaper
        told = _state_and_parent(int(name)) if name.isdecimal() else None
        if told is not None:
            found[int(name)] = told[1]
    return found


def ended_children() -> set[int]:
    """Return the children of this process that ended and that nobody has collected yet."""
    own = os.getpid()
    children = [process_id for process_id, parent in parents().items() if parent == own]
    return {child for child in children if (_state_and_parent(child) or ("", 0))[0] == "Z"}


class Orphans:
    """Which of the ended children nobody will collect any more: this process took them in.

    A child's parent collects it soon; one that was there at the last look already is an orphan.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._looked: float | None = None
        self._seen: set[int] = set()

    def to_collect(self, now: float, look: Callable[[], set[int]]) -> set[int]:
        """Return those to collect now; `look` gives the ended children, and is asked once in `patience_s`."""
        if self._looked is None:
            self._looked = now  # a start isn't held up by a look
        if now < self._looked + self._patience_s:
            return set()
        ended = look()
        orphans, self._seen = ended & self._seen, ended - self._seen
        self._looked = now
        return orphans


def descendants(process_id: int) -> dict[int, int]:
    """Return every process that `process_id` started, directly or not, and its parent."""
    children: dict[int, list[int]] = {}
    known = parents()
    for child, parent in known.items():
        children.setdefault(parent, []).append(child)
    found: dict[int, int] = {}
    open_ends = [process_id]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found |= {child: known[child] for child in below}
        open_ends += below
    return found


def kill_child_of(parent: int, process_id: int) -> None:
    """Send SIGKILL to a process if it is a child of `parent`: another may have got its number meanwhile."""
    try:
        descriptor = os.pidfd_open(process_id)
    except OSError:
        return
    try:
        told = _state_and_parent(process_id)
        if told is not None and told[1] == parent:
            _signal.pidfd_send_signal(descriptor, _signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def kill_descendants() -> None:
    """Kill and reap every descendant of this process, also those that start meanwhile.

    Needs `take_in_orphans`: only then does a grandchild whose parent was killed come here.
    """
    deadline = monotonic() + KILL_PATIENCE_S
    while not _reaped_all() and monotonic() < deadline:
        for process_id, parent in descendants(os.getpid()).items():
            kill_child_of(parent, process_id)
        sleep(0.002)


def _reaped_all() -> bool:
    """Collect the children that ended. Return True if there are no others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False
