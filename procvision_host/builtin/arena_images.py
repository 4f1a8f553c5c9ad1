"""Pictures in the arena that the runner handed on: `arena:OFFSET:BYTES:GENERATION`.

The strategy: only the ranges that ids name are mapped, since to look at a hole of the arena allocates it. The seals say
that what is mapped stays: no runner and no other process can cut it off.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from os import fstat

from procvision_host.builtin.mapped_slots import MappedSlots
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.layout import ARENA_ALIGNMENT, HEADER_BYTES, parse_arena_id


class ArenaImages(MappedSlots):
    """The backend of the scheme `arena`. `descriptor` gives the arena's, which the algorithm may have closed."""

    def __init__(self, descriptor: Callable[[], int]) -> None:
        super().__init__()
        self._descriptor = descriptor

    def map_slot(self, shared_mem_id: str) -> tuple[mmap.mmap, int, int]:
        """Give the memory of a range."""
        offset, length, generation = parse_arena_id(shared_mem_id)
        if length < HEADER_BYTES:
            raise _refused("bad_slot", f"the slot has {length} bytes, its header alone takes {HEADER_BYTES}")
        try:
            descriptor = self._descriptor()
            size = fstat(descriptor).st_size
            if offset % ARENA_ALIGNMENT or offset + length > size:
                raise _refused(
                    "no_such_image",
                    f"the arena has {size} bytes, no slot of {length} begins at {offset} "
                    f"(slots begin at multiples of {ARENA_ALIGNMENT})",
                )
            memory = mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)
        except (OSError, ValueError) as error:
            raise _refused("no_such_image", f"the arena can't be mapped: {error}") from None
        return memory, length, generation


def _refused(kind: str, text: str) -> CallRefusedError:
    return CallRefusedError(ErrorCode.IMAGE_LOAD_FAILED, kind, text)
