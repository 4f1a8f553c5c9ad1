"""What the cell was started with: what is meant for the host half is taken out, also where the kernel shows it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from procvision_host.halves.asked import is_the_host_halfs

_ARGUMENTS, _ENVIRONMENT = (45, 46), (47, 48)
"""Where the kernel has put them at the start: fields of /proc/PID/stat behind the name (proc(5): 48 to 51)."""


def forget_what_the_host_was_told(name: str) -> None:
    """Keep of the command line the algorithm's name, of the environment what isn't the host half's."""
    sys.argv = sys.orig_argv = ["procvision-host", "--algo", name]
    _overwrite(_ARGUMENTS, b"\0".join(map(os.fsencode, sys.argv)))
    kept = {name: value for name, value in os.environ.items() if not is_the_host_halfs(name)}
    if len(kept) != len(os.environ):
        # Cleared as a whole, so that nothing points into the old memory when that is overwritten.
        os.environ.clear()
        _overwrite(_ENVIRONMENT, b"")
        os.environ.update(kept)


def _overwrite(fields: tuple[int, int], data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        told = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = (int(told[field]) for field in fields)
        if 0 < start < end:
            ctypes.memset(start, 0, end - start)
            ctypes.memmove(start, data, min(len(data), end - start - 1))
