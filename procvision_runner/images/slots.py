"""The pool of image slots, which are kept warm.

A slot is leased for one picture and comes back when its call has ended, whatever the end was. Its generation grows
with every lease, and the id in a call carries it. Slots lie in the arena; for a host that knows none they are named
segments, and a picture that lies in the arena already is copied into one.
Warning: a lease whose call has no answer yet is never given to another picture: the algorithm may still read it.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
import zlib
from types import TracebackType
from typing import TYPE_CHECKING

from procvision_runner.errors import LaunchError, SlotsExhaustedError
from procvision_runner.images.arena import Arena, ArenaSlot, ArenaUnavailableError, largest_arena
from procvision_runner.images.segments import NamedSlot, remove_leftovers
from procvision_sdk.images.layout import (
    GENERATION_OFFSET,
    PAYLOAD_OFFSET,
    SlotHeader,
    pack_generation,
    read_header,
    write_header,
)
from procvision_sdk.images.meta import CHANNELS, ColorSpace, Encoding
from procvision_sdk.images.picture import Description, Picture

if TYPE_CHECKING:
    from procvision_sdk.images.picture import Pixels

_log = logging.getLogger("procvision.runner")


class Lease:
    """The right to one slot for one picture. A context manager: leaving it gives the slot back.

    `array` may be written until the call is made, and only reads from then on; the slot belongs to the host until the
    call has ended.
    """

    __slots__ = ("_array", "_copy", "_pool", "_released", "_slot", "described")

    def __init__(self, pool: SlotPool, slot: ArenaSlot | NamedSlot, described: Description) -> None:
        self._pool = pool
        self._copy: NamedSlot | None = None
        self._slot = slot
        self.described = described
        """What the slot's header says of the picture."""
        self._released = False
        self._array: Pixels | None = None
        # Odd: being written. An id of this generation can't exist yet, one of the last is stale from here on. It is odd
        # already where the last lease went back without a call.
        slot.generation = generation = slot.generation + 1 + slot.generation % 2
        pack_generation(slot.memory, GENERATION_OFFSET, generation)
        if slot.named:
            slot.write_generation()

    @property
    def width(self) -> int:
        """In pixels."""
        return self.described[0]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.described[1]

    @property
    def color_space(self) -> ColorSpace:
        """How the channels lie in `array`."""
        return self.described[2]

    @property
    def encoding(self) -> Encoding:
        """`raw`, or the file's."""
        return self.described[3]

    @property
    def payload_bytes(self) -> int:
        """How much of the slot the picture takes."""
        return self.described[4]

    @property
    def bits(self) -> int | None:
        """Of a sample; None for 8, and for a file."""
        return self.described[5]

    @property
    def array(self) -> Pixels:
        """The slot's own memory, H x W x 3 uint8 or, for MONO, H x W: a camera may write straight into it.

        It only reads once the call is made, or the lease was given back: what was made of it before, such as a slice,
        is the camera's own affair. A lease made with a Picture of more than 8 bits has uint16 here.
        In a fork of this process there is no such memory: to touch the array there is a segmentation fault.
        """
        if self._released:
            raise ValueError("this lease was given back: its slot may hold another picture")
        array = self._array
        if array is None:
            slot = self._slot
            # An object of this lease's own: the next lease of the slot must not make it writable again.
            self._array = array = slot.view(self.width, self.height, self.color_space, self.bits).view()
            if slot.generation % 2 == 0:
                array.setflags(write=False)
        return array

    def fill(self, picture: Picture) -> None:
        """Copy a picture in: one copy, into memory that is mapped and warm."""
        if picture.pixels is not None:
            width, height, color_space, _, _, bits = self.described
            self._slot.view(width, height, color_space, bits)[...] = picture.pixels
        else:
            assert picture.data is not None
            self._slot.memory[PAYLOAD_OFFSET : PAYLOAD_OFFSET + len(picture.data)] = picture.data

    @property
    def payload(self) -> memoryview:
        """The picture's bytes as they lie in the slot, without a copy."""
        return memoryview(self._slot.memory)[PAYLOAD_OFFSET : PAYLOAD_OFFSET + self.payload_bytes]

    def publish(self) -> str:
        """Complete the slot's header; return the `shared_mem_id` for a call. Once a lease. Raises ValueError."""
        if self._released or (generation := self._slot.generation) % 2 == 0:
            raise ValueError("this lease was used for a call already: lend a slot for each picture")
        slot = self._slot
        if self._array is not None:
            self._array.setflags(write=False)
        slot.generation = generation = generation + 1
        if self.described == slot.described:
            pack_generation(slot.memory, GENERATION_OFFSET, generation)
        else:
            self._describe(slot, generation)
        if slot.named:
            slot.write_out(self.described[4])
        return f"{slot.prefix}{generation}"

    @property
    def identity(self) -> str:
        """The `shared_mem_id` of a picture that was published and not yet given back."""
        return f"{self._slot.prefix}{self._slot.generation}"

    def named_identity(self) -> str:
        """Give the `shared_mem_id` for a host that knows no arena, once it was published: of a copy if need be."""
        slot = self._slot
        if slot.named:
            return f"{slot.prefix}{slot.generation}"
        if self._copy is None:
            copy = NamedSlot(self.payload_bytes)
            length = PAYLOAD_OFFSET + self.payload_bytes
            copy.memory[:length] = slot.memory[:length]
            copy.generation = slot.generation
            copy.write_out(self.payload_bytes)
            self._copy = copy
        return f"{self._copy.prefix}{self._copy.generation}"

    def _describe(self, slot: ArenaSlot | NamedSlot, generation: int) -> None:
        """Write the whole header. What is encoded has its own each time, with the CRC-32 of what lies there."""
        crc = 0
        if self.encoding == "raw":
            slot.described = self.described
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
        """Give the slot back. A second call does nothing."""
        if not self._released:
            self._released = True
            slot, array = self._slot, self._array
            if array is not None:
                if slot.generation % 2:
                    array.setflags(write=False)
                self._array = None
            if self._copy is not None:
                self._copy.remove()
                self._copy = None
            # Who keeps the lease keeps nothing of the memory.
            del self._slot
            self._pool._give_back(slot)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class SlotPool:
    """At most `max_slots` slots, made when they are needed and kept warm.

    `arena_bytes` bounds the arena; 0 has none, and None takes the default where this machine makes one, and else none,
    with a warning.
    """

    __slots__ = (
        "__weakref__",
        "_all",
        "_arena_bytes",
        "_arenas",
        "_closed",
        "_finalizer",
        "_free",
        "_lock",
        "_locked",
        "_max_slots",
        "_named",
        "_returned",
        "_waiting",
    )

    def __init__(self, max_slots: int, arena_bytes: int | None = None) -> None:
        self._max_slots = max_slots
        self._arena_bytes = arena_bytes
        self._arenas: list[Arena] = []
        self._free: list[ArenaSlot | NamedSlot] = []
        self._all: list[ArenaSlot | NamedSlot] = []
        self._lock = threading.Lock()
        self._locked = self._lock.locked
        self._returned = threading.Condition(self._lock)
        self._waiting = 0
        self._closed = False
        self._named: bool | None = None
        """Whether new slots are named segments; None until somebody asked for the arena."""
        # Runs at the interpreter's end too: nothing stays in shared memory because somebody forgot to close.
        self._finalizer = weakref.finalize(self, _remove_all, self._all, self._arenas, os.getpid())

    def arena(self) -> Arena | None:
        """Give the arena, made at the first call, for a host that is launched; None where there is none.

        Raises LaunchError where one was asked for by its size and can't be made.
        """
        with self._lock:
            try:
                return self._made_arena()
            except ArenaUnavailableError as error:
                raise LaunchError(f"no arena can be made for pictures: {error}") from error

    def _made_arena(self) -> Arena | None:
        """Make the arena if there is none, under the lock. Raises ArenaUnavailableError where there must be one."""
        if self._arenas or self._named is not None or self._closed:
            return self._arenas[0] if self._arenas else None
        asked = self._arena_bytes
        if asked == 0:
            self._named = True
            return None
        try:
            self._arenas.append(largest_arena() if asked is None else Arena(asked))
            self._named = False
        except ArenaUnavailableError as error:
            if asked is not None or error.passes:
                raise
            _log.warning(
                "no arena can be made (%s): pictures lie in /dev/shm, where each process of this user can change them; "
                "hint: arena_bytes=0 says that this is meant",
                error,
            )
            self._named = True
        return self._arenas[0] if self._arenas else None

    def suit(self, *, arena: bool) -> None:
        """Have new slots be of the kind that the host in use reads; those of the other kind go as they come back."""
        with self._lock:
            named = not (arena and self._arenas)
            if named is not self._named:
                self._named = named
                free, self._free[:] = list(self._free), []
                for slot in free:
                    self._put_back(slot)

    def lease(self, picture: Picture | tuple[int, int, ColorSpace], timeout_s: float) -> Lease:
        """Lease a slot that is large enough. Raises SlotsExhaustedError if none comes back within the timeout."""
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
        """Wait until a slot is free, or one may be made. Under the lock."""
        self._waiting += 1
        try:
            self._returned.wait_for(lambda: self._free or self._closed or len(self._all) < self._max_slots, timeout_s)
        finally:
            self._waiting -= 1

    def _taken(self, needed: int, timeout_s: float) -> ArenaSlot | NamedSlot:
        """Take the warmest free slot that fits, or a new one, in place of one too small if need be. Under the lock."""
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
        try:
            slot = self._new(max(needed, 1))
        except SlotsExhaustedError:
            if not free:
                raise
            # What is too small for this picture takes the room that it needs.
            while free:
                too_small = free.pop()
                self._all.remove(too_small)
                too_small.remove()
            slot = self._new(max(needed, 1))
        self._all.append(slot)
        return slot

    def _new(self, capacity: int) -> ArenaSlot | NamedSlot:
        try:
            arena = self._made_arena()
        except ArenaUnavailableError as error:
            raise SlotsExhaustedError(f"no slot can be made: {error}") from error
        if arena is not None and not self._named:
            return ArenaSlot(arena, capacity)
        if not any(slot.named for slot in self._all):
            remove_leftovers()
        return NamedSlot(capacity)

    def _give_back(self, slot: ArenaSlot | NamedSlot) -> None:
        with self._lock:
            if not self._closed:
                if slot.named is self._named:
                    self._free.append(slot)
                else:
                    self._put_back(slot)
                if self._waiting:
                    self._returned.notify()

    def _put_back(self, slot: ArenaSlot | NamedSlot) -> None:
        """Put a slot back. Under the lock."""
        if slot.named is self._named:
            self._free.append(slot)
        else:
            self._all.remove(slot)
            slot.remove()

    def payload(self, shared_mem_id: str) -> memoryview | None:
        """Return the picture's bytes that a published id names, without a copy; None where no slot of these has it."""
        with self._lock:
            for slot in self._all:
                if shared_mem_id == f"{slot.prefix}{slot.generation}":
                    header = read_header(slot.memory, len(slot.memory))
                    return memoryview(slot.memory)[PAYLOAD_OFFSET : PAYLOAD_OFFSET + header.payload_bytes]
        return None

    def close(self) -> None:
        """Remove every slot; to be called when no host reads them any more."""
        with self._lock:
            self._closed = True
            self._free.clear()
            self._returned.notify_all()
        self._finalizer()

    @property
    def leased(self) -> int:
        """How many slots are leased."""
        with self._lock:
            return len(self._all) - len(self._free)


def _remove_all(slots: list[ArenaSlot | NamedSlot], arenas: list[Arena], owner: int) -> None:
    # A fork of the runner's ends, too, and must not take the runner's pictures with it.
    if os.getpid() != owner:
        return
    while slots:
        slots.pop().remove()
    while arenas:
        arenas.pop().close()
