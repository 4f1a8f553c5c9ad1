"""What a journal does to a disk, as few operations: tests note them, and replay what a power cut leaves of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Protocol

from procvision_sdk.private_files import PRIVATE_FILE, sync_folder


class Disk(Protocol):
    """Files of one folder, by name. Everything raises OSError; what was not synced may be lost by a power cut."""

    def create(self, name: str) -> None:
        """Make an empty file. Raises FileExistsError."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""

    def sync(self, name: str) -> None:
        """Return when what was written to the file, and its length, survive a power cut."""

    def truncate(self, name: str, length: int) -> None:
        """Cut a file off."""

    def rename(self, name: str, new: str) -> None:
        """Give a file another name."""

    def sync_folder(self) -> None:
        """Return when the names of the files survive a power cut."""

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Return what is in a file from `offset` on: `length` bytes at most, or all."""

    def names(self) -> list[str]:
        """Return the names of the files, sorted."""

    def close(self) -> None:
        """Let go of what is open."""


class FolderDisk:
    """`Disk` on a real folder. One file at a time stays open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: tuple[str, int] | None = None

    def create(self, name: str) -> None:
        """Make an empty file for its owner alone."""
        descriptor = os.open(
            self.folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE
        )
        os.fchmod(descriptor, PRIVATE_FILE)
        self._keep(name, descriptor)

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write all of it, however much a call takes."""
        descriptor, left = self._descriptor(name), memoryview(data)
        while left:
            written = os.pwrite(descriptor, left, offset)
            offset, left = offset + written, left[written:]

    def sync(self, name: str) -> None:
        """Call fdatasync, which includes a changed length."""
        os.fdatasync(self._descriptor(name))

    def truncate(self, name: str, length: int) -> None:
        """Cut a file off."""
        os.ftruncate(self._descriptor(name), length)

    def rename(self, name: str, new: str) -> None:
        """Rename without replacing what has the name."""
        if (self.folder / new).exists():
            raise FileExistsError(17, "it exists", str(self.folder / new))
        self.close()
        (self.folder / name).rename(self.folder / new)

    def sync_folder(self) -> None:
        """Sync the directory."""
        sync_folder(self.folder)

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Read a file from `offset` on: `length` bytes at most, or all."""
        with (self.folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def names(self) -> list[str]:
        """Return the names of the files, sorted."""
        return sorted(path.name for path in self.folder.iterdir())

    def close(self) -> None:
        """Close the open file."""
        if self._open is not None:
            descriptor, self._open = self._open[1], None
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _descriptor(self, name: str) -> int:
        if self._open is None or self._open[0] != name:
            self._keep(name, os.open(self.folder / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
        assert self._open is not None
        return self._open[1]

    def _keep(self, name: str, descriptor: int) -> None:
        self.close()
        self._open = (name, descriptor)
