"""The image backend of the scheme `shm`: segments of POSIX shared memory by name.

Only a regular file of this user's directly in /dev/shm is ever mapped, and it is opened without a link being followed
and without waiting, so nothing that others put there stops a host.
Warning: such a file can be changed, and cut off, by every process of the same user; cut off under its mapping it ends
the host with a SIGBUS. What lies in the arena can't.
"""

from __future__ import annotations

import mmap
import stat
from os import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, close, fstat, geteuid
from os import open as os_open

from procvision_host.builtin.mapped_slots import MappedSlots
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.layout import parse_slot_id

SHM_FOLDER = "/dev/shm"  # where POSIX shared memory lies on Linux
_FLAGS = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
MAX_SEGMENT_BYTES = 2**31
"""Of one slot: the pixel limit's 200 megapixels of 16 bits take 1.2 GB. A longer file isn't mapped beyond it."""


class PosixImages(MappedSlots):
    """The backend of the scheme `shm`."""

    def map_slot(self, shared_mem_id: str) -> tuple[mmap.mmap, int, int]:
        """Give a segment's memory."""
        segment, generation = parse_slot_id(shared_mem_id)
        try:
            descriptor = os_open(f"{SHM_FOLDER}/{segment}", _FLAGS)
        except OSError as error:
            raise _unreadable(segment, f"can't be opened: {error.strerror}") from None
        try:
            status = fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                raise _unreadable(segment, "is empty or no segment of shared memory")
            if status.st_uid != geteuid():
                raise _unreadable(segment, f"belongs to the user {status.st_uid}, this host runs as {geteuid()}")
            length = min(status.st_size, MAX_SEGMENT_BYTES)
            return mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ), length, generation
        finally:
            close(descriptor)


def _unreadable(segment: str, why: str) -> CallRefusedError:
    return CallRefusedError(
        ErrorCode.IMAGE_LOAD_FAILED,
        "no_such_image",
        f"the segment {segment!r} in {SHM_FOLDER} {why}; hint: is the runner that made it still there?",
    )
