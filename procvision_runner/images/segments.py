"""Segments of shared memory for image slots: made once, faulted in, named and locked.

Each is locked (flock) for as long as its runner lives, so a later runner can tell what a killed one left behind and
remove it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procvision_runner.errors import SlotsExhaustedError
from procvision_sdk.images.layout import PAYLOAD_OFFSET
from procvision_sdk.images.meta import CHANNELS, ColorSpace

if TYPE_CHECKING:
    from procvision_runner.images.picture import Description, Pixels

SHM_FOLDER = Path("/dev/shm")  # where POSIX shared memory lies on Linux
PREFIX = "pv-"
_MAP_POPULATE = getattr(mmap, "MAP_POPULATE", 0x8000)


class Slot:
    """One segment."""

    __slots__ = ("_descriptor", "_views", "capacity", "described", "generation", "memory", "name")

    def __init__(self, capacity: int) -> None:
        pages = -(-capacity // mmap.PAGESIZE)
        self.capacity = pages * mmap.PAGESIZE
        size = PAYLOAD_OFFSET + self.capacity
        try:
            self.name, self._descriptor = _made_and_locked()
        except OSError as error:
            raise SlotsExhaustedError(f"no slot can be made in {SHM_FOLDER}: {error.strerror}") from error
        try:
            # Reserved now: running out of shared memory is an error here and a SIGBUS later.
            os.posix_fallocate(self._descriptor, 0, size)
            self.memory = mmap.mmap(self._descriptor, size, mmap.MAP_SHARED | _MAP_POPULATE)
        except OSError as error:
            (SHM_FOLDER / self.name).unlink(missing_ok=True)
            os.close(self._descriptor)
            raise SlotsExhaustedError(
                f"{SHM_FOLDER} has no room for a slot of {size} bytes: {error.strerror}; "
                "hint: enlarge it, or lower max_slots (in a container: --shm-size)"
            ) from error
        self.generation = 0
        self.described: Description | None = None
        """What the header says beside the generation: it is written again only where that changes."""
        self._views: dict[tuple[int, int, str, int | None], Any] = {}

    def view(self, width: int, height: int, color_space: ColorSpace, bits: int | None = None) -> Pixels:
        """The payload as a writable array, H x W x 3 or, for MONO, H x W; uint16 for more than 8 bits."""
        key = (width, height, color_space, bits)
        found = self._views.get(key)
        if found is None:
            import numpy as np

            samples = width * height * CHANNELS[color_space]
            flat = np.frombuffer(self.memory, "<u2" if bits else np.uint8, samples, PAYLOAD_OFFSET)
            shape = (height, width) if color_space == "MONO" else (height, width, 3)
            found = self._views[key] = flat.reshape(shape)
        array: Pixels = found
        return array

    def remove(self) -> None:
        """Takes the segment's name away; the memory goes with its last mapping."""
        with contextlib.suppress(FileNotFoundError):
            (SHM_FOLDER / self.name).unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._views.clear()
        with contextlib.suppress(BufferError):
            # A borrowed array keeps the mapping alive; it goes with the array.
            self.memory.close()


def _made_and_locked() -> tuple[str, int]:
    """A new segment's name and descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        descriptor = os.open(SHM_FOLDER / name, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another runner may have taken it for a leftover in the instant before it was locked.
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)


def remove_leftovers(folder: Path = SHM_FOLDER) -> list[str]:
    """Removes the segments of runners that are gone; returns their names.

    A living runner holds a lock on each of its segments, wherever it runs, so nothing of anyone else's is touched.
    """
    return [name for name, _ in leftovers(folder, remove=True)]


def leftovers(folder: Path = SHM_FOLDER, *, remove: bool = False) -> list[tuple[str, int]]:
    """The segments of runners that are gone, as name and bytes; with `remove` they are gone, too."""
    found: list[tuple[str, int]] = []
    paths: list[Path] = []
    with contextlib.suppress(OSError):  # no descriptor to look with: the next runner will
        paths = list(folder.glob(f"{PREFIX}*"))
    for path in paths:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if remove:
                    path.unlink()
                found.append((path.name, os.fstat(descriptor).st_size))
            finally:
                os.close(descriptor)
    return found
