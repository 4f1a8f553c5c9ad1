"""A bundle's bytes: a zip whose every byte follows from its files, so that none can be changed unseen.

Entries are stored, in the order in which they are given, all of one date and mode; there are no comments, no extra
fields and no gaps. It is written here rather than by zipfile, since the same lines check a foreign file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

MAX_BYTES = (1 << 32) - 1
"""A zip of the plain form, without the fields for larger ones."""
_DATE, _TIME = (1 << 5) | 1, 0  # 1980-01-01, the first day that a zip can tell
_MODE = 0o100644 << 16
_VERSION, _UNIX = 20, 3 << 8
_BLOCK_BYTES = 1 << 20


@frozen
class Part:
    """One file of a bundle: its name there, and its bytes or where they lie."""

    name: str
    source: bytes | Path

    def blocks(self) -> Iterator[bytes]:
        """Give its bytes, block by block."""
        if isinstance(self.source, bytes):
            yield self.source
            return
        with self.source.open("rb") as file:
            yield from iter(partial(file.read, _BLOCK_BYTES), b"")


def archive_blocks(parts: Sequence[Part]) -> Iterator[bytes]:
    """Give the bytes of the zip of these files. Raises ValueError where it would be larger than MAX_BYTES."""
    directory = bytearray()
    at = 0
    for part in parts:
        crc, size = 0, 0
        for block in part.blocks():
            crc, size = zlib.crc32(block, crc), size + len(block)
        name = part.name.encode("ascii")
        facts = struct.pack("<HHHHHLLLHH", _VERSION, 0, 0, _TIME, _DATE, crc, size, size, len(name), 0)
        end = at + 30 + len(name) + size
        if end + len(directory) + 46 + len(name) + 22 > MAX_BYTES:
            raise ValueError(f"a bundle has at most {MAX_BYTES} bytes, this one has more")
        directory += b"PK\x01\x02" + struct.pack("<H", _UNIX | _VERSION) + facts
        directory += struct.pack("<HHHLL", 0, 0, 0, _MODE, at) + name
        yield b"PK\x03\x04" + facts + name
        yield from part.blocks()
        at = end
    yield bytes(directory)
    yield b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, len(parts), len(parts), len(directory), at, 0)


def has_form(path: Path, parts: Sequence[Part]) -> bool:
    """Tell whether a file is the zip of these files, byte for byte. Raises OSError."""
    with path.open("rb") as file:
        try:
            return all(file.read(len(block)) == block for block in archive_blocks(parts)) and not file.read(1)
        except ValueError:
            return False
