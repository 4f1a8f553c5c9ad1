"""Reading a journal from its first record to its end, and saying where it breaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import frozen

from procvision_station.journal.disk import Disk
from procvision_station.journal.layout import (
    HEADER_BYTES,
    RECORD_MAGIC,
    SALT_BYTES,
    SEGMENT_HEAD_BYTES,
    SUFFIX,
    Header,
    body_holds,
    chain_holds,
    is_erased,
    read_header,
    read_segment_head,
    segment_name,
)


@frozen
class Break:
    """Where a journal stops being what was written."""

    segment: str
    offset: int
    """In bytes from the segment's start."""
    sequence: int
    """Of the record that should stand there."""
    what: str
    torn: bool = False
    """Whether it is what a power cut leaves at the end: nothing behind it was ever acknowledged, so far as is known."""

    def __str__(self) -> str:
        return f"{self.segment}: byte {self.offset}: record {self.sequence}: {self.what}"


@frozen
class ReadRecord:
    """A record as it stands in a journal."""

    segment: str
    offset: int
    """Of its header in the segment."""
    header: Header
    body: bytes | None
    """JSON; None where it was erased, or is damaged."""
    damage: Break | None = None
    """What is wrong with the body, unless a later event says that it was erased: a power cut may stop an erasure."""

    @property
    def sequence(self) -> int:
        """Its number."""
        return self.header.sequence

    @property
    def end(self) -> int:
        """Where the next one begins in the segment."""
        return self.offset + HEADER_BYTES + self.header.body_bytes

    def content(self) -> dict[str, Any]:
        """Return the body as an object; an empty one where there is none."""
        if self.body is None:
            return {}
        content: dict[str, Any] = msgspec.json.decode(self.body)
        return content


def segments(names: Sequence[str]) -> list[str]:
    """Return the names of the segment files, in their order."""
    return sorted(name for name in names if name.endswith(SUFFIX) and name.removesuffix(SUFFIX).isdecimal())


def read_journal(
    disk: Disk, first_segment: str | None = None, *, behind: ReadRecord | None = None
) -> Iterator[ReadRecord | Break]:
    """Yield every record; at the first break, yield it and stop. A body's form is not looked at.

    Begin with `first_segment`, whose head is believed then, instead of with the first; or behind a record that was
    read, and is believed. Raises OSError where a file can't be read.
    """
    names = segments(disk.names())
    sequence, chain = 1, None
    if behind is not None:
        names = names[names.index(behind.segment) :]
    elif first_segment is not None:
        names = names[names.index(first_segment) :]
        sequence = int(first_segment.removesuffix(SUFFIX))
    for place, name in enumerate(names):
        data = disk.read(name)
        last = place == len(names) - 1
        if behind is not None and name == behind.segment:
            sequence, chain = behind.sequence + 1, behind.header.chain
            offset = behind.end
        else:
            broken = _wrong_head(name, data, sequence, chain, last=last)
            if broken is not None:
                yield broken
                return
            head = read_segment_head(data)
            assert head is not None
            chain, offset = head.chain, SEGMENT_HEAD_BYTES
        while offset < len(data):
            found = read_record(name, data, offset, sequence, chain, last=last)
            yield found
            if isinstance(found, Break):
                return
            chain, sequence, offset = found.header.chain, sequence + 1, found.end
        if not last and offset == SEGMENT_HEAD_BYTES:
            yield Break(name, offset, sequence, "the segment has no record, and another one follows")
            return


def _wrong_head(name: str, data: bytes, sequence: int, chain: bytes | None, *, last: bool) -> Break | None:
    """Return what is wrong with a segment that begins with this record, behind one with this chain."""
    head = read_segment_head(data)
    if name != segment_name(sequence):
        return Break(name, 0, sequence, f"the segment {segment_name(sequence)} is missing")
    if head is None or head.first_sequence != sequence or chain not in (None, head.chain):
        torn = last and head is None and RECORD_MAGIC not in data
        return Break(name, 0, sequence, "the segment's head is not that of this place", torn)
    return None


def find_record(disk: Disk, sequence: int) -> ReadRecord | None:
    """Return the record of a number; None where there is none that can be read. Raises OSError."""
    names = [name for name in segments(disk.names()) if int(name.removesuffix(SUFFIX)) <= sequence]
    for found in read_journal(disk, names[-1]) if names else ():
        if isinstance(found, ReadRecord) and found.sequence == sequence:
            return found
    return None


def last_records(disk: Disk, most: int) -> list[ReadRecord]:
    """Return at most so many of the last records, of the last two segments. Raises OSError."""
    names = segments(disk.names())
    latest: deque[ReadRecord] = deque(maxlen=most)
    for found in read_journal(disk, names[max(0, len(names) - 2)]) if names else ():
        if isinstance(found, ReadRecord):
            latest.append(found)
    return list(latest)


def read_record(name: str, data: bytes, offset: int, sequence: int, chain: bytes, *, last: bool) -> ReadRecord | Break:
    """Read the record at `offset` of a segment's bytes, which should have this number and follow `chain`.

    `last` says that no segment follows: an unfinished record may end it.
    """

    def broken(what: str) -> Break:
        return Break(name, offset, sequence, what, last and not _was_acknowledged(data, offset, sequence))

    written = data[offset : offset + HEADER_BYTES]
    header = read_header(written)
    if header is None:
        return broken("there is no whole header")
    if header.sequence != sequence:
        return broken(f"the record there is {header.sequence}")
    if not chain_holds(chain, written):
        return broken("its chain does not follow the record before")
    body = data[offset + HEADER_BYTES : offset + HEADER_BYTES + header.body_bytes]
    if len(body) < header.body_bytes:
        return broken(f"its body has {header.body_bytes} bytes, and the file ends after {len(body)}")
    if body_holds(header, body):
        return ReadRecord(name, offset, header, body[SALT_BYTES:])
    if is_erased(body):
        # An erasure is of a record that was acknowledged; a body that never came is zeros, too.
        never_came = broken("its body never came")
        return never_came if never_came.torn else ReadRecord(name, offset, header, None)
    damage = broken("its body is not the one that was written")
    return damage if damage.torn else ReadRecord(name, offset, header, None, damage)


def _was_acknowledged(data: bytes, offset: int, sequence: int) -> bool:
    """Return whether a later record shows that this one was on the disk before: then it is damaged, not torn."""
    place = data.find(RECORD_MAGIC, offset + 1)
    while place >= 0:
        header = read_header(data[place : place + HEADER_BYTES])
        if header is not None and header.sequence - header.unsynced_before > sequence:
            return True
        place = data.find(RECORD_MAGIC, place + 1)
    return False
