"""Records that the cell leaves for the host half, in memory that both share: they are there although the cell crashed.

A record is put down before the answer that it tells of is written, and marked as done after that. So the host half
tells of an answer that went out, whatever became of the cell. At the cell's end it tells of one that was about to.

offset  bytes
0       8   how many bytes the cell has written
8       8   how many bytes the host half has read
16      1   1 while the host half sleeps: the cell wakes it
17      1   1 while the table of sessions is not to be used: the cell asks the host half
24      8   how often the cell has written into the table of sessions
64          the records, each: length u32, state u8, kind u8, two bytes of nothing, its bytes, up to a multiple of 8

Both count on and never back; a record that would cross the end of the memory begins anew at its beginning.
Warning: what is read here a vendor's code may have written. Every number is held against its bounds.
"""

from __future__ import annotations

import mmap
import struct
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEFAULT_BYTES = 4 * 1024 * 1024
"""Some thousand answers; memory that is never written costs nothing."""
PATIENCE_S = 1.0
"""How long the cell waits for room: the host half reads every few milliseconds, unless the machine is stuck."""
PENDING, DONE, _SKIP = 1, 2, 3
_FIRST = 64
_SLEEPS = 16
_TABLE_REFUSED = 17
_TABLE_WRITES = 3
_HEADER = struct.Struct("<IBBxx")
_header, _pack_header = _HEADER.pack, _HEADER.pack_into
_STATE = 4


class SpoiltRingError(Exception):
    """What stands in the memory is no record: somebody else wrote there."""


class Ring:
    """Made before the fork; the cell puts, the host half takes."""

    def __init__(self, size: int = DEFAULT_BYTES) -> None:
        self._memory = mmap.mmap(-1, _FIRST + size)
        self._counts = memoryview(self._memory)[:32].cast("Q")
        self._size = size

    # --- the table of sessions ------------------------------------------------------------------------------

    @property
    def table_refused(self) -> bool:
        """Whether the cell has to ask the host half in place of the table."""
        return self._memory[_TABLE_REFUSED] != 0

    def refuse_table(self, refused: bool) -> None:
        """In the host half: note whether the cell has to ask."""
        self._memory[_TABLE_REFUSED] = refused

    @property
    def table_writes(self) -> int:
        """How often the cell has written into the table, for as far as its word counts."""
        return self._counts[_TABLE_WRITES]

    def table_written(self) -> None:
        """In the cell: note that it has."""
        self._counts[_TABLE_WRITES] = (self._counts[_TABLE_WRITES] + 1) & 0xFFFFFFFF

    # --- the cell -------------------------------------------------------------------------------------------

    @property
    def memory(self) -> memoryview:
        """The memory as it is, for the compiled core, which puts records as `put` does."""
        return memoryview(self._memory)

    @property
    def largest(self) -> int:
        """The most bytes that a record may have."""
        return self._size // 4

    @property
    def reader_sleeps(self) -> bool:
        """Whether the host half has to be woken to look."""
        return self._memory[_SLEEPS] == 1

    def put(self, kind: int, data: bytes, state: int = DONE, head: bytes = b"") -> int | None:
        """Write a record, `head` and `data`. Return its place for `done`.

        None where there was no room in time: it is lost.
        """
        counts, size = self._counts, self._size
        length = len(head) + len(data)
        whole = (length + 15) & ~7
        written = counts[0]
        at = written % size
        if at + whole > size or written + whole - counts[1] > size:
            skipped = size - at if at + whole > size else 0
            if written + skipped + whole - counts[1] > size and not self._room(written + skipped + whole):
                return None
            if skipped:
                _pack_header(self._memory, _FIRST + at, skipped - _HEADER.size, _SKIP, 0)
                written, at = written + skipped, 0
        place = _FIRST + at
        self._memory[place : place + _HEADER.size + length] = _header(length, state, kind) + head + data
        counts[0] = written + whole
        return place

    def done(self, places: Iterable[int]) -> bool:
        """Note that what records tell of has happened. Return whether the host half has to be woken to look."""
        memory = self._memory
        for place in places:
            memory[place + _STATE] = DONE
        return memory[_SLEEPS] == 1

    def _room(self, wanted: int) -> bool:
        """Wait for the host half to have read so far."""
        deadline = monotonic() + PATIENCE_S
        while wanted - self._counts[1] > self._size:
            if monotonic() > deadline:
                return False
            sleep(0.001)
        return True

    # --- the host half --------------------------------------------------------------------------------------

    def sleeps(self, asleep: bool) -> None:
        """Note whether the host half has to be woken from now on."""
        self._memory[_SLEEPS] = asleep

    @property
    def waiting(self) -> bool:
        """Tell whether there is something to take, done or not."""
        return self._counts[0] != self._counts[1]

    def take(self, *, ended: bool = False) -> Iterator[tuple[int, bytes]]:
        """Return kind and bytes of each record, up to the first that isn't done; at the cell's end also of that.

        Raises SpoiltRingError.
        """
        while True:
            written, read = self._counts[0], self._counts[1]
            if written == read:
                return
            at = read % self._size
            if not 0 < written - read <= self._size or at % _HEADER.size:
                raise SpoiltRingError(f"{written - read} bytes wait in a memory of {self._size}")
            length, state, kind = _HEADER.unpack_from(self._memory, _FIRST + at)
            whole = _whole(length)
            if state not in {PENDING, DONE, _SKIP} or whole > min(written - read, self._size - at):
                raise SpoiltRingError(f"a record says that it has {length} bytes and the state {state}")
            if state == PENDING and not ended:
                return
            begin = _FIRST + at + _HEADER.size
            data = self._memory[begin : begin + length] if state != _SKIP else b""
            self._counts[1] = read + whole
            if state != _SKIP:
                yield kind, data


def _whole(length: int) -> int:
    return (_HEADER.size + length + 7) & ~7
