"""Which number a host has among those of its algorithm on this machine: the lowest that is free.

A number is a locked file in the spool's folder. The kernel gives the lock back when a host dies, however it dies, so
that the next one has the same number, the same topics, and what its predecessor did not get rid of.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from os import O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_RDWR, W_OK, X_OK, access, close
from os import open as open_file
from pathlib import Path

from procvision_sdk.private_files import PRIVATE_FILE, make_private_folder

MAX_PLACES = 256


class Place:
    """A number that this process holds."""

    def __init__(self, folder: Path, number: int, lock: int) -> None:
        self.number = number
        self.database = folder / f"{number}.db"
        self._lock = lock

    def leave(self) -> None:
        """Give the number back."""
        close(self._lock)


def trouble(folder: Path) -> str | None:
    """Why nothing could be written into a folder, which need not be there yet; None where nothing speaks against it."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    if not there.is_dir():
        return f"{there} is no folder"
    return None if access(there, W_OK | X_OK) else f"{there} can't be written by this user"


def take(folder: Path) -> Place:
    """The lowest free number. Raises OSError."""
    make_private_folder(folder)
    for number in range(MAX_PLACES):
        place = _taken(folder, number)
        if place is not None:
            return place
    raise OSError(f"all of {MAX_PLACES} places in {folder} are taken by hosts that run")


def left_behind(folder: Path) -> Iterator[Place]:
    """The places with a spool that no host holds any more, each held until the next is asked for."""
    for path in sorted(folder.glob("*.db"), key=lambda path: path.name.zfill(8)):
        if not path.stem.isdecimal():
            continue
        place = _taken(folder, int(path.stem))
        if place is not None:
            try:
                yield place
            finally:
                place.leave()


def _taken(folder: Path, number: int) -> Place | None:
    lock = open_file(folder / f"{number}.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, PRIVATE_FILE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        close(lock)
        return None
    return Place(folder, number, lock)
