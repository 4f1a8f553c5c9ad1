"""The pool of image slots, which are kept warm.

A slot is leased for one picture and comes back when its call has ended, whatever the end was. Its generation grows
with every lease, and the id in a call carries it.
Warning: a lease whose call has no answer yet is never given to another picture: the algorithm may still read it.
"""

from __future__ import annotations

import os
import threading
import weakref
import zlib
from types import TracebackType
from typing import TYPE_CHECKING

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.images.picture import Description, Picture
from procvision_runner.images.segments import Slot, remove_leftovers
from procvision_sdk.images.layout import (
    PAYLOAD_OFFSET,
    SlotHeader,
    slot_id,
    write_generation,
    write_header,
)
from procvision_sdk.images.meta import CHANNELS, ColorSpace

if TYPE_CHECKING:
    from procvision_runner.images.picture import Pixels


class Lease:
    """The right to one slot for one picture. A context manager: leaving it gives the slot back.

    `array` may be written until the call is made; after that the slot belongs to the host until the call has ended.
    """

    __slots__ = (
        "_array",
        "_described",
        "_pool",
        "_released",
        "_slot",
        "bits",
        "color_space",
        "encoding",
        "height",
        "payload_bytes",
        "width",
    )

    def __init__(self, pool: SlotPool, slot: Slot, described: Description) -> None:
        self._pool = pool
        self._slot = slot
        self._described = described
        self._released = False
        self._array: Pixels | None = None
        self.width, self.height, self.color_space, self.encoding, self.payload_bytes, self.bits = described
        # Odd: being written. An id of this generation can't exist yet, one of the last is stale from here on. It is odd
        # already where the last lease went back without a call.
        slot.generation = generation = slot.generation + 1 + slot.generation % 2
        write_generation(slot.memory, generation)

    @property
    def array(self) -> Pixels:
        """The slot's own memory, H x W x 3 uint8 or, for MONO, H x W: a camera may write straight into it.

        A lease made with a Picture of more than 8 bits has uint16 here.
        """
        if self._released:
            raise ValueError("this lease was given back: its slot may hold another picture")
        if self._array is None:
            self._array = self._slot.view(self.width, self.height, self.color_space, self.bits)
        return self._array

    def fill(self, picture: Picture) -> None:
        """Copies a picture in: one copy, into memory that is mapped and warm."""
        if picture.pixels is not None:
            self.array[...] = picture.pixels
        else:
            assert picture.data is not None
            self._slot.memory[PAYLOAD_OFFSET : PAYLOAD_OFFSET + len(picture.data)] = picture.data

    def publish(self) -> str:
        """Completes the slot's header; returns the `shared_mem_id` for a call. Once a lease."""
        slot = self._slot
        generation = slot.generation
        if self._released or generation % 2 == 0:
            raise ValueError("this lease was used for a call already: lend a slot for each picture")
        slot.generation = generation = generation + 1
        if self._described == slot.described:
            write_generation(slot.memory, generation)
        else:
            self._describe(slot, generation)
        return slot_id(slot.name, generation)

    def _describe(self, slot: Slot, generation: int) -> None:
        """Writes the whole header. What is encoded has its own each time, with the CRC-32 of what lies there."""
        crc = 0
        if self.encoding == "raw":
            slot.described = self._described
        else:
            slot.described = None
            crc = zlib.crc32(memoryview(slot.memory)[PAYLOAD_OFFSET : PAYLOAD_OFFSET + self.payload_bytes])
        header = SlotHeader(
            generation,
            self.width,
            self.height,
            self.color_space,
            self.encoding,
            self.payload_bytes,
            crc,
            bits=(self.bits or 0) if self.encoding == "raw" else 0,  # what is encoded says it itself
        )
        write_header(slot.memory, header)

    def release(self) -> None:
        """Gives the slot back; a second call does nothing."""
        if not self._released:
            self._released = True
            self._array = None
            self._pool._give_back(self._slot)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class SlotPool:
    """At most `max_slots` slots, made when they are needed and kept warm."""

    def __init__(self, max_slots: int) -> None:
        self._max_slots = max_slots
        self._free: list[Slot] = []
        self._all: list[Slot] = []
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._waiting = 0
        self._closed = False
        # Runs at the interpreter's end too: nothing stays in shared memory because somebody forgot to close.
        self._finalizer = weakref.finalize(self, _remove_all, self._all, os.getpid())
        remove_leftovers()

    def lease(self, picture: Picture | tuple[int, int, ColorSpace], timeout_s: float) -> Lease:
        """A slot that is large enough. Raises SlotsExhaustedError if none comes back within the timeout."""
        if isinstance(picture, Picture):
            described = picture.described
        else:
            width, height, color_space = picture
            described = (width, height, color_space, "raw", width * height * CHANNELS[color_space], None)
        needed = described[4]
        with self._lock:
            if not self._free and len(self._all) >= self._max_slots:
                self._wait(timeout_s)
            if self._closed:
                raise SlotsExhaustedError("the runner was stopped: its slots are gone")
            slot = self._taken(needed, timeout_s)
        return Lease(self, slot, described)

    def _wait(self, timeout_s: float) -> None:
        """Under the lock: until a slot is free."""
        self._waiting += 1
        try:
            self._returned.wait_for(lambda: self._free or self._closed, timeout_s)
        finally:
            self._waiting -= 1

    def _taken(self, needed: int, timeout_s: float) -> Slot:
        """Under the lock: the warmest free slot that fits, or a new one, in place of one too small if need be."""
        free = self._free
        if free and free[-1].capacity >= needed:
            return free.pop()
        for place in range(len(free) - 2, -1, -1):
            if free[place].capacity >= needed:
                return free.pop(place)
        if len(self._all) >= self._max_slots:
            if not self._free:
                raise SlotsExhaustedError(
                    f"all {self._max_slots} slots are leased and none came back within {timeout_s:g} s; "
                    "hint: end the leases you hold, or raise max_slots"
                )
            too_small = self._free.pop(0)
            self._all.remove(too_small)
            too_small.remove()
        slot = Slot(max(needed, 1))
        self._all.append(slot)
        return slot

    def _give_back(self, slot: Slot) -> None:
        with self._lock:
            if not self._closed:
                self._free.append(slot)
                if self._waiting:
                    self._returned.notify()

    def close(self) -> None:
        """Removes every slot; to be called when no host reads them any more."""
        with self._lock:
            self._closed = True
            self._free.clear()
            self._returned.notify_all()
        self._finalizer()

    @property
    def leased(self) -> int:
        """How many slots are on lease."""
        with self._lock:
            return len(self._all) - len(self._free)


def _remove_all(slots: list[Slot], owner: int) -> None:
    # A fork of the runner's ends, too, and must not take the runner's pictures with it.
    while slots and os.getpid() == owner:
        slots.pop().remove()
