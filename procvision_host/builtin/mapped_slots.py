"""Slots that a host reads: mapped once and kept, their headers held against each call.

The mapping is read-only, so an algorithm can't write into its picture even by accident. NumPy is imported before the
first call where there is time for it, else with the first array. Where a slot lies, and what may be mapped of it, is
the affair of the backends that are made from this.
"""

from __future__ import annotations

import mmap
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.layout import (
    GENERATION_BYTES,
    MAX_GENERATION_DIGITS,
    SlotHeader,
    check_description,
    read_header,
    split_header,
    stale,
)

if TYPE_CHECKING:
    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.view import RgbArray

MAX_MAPPINGS = 64
"""A runner has a handful of slots; more mappings than this are forgotten ones, the least recently used go."""


MAX_ROOM_BYTES = 200_000_000
"""What is kept to decode into: enough for a camera of 65 megapixels. A larger picture gets memory of its own."""


class Mapping:
    """One slot, mapped, with the last view of it, and what its header said when it was last read."""

    __slots__ = ("agreed", "header", "length", "memory", "meta", "said", "view", "viewed")

    def __init__(self, memory: mmap.mmap, length: int) -> None:
        self.memory = memory
        self.length = length
        self.said = (b"", b"")
        """The header's bytes but for the generation, and what they mean: the next picture has the same as a rule."""
        self.header: SlotHeader | None = None
        self.agreed: tuple[object, ...] = ()
        """What of a call's `image_meta` was found to agree with this header."""
        self.meta: ImageMeta | None = None
        """The last that agreed: calls like it bring the same object."""
        self.view: RgbArray | None = None
        self.viewed: SlotHeader | None = None
        """The header that the view was made of."""


class MappedImage:
    """One call's picture in a mapped slot."""

    __slots__ = ("_array", "_generation", "_header", "_mapping")

    def __init__(self, mapping: Mapping, header: SlotHeader, generation: int, decoded: RgbArray | None) -> None:
        self._mapping = mapping
        self._header = header
        self._generation = generation
        self._array = decoded

    def array(self) -> RgbArray:
        """Return the picture. It is a view of the slot where it is raw."""
        if self._array is None:
            mapping, header = self._mapping, self._header
            if mapping.viewed is not header:
                from procvision_sdk.images.view import rgb_view

                mapping.view = rgb_view(
                    memoryview(mapping.memory), header.width, header.height, header.color_space, header.payload_offset
                )
                mapping.viewed = header
            self._array = mapping.view
            assert self._array is not None
        return self._array

    def still_valid(self) -> None:
        """Check the slot. Raises CallRefusedError (1002) if it was written again while the call ran."""
        _, found, _ = split_header(self._mapping.memory)
        if found != self._generation:
            raise stale(self._generation, found)


class MappedSlots:
    """What backends of slots have in common."""

    def __init__(self, max_mappings: int = MAX_MAPPINGS) -> None:
        self._max_mappings = max_mappings
        self._mappings: OrderedDict[str, Mapping] = OrderedDict()
        """By the ids' beginning, all but the generation."""
        self._room = bytearray()
        """Where JPEGs are decoded, call after call: memory that is fresh each time costs more than the decoding."""

    def open(self, shared_mem_id: str, meta: ImageMeta) -> MappedImage:
        """Open the picture that an id names, held against its slot's header and `meta`, decoded if it is encoded."""
        named, _, number = shared_mem_id.rpartition(":")
        mapping = self._mappings.get(named)
        if mapping is not None and len(number) <= MAX_GENERATION_DIGITS and number.isascii() and number.isdecimal():
            # What comes before the generation was checked when the slot was mapped.
            generation = int(number)
        else:
            mapped, length, generation = self.map_slot(shared_mem_id)
            mapping = self._keep(named, mapped, length)
        header = mapping.header
        before, found, behind = split_header(mapping.memory)
        if found != generation or generation % 2:
            raise stale(generation, found)
        if header is None or (before, behind) != mapping.said:
            # Read from a copy: what is checked is what is used, whatever is written meanwhile.
            header = read_header(before + bytes(GENERATION_BYTES) + behind, mapping.length)
            mapping.header, mapping.said, mapping.agreed, mapping.meta = header, (before, behind), (), None
        if meta is not mapping.meta:
            described = (meta.width, meta.height, meta.color_space, meta.encoding, meta.bits)
            if described != mapping.agreed:
                check_description(header, meta)
                mapping.agreed = described
            mapping.meta = meta
        if header.encoding != "raw":
            return MappedImage(mapping, header, generation, self._decoded(mapping, header, meta))
        if header.bits > 8:
            from procvision_sdk.images.view import deep_rgb

            memory, offset = memoryview(mapping.memory), header.payload_offset
            return MappedImage(
                mapping,
                header,
                generation,
                deep_rgb(memory, meta.width, meta.height, meta.color_space, header.bits, offset),
            )
        return MappedImage(mapping, header, generation, None)

    def close(self) -> None:
        """Forget the mappings. One that an algorithm still has a view of goes with that view."""
        self._mappings.clear()

    def map_slot(self, shared_mem_id: str) -> tuple[mmap.mmap, int, int]:
        """Give a slot's memory, how much of it there is, and the generation that an id names.

        Raises CallRefusedError (1002).
        """
        raise NotImplementedError

    def _keep(self, named: str, memory: mmap.mmap, length: int) -> Mapping:
        read_header(memory, length)  # raises for what is no slot: none of that is kept
        mapping = self._mappings[named] = Mapping(memory, length)
        if len(self._mappings) > self._max_mappings:
            self._mappings.popitem(last=False)
        return mapping

    def _decoded(self, mapping: Mapping, header: SlotHeader, meta: ImageMeta) -> RgbArray:
        from procvision_sdk.images.decode import decode

        # A copy: the decoder must not see bytes change under it.
        data = mapping.memory[header.payload_offset : header.payload_offset + header.payload_bytes]
        if header.payload_crc32 and zlib.crc32(data) != header.payload_crc32:
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED,
                "image_damaged",
                f"the {header.encoding} in the slot doesn't match the CRC-32 that was stored with it",
            )
        needed = meta.width * meta.height * 3
        if needed > MAX_ROOM_BYTES or meta.encoding != "jpeg":
            return decode(data, meta)
        if len(self._room) != needed:
            self._room = bytearray(needed)
        return decode(data, meta, self._room)
