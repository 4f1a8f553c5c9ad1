"""Following a journal that another process writes: what is new since a position, and whether the position still holds.

A record is seen as soon as it is written, which may be before it is on the disk. A writer that fails, and a power cut,
take such a record back, and another one gets its number. Its chain is another one then: `Tail.read` says so, and what
was computed from the record has to be computed anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve, frozen

from procvision_station.journal.layout import (
    HEADER_BYTES,
    SEGMENT_HEAD_BYTES,
    read_header,
    read_segment_head,
    segment_name,
)
from procvision_station.journal.reading import Break, ReadRecord, read_record, segments

CHUNK_BYTES = 4 * 1024 * 1024
"""Some thousand records: a body that has more is read whole."""


@frozen
class Position:
    """Behind a record that was read."""

    sequence: int
    """Of the record; 0 before the first."""
    chain: bytes
    """After the record."""
    segment: str
    """The segment that the next record stands in, or the one before it."""
    offset: int
    """Behind the record, in bytes from the segment's start."""


@frozen
class Taken:
    """What a read came to."""

    records: tuple[ReadRecord, ...]
    position: Position | None
    """Behind the last of them; None where there is no journal yet."""
    damage: Break | None = None
    """Where the journal is not what was written; nothing behind it is read."""


class Tail:
    """Reads a line's folder. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self) -> Position | None:
        """Return the position before the first record; None where there is none yet."""
        names = segments(self._names())
        if not names:
            return None
        data = self._bytes(names[0], 0, SEGMENT_HEAD_BYTES)
        head = read_segment_head(data)
        if head is None or head.first_sequence != 1:
            return None
        return Position(0, head.chain, names[0], SEGMENT_HEAD_BYTES)

    def holds(self, position: Position) -> bool:
        """Return whether the record before a position still is what was read then."""
        if position.sequence == 0:
            return self.start() == position
        try:
            size = (self.folder / position.segment).stat().st_size
        except FileNotFoundError:
            return False
        if size < position.offset:
            return False
        # A record begins somewhere before; a segment's head, or the records from there on, give the chain.
        data = self._bytes(position.segment, 0, position.offset)
        head = read_segment_head(data)
        if head is None:
            return False
        chain, offset = head.chain, SEGMENT_HEAD_BYTES
        while offset < position.offset:
            header = read_header(data[offset : offset + HEADER_BYTES])
            if header is None:
                return False
            chain, offset = header.chain, offset + HEADER_BYTES + header.body_bytes
        return offset == position.offset and chain == position.chain

    def read(self, position: Position, most: int) -> Taken | None:
        """Return at most so many records behind a position; None where it no longer holds."""
        records: list[ReadRecord] = []
        while len(records) < most:
            taken = self._from_segment(position, most - len(records))
            if taken is None:
                return None
            records += taken.records
            if taken.damage is not None or taken.position is None:
                return Taken(tuple(records), position, taken.damage)
            if taken.position == position:
                break
            position = taken.position
        return Taken(tuple(records), position)

    def _from_segment(self, position: Position, most: int) -> Taken | None:
        """Read on in the segment of a position, or go to the next one."""
        following = segment_name(position.sequence + 1)
        # Looked for first: what is written to a segment after the next one began is nothing.
        closed = any(name > position.segment for name in segments(self._names()))
        try:
            data = self._bytes(position.segment, position.offset, CHUNK_BYTES)
            if len(data) >= HEADER_BYTES and (header := read_header(data[:HEADER_BYTES])) is not None:
                # With the header of the next: it shows whether the record was acknowledged.
                needed = HEADER_BYTES + header.body_bytes + HEADER_BYTES
                if needed > len(data) == CHUNK_BYTES:
                    data = self._bytes(position.segment, position.offset, needed)
            size = (self.folder / position.segment).stat().st_size
        except FileNotFoundError:
            return None
        if size < position.offset:
            return None
        if not data:
            if not closed:
                return Taken((), position)
            if (self.folder / following).exists():
                return self._next_segment(position, following)
            broken = Break(position.segment, position.offset, position.sequence + 1, f"{following} is missing")
            return self._stopped(position, broken)
        return self._parsed(position, data, most, last=not closed, whole=position.offset + len(data) >= size)

    def _parsed(self, position: Position, data: bytes, most: int, *, last: bool, whole: bool) -> Taken | None:
        records: list[ReadRecord] = []
        sequence, chain, offset = position.sequence, position.chain, 0
        while offset < len(data) and len(records) < most:
            found = read_record(position.segment, data, offset, sequence + 1, chain, last=last)
            if isinstance(found, Break):
                if records or not whole:
                    break  # the next read begins here, and has all of it
                broken = evolve(found, offset=position.offset + offset)
                return self._stopped(position, broken)
            damage = evolve(found.damage, offset=position.offset + offset) if found.damage is not None else None
            records.append(evolve(found, offset=position.offset + offset, damage=damage))
            sequence, chain = found.sequence, found.header.chain
            offset += HEADER_BYTES + found.header.body_bytes
        return Taken(tuple(records), Position(sequence, chain, position.segment, position.offset + offset))

    def _next_segment(self, position: Position, name: str) -> Taken | None:
        head = read_segment_head(self._bytes(name, 0, SEGMENT_HEAD_BYTES))
        if head is None or head.first_sequence != position.sequence + 1 or head.chain != position.chain:
            torn = head is None
            what = "the segment's head is not that of this place"
            return self._stopped(position, Break(name, 0, position.sequence + 1, what, torn))
        return Taken((), Position(position.sequence, position.chain, name, SEGMENT_HEAD_BYTES))

    def _stopped(self, position: Position, broken: Break) -> Taken | None:
        """Tell what was taken back from what is being written and from what is damaged."""
        if not self.holds(position):
            return None
        return Taken((), position, None if broken.torn else broken)

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return []

    def _bytes(self, name: str, offset: int, length: int) -> bytes:
        descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            parts = []
            while length > 0 and (part := os.pread(descriptor, length, offset)):
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)
