"""Temporary folders that can be told from those of the living: each is locked (flock) for as long as it is used.

A command that was killed leaves its folder behind. Its lock is gone with it, so a later command may remove it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from procvision_sdk.errors import ProcVisionError

PREFIX = "procvision-"
MIN_AGE_S = 60.0
"""A folder is made before it is locked; one this old was locked, if ever."""


class NoScratchError(ProcVisionError):
    """There is no folder for temporary files."""


def temporary_folder() -> Path:
    """Return where temporary files lie. Raises NoScratchError where no folder for them can be written."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise NoScratchError(
            f"there is no folder for temporary files: {error.strerror}; hint: TMPDIR=FOLDER that this user may write"
        ) from None


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards. Raises NoScratchError."""
    temporary_folder()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(descriptor)


def abandoned(where: Path | None = None, *, remove: bool = False) -> list[Path]:
    """Give this user's folders that nobody uses any more; with ``remove`` they are gone, too."""
    found = []
    for path in (where or temporary_folder()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            facts = path.lstat()
            if facts.st_uid != os.getuid() or time.time() - facts.st_mtime < MIN_AGE_S:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if remove:
                    shutil.rmtree(path)
                found.append(path)
            finally:
                os.close(descriptor)
    return found
