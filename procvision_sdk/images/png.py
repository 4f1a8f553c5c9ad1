"""What a PNG file says of itself, by its chunks (W3C's PNG specification): its pixels are not decoded here.

Decoders leave black what never came: rows that the data ends before, a palette that isn't there. So every chunk's CRC
is checked, their order, and how many bytes of rows the data really holds, before a decoder sees them. It is given
`pixel_chunks` alone: texts, profiles and animations can neither change a pixel nor keep a picture from being read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from attrs import evolve, frozen

from procvision_sdk.images.jpeg import orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The seven passes of an interlaced picture: first column and row, and the steps."""
_MOST_COLOURS = 256
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


class PngError(ValueError):
    """The chunks don't make a whole PNG file. The text says what is wrong, without the file's name."""


@frozen
class PngHeader:
    """What stands before the rows."""

    width: int
    height: int
    bits: int
    """Of a sample, or of an index into the palette."""
    color_type: int
    interlaced: bool
    orientation: int = 1
    """EXIF's, 1 to 8; 1 is upright, also where the file says nothing."""

    @property
    def grey(self) -> bool:
        """Whether it is grey, and nothing more."""
        return self.color_type == 0

    @property
    def mono(self) -> bool:
        """Whether all its colours are greys: grey, or grey with alpha."""
        return self.color_type in (0, 4)

    @property
    def row_bytes(self) -> int:
        """How many bytes all its rows take before they are compressed, each with its filter's."""
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        bits = _CHANNELS[self.color_type] * self.bits
        total = 0
        for x, y, dx, dy in passes:
            columns, rows = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if columns > 0 and rows > 0:
                total += rows * (1 + -(-columns * bits // 8))
        return total


@frozen
class PngPixels:
    """What a decoder needs."""

    header: PngHeader
    pixel_chunks: bytes
    """A PNG file of the header, the palette and the rows alone, inflated."""
    colours: int
    """How many the palette has; 0 where there is none."""


def header_of(data: bytes) -> PngHeader:
    """Read the header of a file, of which the beginning is enough. Raises PngError."""
    header: PngHeader | None = None
    orientation = 1
    try:
        for name, start, end in _chunks(data):
            if header is None:
                header = _header(name, data[start:end])
            elif name == b"eXIf":
                orientation = orientation_of(data[start:end])
            elif name == b"IDAT":
                break
    except PngError:
        if header is None:
            raise
    assert header is not None
    return evolve(header, orientation=orientation)


def check_whole(data: bytes) -> PngPixels:
    """Check every chunk, and that all rows are there. Raises PngError."""
    header: PngHeader | None = None
    kept: list[bytes] = [SIGNATURE]
    rows: list[memoryview] = []
    colours, before = 0, b""
    view = memoryview(data)
    for name, start, end in _chunks(data):
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise PngError(f"the chunk {_shown(name)} at byte {start - 8} doesn't match its CRC")
        if header is None:
            header = _header(name, data[start:end])
        elif name == b"IHDR":
            raise PngError("it has two headers")
        elif name == b"IDAT":
            if rows and before != b"IDAT":
                raise PngError("its rows are in two places: another chunk lies between")
            if header.color_type == _PALETTE and not colours:
                raise PngError("it has a palette's indexes and no palette before them")
            rows.append(view[start:end])
        elif name == b"PLTE":
            colours = _colours(header, end - start, colours)
        elif not name[0] & 0x20 and name not in _CRITICAL:
            raise PngError(f"it has the chunk {_shown(name)}, without which it can't be shown, and which is unknown")
        if name in (b"IHDR", b"PLTE"):
            kept += _chunk(name, data[start:end])
        before = name
    assert header is not None
    # Stored, not compressed again: a decoder has nothing left to inflate, so that all is inflated once.
    kept += _chunk(b"IDAT", zlib.compress(_inflated(rows, header.row_bytes), 0)) + _chunk(b"IEND", b"")
    return PngPixels(header, b"".join(kept), colours)


def _colours(header: PngHeader, size: int, before: int) -> int:
    """Return how many colours a palette of so many bytes has; of other pictures it is a suggestion. Raises PngError."""
    colours, rest = divmod(size, 3)
    if header.color_type == _PALETTE:
        if before:
            raise PngError("it has two palettes")
        if rest or not 0 < colours <= _MOST_COLOURS:
            raise PngError(f"its palette has {size} bytes: three a colour, of at most {_MOST_COLOURS} colours")
    return colours


def reaches_end(data: bytes) -> bool:
    """Return whether the last chunk has come: of a file that is still being written it hasn't."""
    try:
        for _ in _chunks(data):
            pass
    except PngError:
        return False
    return True


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give each chunk's name and the place of its body, to the last one."""
    if not data.startswith(SIGNATURE):
        raise PngError("the signature is missing")
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise PngError(f"it is cut off at byte {len(data)}")
        length, name = _HEAD.unpack_from(data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise PngError(f"it is cut off inside the chunk {_shown(name)}")
        yield name, at + 8, end
        if name == b"IEND":
            return
        at = end + 4


def _header(name: bytes, body: bytes) -> PngHeader:
    if name != b"IHDR" or len(body) != 13:
        raise PngError("it doesn't begin with its header")
    width, height, bits, color_type, _, _, interlace = struct.unpack(">IIBBBBB", body)
    if bits not in _DEPTHS.get(color_type, ()) or interlace > 1:
        raise PngError(
            f"it has the colour type {color_type} with {bits} bits, interlace {interlace}: there is none such"
        )
    return PngHeader(width, height, bits, color_type, bool(interlace))


def _inflated(parts: list[memoryview], wanted: int) -> bytes:
    """Give the rows; what the data holds beyond them is never made."""
    inflating = zlib.decompressobj()
    rows: list[bytes] = []
    there = 0
    try:
        for part in parts:
            if there < wanted:
                rows.append(inflating.decompress(part, wanted - there))
                there += len(rows[-1])
        # Its checksum comes behind the last row.
        inflating.decompress(inflating.unconsumed_tail, 1)
    except zlib.error as error:
        raise PngError(f"its rows can't be inflated: {error}") from None
    if there < wanted:
        raise PngError(f"rows are missing: there are {there} of {wanted} bytes")
    return b"".join(rows)


def _chunk(name: bytes, body: bytes) -> list[bytes]:
    crc = zlib.crc32(body, zlib.crc32(name))
    return [_HEAD.pack(len(body), name), body, crc.to_bytes(4, "big")]


def _shown(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")
