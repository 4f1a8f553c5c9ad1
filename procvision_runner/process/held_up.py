"""Whether the machine keeps a host from running: then a pong that is late says nothing of the host.

The kernel counts for how long each thread was ready to run and had no processor
(docs.kernel.org/scheduler/sched-stats, /proc/PID/schedstat), and in a virtual machine for how long each processor was
another's (proc(5), /proc/stat, `steal`). What waits for a disk, as for pages that were given up for lack of memory, is
in the state D (proc(5)).
Warning: a wait that is still going on isn't counted: the kernel adds it when the thread runs.
Warning: a host tells its own process id. One that names a process that waits gets a little more time by it, which
`HeartbeatPolicy.held_up_s` bounds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_SHARE = 0.5
"""Of the time that a pong may take. A host needs a hundredth of it: one that waited for half of it was held up."""
_DISK = b"D"
_MOST_BYTES = 16 * 1024
"""The lines of a hundred processors."""
_STEAL = 7
"""The place of `steal` in a processor's line."""


def waits(process_id: int | None) -> dict[str, int]:
    """Return for how many nanoseconds each thread of a process has waited for a processor, and each processor is away.

    What can't be told is left out.
    """
    found = _stolen()
    for thread in _threads(process_id):
        counted = _read(f"/proc/{process_id}/task/{thread}/schedstat").split()
        if len(counted) > 1 and counted[1].isdigit():
            found[thread] = int(counted[1])
    return found


def held_up(process_id: int | None, before: Mapping[str, int], late_s: float, grace_s: float) -> bool:
    """Return whether a process got no processor since `before`, waits for a disk, or this one was held up itself.

    `late_s` is how much later than it should this process looks for a pong that may take `grace_s`.
    """
    enough_s = grace_s * _SHARE
    if late_s >= enough_s:
        return True
    if any(waited - before.get(thread, waited) >= enough_s * 1e9 for thread, waited in waits(process_id).items()):
        return True
    return any(
        _read(f"/proc/{process_id}/task/{thread}/stat").rpartition(b")")[2].lstrip().startswith(_DISK)
        for thread in _threads(process_id)
    )


def _stolen() -> dict[str, int]:
    found: dict[str, int] = {}
    for line in _read("/proc/stat").splitlines():
        name, *ticks = line.split()
        if not name.startswith(b"cpu"):
            break
        if name != b"cpu" and len(ticks) > _STEAL:
            found[name.decode()] = int(ticks[_STEAL]) * (10**9 // os.sysconf("SC_CLK_TCK"))
    return found


def _threads(process_id: int | None) -> list[str]:
    try:
        return os.listdir(f"/proc/{process_id}/task") if process_id is not None else []  # noqa: PTH208 - texts
    except OSError:
        return []


def _read(file: str) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return b""  # it has ended meanwhile, or this kernel doesn't count
