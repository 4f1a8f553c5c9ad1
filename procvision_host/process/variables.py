"""What the cell was started with: of the environment an allow-list stays, of the command line the algorithm's name.

The rest is taken out, also where the kernel shows it and where the interpreter has kept it: the cell is a fork, and
would otherwise have the host half's secrets in its memory.
Warning: used before the code of installed packages runs (`site`).
"""

from __future__ import annotations

import os
import sys
from ctypes import memmove, memset

from procvision_sdk.environment import PASS_VARIABLE, is_allowed, passed_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ARGUMENTS, _ENVIRONMENT = (45, 46), (47, 48)
"""Where the kernel has put them at the start: fields of /proc/PID/stat behind the name (proc(5): 48 to 51)."""


def named_variables(given: Iterable[str]) -> tuple[str, ...]:
    """Return the names beside the allow-list: those that the environment names, and those `given` with `--env`."""
    return (*passed_names(os.environ.get(PASS_VARIABLE, "")), *given)


def forget_what_the_host_was_told(name: str, passed: Iterable[str]) -> None:
    """Keep of the command line the algorithm's name, of the environment the allow-list and what is `passed`."""
    sys.argv = sys.orig_argv = ["procvision-host", "--algo", name]
    _overwrite(_ARGUMENTS, b"\0".join(map(os.fsencode, sys.argv)))
    # As bytes: a text made of a secret would stay behind where it was.
    told = os.environb
    kept = {key: value for key, value in told.items() if is_allowed(os.fsdecode(key), passed)}
    values = [value for key, value in told.items() if key not in kept]
    if values:
        # Cleared as a whole, so that nothing points into the old memory when that is overwritten.
        os.environ.clear()
        _overwrite(_ENVIRONMENT, b"\0".join(key + b"=" + value for key, value in kept.items()))
        for value in values:
            _blank(value)
        told.update(kept)


def _blank(value: bytes) -> None:
    """Overwrite a value that nobody uses any more: freed memory keeps what was in it."""
    if len(value) > 1:  # shorter ones are shared by the whole interpreter
        memset(id(value) + bytes.__basicsize__ - 1, 0, len(value))


def _overwrite(fields: tuple[int, int], data: bytes) -> None:
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - no pathlib here
            told = file.read().rpartition(b")")[2].split()
        start, end = (int(told[field]) for field in fields)
    except (OSError, ValueError, IndexError):
        return
    if 0 < start < end:
        memset(start, 0, end - start)
        memmove(start, data, min(len(data), end - start - 1))
