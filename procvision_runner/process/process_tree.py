"""Finds the processes that a host has started, and ends them.

Run as a program, it stays beside a host of another make and does so when the runner is gone, however that ended. Ours
sees to it itself.
Warning: the program has no packages: the standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

_STAT_BYTES = 4096
"""More than 52 numbers and a name take."""
_LOOK_S = 0.25
"""How often the program looks what a host has started, and whether what it kills is gone."""


class _Process(NamedTuple):
    """What /proc tells of a process."""

    state: str
    parent: int
    session: int
    start: int
    """When it began, in the kernel's ticks: with its number it tells a process from others before and after it."""


def _process(process_id: int) -> _Process | None:
    """Return what there is to know of a process. Raises OSError without a descriptor to read /proc with."""
    try:
        # Not by a Path and a text: this is done for each process of the machine whenever a host ends.
        descriptor = os.open(f"/proc/{process_id}/stat", os.O_RDONLY)
        try:
            line = os.read(descriptor, _STAT_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise
        return None  # it has ended meanwhile
    # The fields after the name in parentheses, which may hold anything (proc(5): the third and on).
    fields = line.rpartition(b")")[2].split()
    return _Process(fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19])) if len(fields) > 19 else None


def processes() -> Iterator[tuple[int, _Process]]:
    """Give the processes that run."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed
        process = _process(int(name)) if name.isdecimal() else None
        if process is not None and process.state not in "ZX":
            yield int(name), process


def runs(process_id: int, start: int) -> bool:
    """Return whether the process that began at `start` runs."""
    process = _process(process_id)
    return process is not None and process.state not in "ZX" and process.start == start


def kill(process_id: int, start: int) -> None:
    """Send SIGKILL to the process that began at `start`, to no other that has got its number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(process_id)
        try:
            if runs(process_id, start):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def tree(leader: int) -> dict[int, int]:
    """Return the living processes of a session and their descendants, also those that left it, and their starts.

    `leader` is the session's first process, which need not live any more but must not be collected. Raises OSError
    without a descriptor to read /proc with: an empty result would say that nothing lives.
    """
    known = dict(processes())
    members = {process_id for process_id, process in known.items() if process.session == leader}
    grown = True
    while grown:
        below = {child for child, process in known.items() if process.parent in members and child not in members}
        members |= below
        grown = bool(below)
    return {process_id: known[process_id].start for process_id in members}


def outlive_runner(runner: int, host: int, leader: int, limit_s: float) -> None:
    """Wait for the end of the runner or the host, both given by a pidfd. End the host's processes after the runner's.

    The host, whose number is `leader`, has lost its stdin then. After half of `limit_s` it is sent SIGTERM, and what
    is left of its processes at the end of it is killed.
    """
    poller = select.poll()
    poller.register(runner, select.POLLIN)
    poller.register(host, select.POLLIN)
    if not any(descriptor == runner for descriptor, _ in poller.poll()):
        return  # The runner lives, and sees to what its host has left.
    began = time.monotonic()
    poller.unregister(runner)
    listed: dict[int, int] = {}
    asked = False
    while not poller.poll(_LOOK_S * 1000):
        listed |= tree(leader)
        passed_s = time.monotonic() - began
        if passed_s >= limit_s:
            break
        if passed_s >= limit_s / 2 and not asked:
            asked = True
            signal.pidfd_send_signal(host, signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(host, signal.SIGKILL)
    while listed := {process_id: start for process_id, start in listed.items() if runs(process_id, start)}:
        for process_id, start in listed.items():
            kill(process_id, start)
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    outlive_runner(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
