"""The descriptors that SQLite has on its files, kept an eye on: an algorithm may close them or reuse their numbers.

SQLite would then write its pages into whatever file has the number now, or wait ten seconds for locks that no
descriptor holds. What was only closed is opened again under its number, so that SQLite can be closed in good order;
a number that is somebody else's by now is left to them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from enum import Enum
from fcntl import F_GETSIG, F_SETSIG, fcntl
from os import O_CLOEXEC, O_RDWR, close, dup2, fstat, listdir, stat
from os import open as os_open
from pathlib import Path

_MARK = 58
"""The signal that is set for SQLite's descriptors, as the host marks its own with another: it is never sent, and asking
for it is the cheapest question about a descriptor."""
_OWN_DESCRIPTORS = "/proc/self/fd"


class Descriptors(Enum):
    """What became of them."""

    RESTORED = "were closed and opened again"
    REUSED = "were closed, and their numbers are other files' now"
    REMOVED = "are of files that were removed: what is written to them nobody will find"


class OwnDescriptors:
    """Those of this process on some files, the database first, as they are now."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files: list[tuple[int, Path, tuple[int, int, bool]]] = []
        numbers = [int(name) for name in listdir(_OWN_DESCRIPTORS)]  # noqa: PTH208 - Path calls through the module
        for path in paths:
            try:
                file = stat(path)  # noqa: PTH116
            except FileNotFoundError:
                continue
            for number in numbers:
                with contextlib.suppress(OSError):  # as for the one that the folder itself was read with
                    identity = _identity(number)
                    if identity[:2] == (file.st_dev, file.st_ino):
                        fcntl(number, F_SETSIG, _MARK)
                        self._files.append((number, path, identity))

    def number(self, path: Path) -> int | None:
        """Return the number of the descriptor of a file."""
        return next((number for number, of, _ in self._files if of == path), None)

    def whole(self) -> bool:
        """Tell whether each is still what it was, and the database still has a name. It takes a microsecond."""
        try:
            for number, _, _ in self._files:
                if fcntl(number, F_GETSIG) != _MARK:
                    return False
            return not self._files or fstat(self._files[0][0]).st_nlink > 0
        except OSError:
            return False

    def restore(self) -> Descriptors:
        """Open again what was closed, unless there is more to it. Raises OSError."""
        closed: list[tuple[int, Path]] = []
        for number, path, identity in self._files:
            try:
                now = _identity(number)
                if now != identity:
                    return Descriptors.REMOVED if now[:2] == identity[:2] else Descriptors.REUSED
            except OSError:
                closed.append((number, path))
        for number, path in closed:
            opened = os_open(path, O_RDWR | O_CLOEXEC)
            if opened != number:
                dup2(opened, number, inheritable=False)
                close(opened)
        return Descriptors.RESTORED


def _identity(number: int) -> tuple[int, int, bool]:
    status = fstat(number)
    return status.st_dev, status.st_ino, status.st_nlink > 0
