"""Named segments of shared memory, for hosts that know no arena: files in /dev/shm, as the protocol's `shm:` has them.

The strategy: a process that may open such a file can cut it off, and a mapping of it would then be a SIGBUS, which
nothing catches. So the runner never maps one: a slot is memory of its own, which is written out before each call.
Each file is locked (flock) for as long as its runner lives, so a later runner can tell what a killed one left behind
and remove it. What another user put there is never opened.
Warning: every process of this user can still change what a host reads in such a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
from pathlib import Path

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.images.slot import Slot
from procvision_sdk.images.layout import GENERATION_BYTES, GENERATION_OFFSET, HEADER_BYTES, PAYLOAD_OFFSET, slot_prefix

SHM_FOLDER = Path("/dev/shm")  # where POSIX shared memory lies on Linux
PREFIX = "pv-"


class NamedSlot(Slot):
    """One segment, and the memory that it is written from."""

    __slots__ = ("_descriptor", "name")

    named = True

    def __init__(self, capacity: int) -> None:
        size = self.bytes_for(capacity)
        super().__init__(memoryview(mmap.mmap(-1, size)))
        self._make()

    def _make(self) -> None:
        size = len(self.memory)
        try:
            self.name, self._descriptor = _made_and_locked()
        except OSError as error:
            raise SlotsExhaustedError(f"no slot can be made in {SHM_FOLDER}: {error.strerror}") from error
        try:
            # Reserved now: running out of shared memory is an error here and an I/O error later.
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            self._take_away()
            raise _no_room(size, error) from error
        self.prefix = slot_prefix(self.name)

    def write_generation(self) -> None:
        """Write the generation out: what a host may still read there is stale from now on."""
        self._write(GENERATION_OFFSET, GENERATION_BYTES)

    def write_out(self, payload_bytes: int) -> None:
        """Write the payload out, then the header; a file that somebody cut off or removed is whole again after that."""
        if not os.fstat(self._descriptor).st_nlink:
            os.close(self._descriptor)
            self._make()
        self._write(PAYLOAD_OFFSET, payload_bytes)
        self._write(0, HEADER_BYTES)

    def _write(self, offset: int, length: int) -> None:
        with self.memory[offset : offset + length] as rest:
            written = 0
            while written < length:
                try:
                    written += os.pwrite(self._descriptor, rest[written:], offset + written)
                except OSError as error:
                    raise _no_room(len(self.memory), error) from error

    def remove(self) -> None:
        """Take the segment's name away; what a host has mapped goes with that mapping."""
        self.forget()
        self._take_away()

    def _take_away(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (SHM_FOLDER / self.name).unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _no_room(size: int, error: OSError) -> SlotsExhaustedError:
    return SlotsExhaustedError(
        f"{SHM_FOLDER} has no room for a slot of {size} bytes: {error.strerror}; "
        "hint: enlarge it, or lower max_slots (in a container: --shm-size)"
    )


def _made_and_locked() -> tuple[str, int]:
    """Make a new segment and lock it. Return its name and descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = f"{PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        descriptor = os.open(SHM_FOLDER / name, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another runner may have taken it for a leftover in the instant before it was locked.
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)


def remove_leftovers(folder: Path = SHM_FOLDER) -> list[str]:
    """Remove the segments of runners that are gone, and return their names.

    A living runner holds a lock on each of its segments, wherever it runs, so nothing of anyone else's is touched.
    """
    return [name for name, _ in leftovers(folder, remove=True)]


def leftovers(folder: Path = SHM_FOLDER, *, remove: bool = False) -> list[tuple[str, int]]:
    """Return the segments of runners that are gone, as name and bytes. With `remove`, remove them."""
    found: list[tuple[str, int]] = []
    paths: list[Path] = []
    with contextlib.suppress(OSError):  # no descriptor to look with: the next runner will
        paths = list(folder.glob(f"{PREFIX}*"))
    for path in paths:
        with contextlib.suppress(OSError):
            if not _is_own(path.lstat()):
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not _is_own(os.fstat(descriptor)):
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if remove:
                    path.unlink()
                found.append((path.name, os.fstat(descriptor).st_size))
            finally:
                os.close(descriptor)
    return found


def _is_own(status: os.stat_result) -> bool:
    """Tell whether a file is a regular one of this user. To open another may block, or wake what waits behind it."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
