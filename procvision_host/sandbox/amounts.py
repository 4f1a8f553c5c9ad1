"""What bounds the amounts that a cell uses: against accidents, a leak or a loop, rather than against malice.

A limit of the kernel's holds for each process, not for all of an algorithm's together; only a cgroup bounds those.
"""

from __future__ import annotations

import contextlib
import os
import resource

CORE_BYTES = 0
"""A dump of a process with a model in it fills a disk, and has the picture and the session in it."""
FILE_BYTES = 1 << 30
"""Of one file; a picture of 200 megapixels has 0.6 GB."""
OPEN_FILES = 4096
"""Of one process. Four times what Linux gives as a rule."""
PROCESSES = 512
"""Processes and threads: libraries start one for each processor, and each worker process does so again."""
ENDED_FIRST = 500
"""Added to what the runner has (`oom_score_adj`, of 1000): as if it used half of the memory more than it does."""
_MOST = 1000
_ADJUSTMENT = "/proc/self/oom_score_adj"


def bound_basic() -> None:
    """Leave no core dumps, and be the first that the kernel ends where memory runs out."""
    bound(resource.RLIMIT_CORE, CORE_BYTES)
    # A root that gives up its capabilities after this can't take it back; another user can, with the right to write it.
    with contextlib.suppress(OSError, ValueError), open(_ADJUSTMENT, "r+") as file:
        now = int(file.read())
        file.seek(0)
        file.write(str(min(_MOST, now + ENDED_FIRST)))


def bound_strict() -> None:
    """Bound the size of a file and the number of open ones."""
    bound(resource.RLIMIT_FSIZE, FILE_BYTES)
    bound(resource.RLIMIT_NOFILE, OPEN_FILES)


def bound_processes(most: int = PROCESSES) -> None:
    """Bound processes and threads, in a user namespace of its own: outside of one all of a user's count.

    It does nothing for root, whom the kernel doesn't hold to it.
    """
    if os.getuid():
        bound(resource.RLIMIT_NPROC, most)


def bound(limit: int, most: int) -> None:
    """Set a limit, unless a lower one is set."""
    soft, hard = (most if given == resource.RLIM_INFINITY else min(most, given) for given in resource.getrlimit(limit))
    resource.setrlimit(limit, (soft, hard))
