"""A file that holds room on the disk: given up, it lets the ledger record what is deleted when nothing else fits."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from procvision_sdk.private_files import touch_private

BALLAST_FILE = "ballast"
BALLAST_BYTES = 16 * 1024 * 1024
"""A day of records at one product in four seconds; a deletion's record has some kilobytes."""


class Ballast:
    """The file of a folder. One thread uses it."""

    def __init__(self, folder: Path, size: int = BALLAST_BYTES) -> None:
        self._path, self._size = folder / BALLAST_FILE, size

    def take(self) -> bool:
        """Hold the room again, unless that would fill the disk; whether it is held."""
        try:
            touch_private(self._path)
            if self._path.stat().st_size >= self._size:
                return True
            free = os.statvfs(self._path)
            if free.f_bavail * free.f_frsize < 3 * self._size:
                return False
            with self._path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
                os.fsync(file.fileno())
        except OSError:
            self.give_up()
            return False
        return True

    def share(self) -> None:
        """Give half of the room to the projection: what it doesn't know, nobody deletes. The rest is for records."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_size >= self._size:
                os.truncate(self._path, self._size // 2)

    def give_up(self) -> bool:
        """Give the room to the next writer. Return whether there was any."""
        with contextlib.suppress(OSError):
            held = self._path.stat().st_size > 0
            os.truncate(self._path, 0)
            return held
        return False
