"""One slot: a header and a payload in memory of the runner's, whatever hands that memory to a host."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, ClassVar

from procvision_sdk.images.layout import PAYLOAD_OFFSET
from procvision_sdk.images.meta import CHANNELS, ColorSpace

if TYPE_CHECKING:
    from procvision_sdk.images.picture import Description, Pixels


class Slot:
    """What the two kinds share. `generation` counts the uses, `described` is what the header says beside it."""

    __slots__ = ("_views", "capacity", "described", "generation", "memory", "prefix")

    named: ClassVar[bool]
    """Whether it is a file that others can find; such a slot is written out before each call."""

    def __init__(self, memory: memoryview, generation: int = 0) -> None:
        self.memory = memory
        self.capacity = len(memory) - PAYLOAD_OFFSET
        self.generation = generation
        self.described: Description | None = None
        """It is written again only where it changes."""
        self.prefix = ""
        """What a `shared_mem_id` of it begins with: all but the generation."""
        self._views: dict[tuple[int, int, str, int | None], Any] = {}

    @staticmethod
    def bytes_for(capacity: int) -> int:
        """Give the bytes of a slot for a payload of so many, in whole pages."""
        return PAYLOAD_OFFSET + -(-capacity // mmap.PAGESIZE) * mmap.PAGESIZE

    def view(self, width: int, height: int, color_space: ColorSpace, bits: int | None = None) -> Pixels:
        """Give the payload as a writable array, H x W x 3 or, for MONO, H x W; uint16 for more than 8 bits."""
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

    def write_generation(self) -> None:
        """Bring the generation to where hosts see it. Of memory that they see themselves there is nothing to bring."""

    def write_out(self, payload_bytes: int) -> None:
        """Bring the payload and then the header to where hosts see them."""

    def remove(self) -> None:
        """Give its memory back; no host may read it any more."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop the views of the memory; a borrowed array keeps what it shows."""
        self._views.clear()
        self.described = None
