"""What only Linux's own interface gives: parent death signals, orphans, a process's descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
KILL_PATIENCE_S = 2.0
"""How long to wait for killed processes to be gone; a process in an uninterruptible sleep can take longer."""


def _prctl(option: int, argument: int) -> None:
    # Imported here: ctypes takes longer than the rest of a host's start up to its hello.
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent`, a process of one thread, ends; also if it already did."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def take_in_orphans() -> None:
    """Make descendants whose parent ends this process's own children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def parents() -> dict[int, int]:
    """Return every process's parent, from /proc."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name, in parentheses, may hold anything; the fields begin after the last one.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1])
    return found


def ended_children() -> set[int]:
    """Return the children of this process that ended and that nobody has collected yet."""
    found: set[int] = set()
    for process_id, parent in parents().items():
        if parent == os.getpid():
            with contextlib.suppress(OSError, IndexError):
                state = Path(f"/proc/{process_id}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                if state == "Z":
                    found.add(process_id)
    return found


class Orphans:
    """Which of the ended children nobody will collect any more: this process took them in.

    Whoever has started a child collects it soon; one that was there at the last look already is an orphan.
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


def descendants(process_id: int) -> list[int]:
    """Return every process that `process_id` started, directly or not, and that still runs."""
    children: dict[int, list[int]] = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    open_ends = [process_id]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def kill_descendants() -> None:
    """Kill and reap every descendant of this process, also those that start meanwhile.

    Needs `take_in_orphans`: only then does a grandchild whose parent was killed come here.
    """
    deadline = time.monotonic() + KILL_PATIENCE_S
    while not _reaped_all() and time.monotonic() < deadline:
        for process_id in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(0.002)


def _reaped_all() -> bool:
    """Collect the children that ended. Return True if there are no others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False
