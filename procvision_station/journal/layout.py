"""The bytes of a journal: segments, records, and the chain over them. Nothing here opens a file.

A journal is a folder of segment files, each named after the first sequence number in it. Numbers are little-endian.

A segment begins with its head:

    offset  bytes  what
    0       8      the letters PVJRNL1 and a line feed
    8       8      sequence number of its first record
    16      32     the chain before its first record; in the first segment random bytes
    48      4      CRC-32 of the 48 bytes before

A record has a header and, right behind it, its body:

    offset  bytes  what
    0       4      the letters PVRC
    4       4      length of the body
    8       8      sequence number, from 1 on, without a gap
    16      8      Unix nanoseconds, UTC: what the clock said. The order is that of the sequence numbers
    24      2      kind: 1 product, 2 told, 3 event
    26      2      so many records right before this one may not have been on the disk when it was written
    28      32     SHA-256 of the body
    60      32     chain: SHA-256 of the chain before and of the 60 bytes above
    92      4      CRC-32 of the 92 bytes above

The body is 16 random bytes and JSON. The chain goes over the body's hash: a body may be erased, by zeros in its place,
and the chain holds. The random bytes keep an erased name from being guessed by its hash.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from enum import IntEnum

from attrs import frozen

SEGMENT_MAGIC = b"PVJRNL1\n"
RECORD_MAGIC = b"PVRC"
_SEGMENT = struct.Struct("<8sQ32s")
_RECORD = struct.Struct("<4sIQQHH32s")
_CRC = struct.Struct("<I")
SEGMENT_HEAD_BYTES = _SEGMENT.size + 4
HEADER_BYTES = _RECORD.size + 32 + 4
SALT_BYTES = 16
MAX_BODY_BYTES = 16 * 1024 * 1024
"""An answer on the wire has at most 64 MiB; what a ledger keeps of it is far less, and read into memory whole."""
MAX_UNSYNCED = 0xFFFF
"""What a header's two bytes hold."""
SUFFIX = ".seg"


class Kind(IntEnum):
    """What a record is."""

    PRODUCT = 1
    """A product's one record."""
    TOLD = 2
    """That ERROR was told in place of what is recorded of a product."""
    EVENT = 3
    """Anything else: start and stop, a change of the recipe, an erasure, a recovery."""


@frozen
class SegmentHead:
    """What a segment says of itself."""

    first_sequence: int
    chain: bytes
    """Of the record before its first."""


@frozen
class Header:
    """A record without its body."""

    body_bytes: int
    sequence: int
    time_ns: int
    kind: int
    unsynced_before: int
    body_hash: bytes
    chain: bytes


def segment_name(first_sequence: int) -> str:
    """Return a segment's file name."""
    return f"{first_sequence:016d}{SUFFIX}"


def pack_segment_head(head: SegmentHead) -> bytes:
    """Return a segment's first bytes."""
    packed = _SEGMENT.pack(SEGMENT_MAGIC, head.first_sequence, head.chain)
    return packed + _CRC.pack(zlib.crc32(packed))


def read_segment_head(data: bytes) -> SegmentHead | None:
    """Read a segment's first bytes; None where they are none."""
    if (
        len(data) < SEGMENT_HEAD_BYTES
        or not data.startswith(SEGMENT_MAGIC)
        or not _crc_holds(data[:SEGMENT_HEAD_BYTES])
    ):
        return None
    _, first_sequence, chain = _SEGMENT.unpack_from(data)
    return SegmentHead(first_sequence, chain)


def pack_record(
    sequence: int, time_ns: int, kind: Kind, unsynced_before: int, content: bytes, chain: bytes
) -> tuple[bytes, bytes]:
    """Return a record's bytes and the chain after it. Raises ValueError for a body above `MAX_BODY_BYTES`."""
    body = os.urandom(SALT_BYTES) + content
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"a record's body has at most {MAX_BODY_BYTES} bytes, this has {len(body)}")
    told = _RECORD.pack(
        RECORD_MAGIC, len(body), sequence, time_ns, kind, unsynced_before, hashlib.sha256(body).digest()
    )
    chain = chained(chain, told)
    header = told + chain
    return header + _CRC.pack(zlib.crc32(header)) + body, chain


def read_header(data: bytes) -> Header | None:
    """Read a record's header; None where it is none, or damaged."""
    if len(data) < HEADER_BYTES or not data.startswith(RECORD_MAGIC) or not _crc_holds(data[:HEADER_BYTES]):
        return None
    _, body_bytes, sequence, time_ns, kind, unsynced, body_hash = _RECORD.unpack_from(data)
    if not SALT_BYTES <= body_bytes <= MAX_BODY_BYTES:
        return None
    return Header(body_bytes, sequence, time_ns, kind, unsynced, body_hash, data[_RECORD.size : _RECORD.size + 32])


def chain_holds(before: bytes, data: bytes) -> bool:
    """Return whether a header's bytes follow the record whose chain is `before`."""
    return chained(before, data[: _RECORD.size]) == data[_RECORD.size : _RECORD.size + 32]


def chained(before: bytes, told: bytes) -> bytes:
    """Return the chain after a record, of which `told` is the header before its chain."""
    return hashlib.sha256(before + told).digest()


def body_holds(header: Header, body: bytes) -> bool:
    """Return whether it is the body that was written."""
    return hashlib.sha256(body).digest() == header.body_hash


def is_erased(body: bytes) -> bool:
    """Return whether there are zeros in the body's place."""
    return not any(body)


def _crc_holds(data: bytes) -> bool:
    return data[-4:] == _CRC.pack(zlib.crc32(data[:-4]))
