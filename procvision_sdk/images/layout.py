"""A slot of shared memory: its header, and the id that names it in a call.

    offset  bytes
    0       8      magic, b"PVSLOT\\r\\n"
    8       2      layout version, 1
    10      1      color space: 1 RGB, 2 BGR, 3 MONO
    11      1      encoding: 1 raw, 2 jpeg, 3 png
    12      4      offset of the payload, from the start of the slot
    16      8      generation: how often the slot was written; odd while it is being written
    24      4      width in pixels
    28      4      height in pixels
    32      8      payload's length in bytes
    40      4      CRC-32 of the payload, 0 where it wasn't computed
    44      1      bits of a sample that are used, 9 to 16 where a sample takes two bytes; 0 for 8, and for files
    45      19     zero

All numbers are little endian. The payload begins on a page of its own. Raw pixels lie row by row without padding, one
byte a sample, or two, little endian, where more than 8 bits are used. A slot lies in the runner's arena, as
`arena:OFFSET:BYTES:GENERATION`, or in a file, as `shm:SEGMENT:GENERATION`. Either id carries the generation, so that
one that is a picture late can't be taken for the picture that lies there now.
Warning: the header is the peer's claim. Nothing of it is used before it was held against the segment's real size.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.meta import ColorSpace, Encoding, ImageMeta

MAGIC = b"PVSLOT\r\n"
LAYOUT_VERSION = 1
HEADER_BYTES = 64
PAYLOAD_OFFSET = 4096
"""One page, so that the payload is page-aligned whatever reads or writes it."""

SCHEME = "shm"
ARENA_SCHEME = "arena"
ARENA_ALIGNMENT = 65536
"""Where slots begin: a multiple of every page size that Linux has, and what can be mapped begins on a page."""
MAX_ID_LENGTH = 128
MAX_SEGMENT_NAME_LENGTH = 64
MAX_GENERATION_DIGITS = 20
GENERATION_OFFSET = 16
GENERATION_BYTES = 8
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")

COLOR_CODES: Mapping[str, int] = {"RGB": 1, "BGR": 2, "MONO": 3}
ENCODING_CODES: Mapping[str, int] = {"raw": 1, "jpeg": 2, "png": 3}
_COLORS: Mapping[int, ColorSpace] = {1: "RGB", 2: "BGR", 3: "MONO"}
_ENCODINGS: Mapping[int, Encoding] = {1: "raw", 2: "jpeg", 3: "png"}

ReadableBuffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
WritableBuffer: TypeAlias = bytearray | memoryview | mmap.mmap

_HEADER = struct.Struct("<8sHBBIQIIQIB19x")
_GENERATION = struct.Struct("<Q")
pack_generation = _GENERATION.pack_into
"""Writes a generation at an offset of a buffer: odd while the slot is being written, even when it is written."""
split_header: Callable[[ReadableBuffer], tuple[bytes, int, bytes]] = struct.Struct("<16sQ40s").unpack_from
"""Returns a header's generation, and what stands before and behind it: the same bytes say the same."""


class SlotHeader(msgspec.Struct, frozen=True, gc=False):
    """What stands at the head of a slot."""

    generation: int
    width: int
    height: int
    color_space: ColorSpace
    encoding: Encoding
    payload_bytes: int
    payload_crc32: int = 0
    payload_offset: int = PAYLOAD_OFFSET
    bits: int = 0
    """Of a raw sample, 9 to 16; 0 for 8."""


def slot_prefix(segment: str) -> str:
    """Give what the ids of a named segment begin with."""
    return f"{SCHEME}:{segment}:"


def arena_slot_prefix(offset: int, length: int) -> str:
    """Give what the ids of a slot in the arena begin with; its generation follows."""
    return f"{ARENA_SCHEME}:{offset}:{length}:"


def parse_arena_id(shared_mem_id: str) -> tuple[int, int, int]:
    """Give offset, bytes and generation. Raises CallRefusedError (1002, kind `bad_image_id`)."""
    if len(shared_mem_id) <= MAX_ID_LENGTH:
        scheme, *numbers = shared_mem_id.split(":")
        if scheme == ARENA_SCHEME and len(numbers) == 3 and all(_is_number(number) for number in numbers):
            offset, length, generation = map(int, numbers)
            return offset, length, generation
    raise _bad(
        "bad_image_id",
        f"shared_mem_id {shared_mem_id[:80]!r} is not of the form arena:OFFSET:BYTES:GENERATION "
        f"(decimal numbers of at most {MAX_GENERATION_DIGITS} digits)",
    )


def _is_number(text: str) -> bool:
    return 0 < len(text) <= MAX_GENERATION_DIGITS and text.isascii() and text.isdecimal()


def parse_slot_id(shared_mem_id: str) -> tuple[str, int]:
    """Segment name and generation. Raises CallRefusedError (1002, kind `bad_image_id`); names no file unchecked."""
    if len(shared_mem_id) <= MAX_ID_LENGTH:
        parts = shared_mem_id.split(":")
        if len(parts) == 3:
            scheme, segment, generation = parts
            if (
                scheme == SCHEME
                and 0 < len(segment) <= MAX_SEGMENT_NAME_LENGTH
                and _NAME_CHARACTERS.issuperset(segment)
                and _is_number(generation)
            ):
                return segment, int(generation)
    raise CallRefusedError(
        ErrorCode.IMAGE_LOAD_FAILED,
        "bad_image_id",
        f"shared_mem_id {shared_mem_id[:80]!r} is not of the form shm:SEGMENT:GENERATION "
        f"(letters, digits, _ and -, at most {MAX_ID_LENGTH} characters)",
    )


def write_header(buffer: WritableBuffer, header: SlotHeader) -> None:
    """Put a header at the start of a segment."""
    _HEADER.pack_into(
        buffer,
        0,
        MAGIC,
        LAYOUT_VERSION,
        COLOR_CODES[header.color_space],
        ENCODING_CODES[header.encoding],
        header.payload_offset,
        header.generation,
        header.width,
        header.height,
        header.payload_bytes,
        header.payload_crc32,
        header.bits,
    )


def read_generation(buffer: ReadableBuffer) -> int:
    """Return the generation alone."""
    generation: int = _GENERATION.unpack_from(buffer, GENERATION_OFFSET)[0]
    return generation


def write_generation(buffer: WritableBuffer, generation: int) -> None:
    """Mark a slot as being written (odd) or written (even)."""
    _GENERATION.pack_into(buffer, GENERATION_OFFSET, generation)


def read_header(buffer: ReadableBuffer, segment_bytes: int) -> SlotHeader:
    """Return the header of a segment of `segment_bytes`, with every claim held against that size.

    Raises CallRefusedError (1002, kinds `bad_slot`, `slot_overrun`).
    """
    if segment_bytes < HEADER_BYTES:
        raise _bad("bad_slot", f"the segment holds {segment_bytes} bytes, a slot's header alone takes {HEADER_BYTES}")
    unpacked = _HEADER.unpack_from(buffer, 0)
    magic, version, color, encoding, offset, generation, width, height, length, crc, bits = unpacked
    if magic != MAGIC:
        raise _bad("bad_slot", "the segment doesn't begin with a slot's magic: it isn't a slot")
    if version != LAYOUT_VERSION:
        raise _bad("bad_slot", f"the slot has layout version {version}, this side reads {LAYOUT_VERSION}")
    if color not in _COLORS or encoding not in _ENCODINGS:
        raise _bad("bad_slot", f"the slot's header has color space {color} and encoding {encoding}: unknown")
    if offset < HEADER_BYTES or offset + length > segment_bytes:
        raise _bad(
            "slot_overrun",
            f"the slot's header claims {length} bytes from {offset} on, the segment holds {segment_bytes}",
        )
    return SlotHeader(generation, width, height, _COLORS[color], _ENCODINGS[encoding], length, crc, offset, bits)


def check_header(header: SlotHeader, generation: int, meta: ImageMeta) -> None:
    """Hold a header against the call that names it.

    Raises CallRefusedError (1002) of kind `stale_image`, `image_mismatch` or `slot_overrun`.
    """
    check_generation(generation, header.generation)
    check_description(header, meta)


def check_generation(asked: int, found: int) -> None:
    """Raise CallRefusedError (1002, kind `stale_image`) unless the slot holds the picture that a call names."""
    if found != asked or asked % 2:
        raise stale(asked, found)


def check_description(header: SlotHeader, meta: ImageMeta) -> None:
    """Hold everything but the generation against the call. Raises as `check_header`."""
    if (
        header.width != meta.width
        or header.height != meta.height
        or header.color_space != meta.color_space
        or header.encoding != meta.encoding
    ):
        raise _bad(
            "image_mismatch",
            f"the slot holds {header.width} x {header.height} {header.color_space} {header.encoding}, "
            f"image_meta says {meta.width} x {meta.height} {meta.color_space} {meta.encoding}",
        )
    if header.encoding != "raw":
        return
    bits, said = header.bits or 8, meta.bits or 8
    if bits != said:
        raise _bad("image_mismatch", f"the slot's samples have {bits} bits, image_meta says {said}")
    if header.payload_bytes != meta.raw_bytes:
        raise _bad(
            "slot_overrun",
            f"{meta.width} x {meta.height} {meta.color_space} takes {meta.raw_bytes} bytes, "
            f"the slot's header says {header.payload_bytes}",
        )


def stale(asked: int, found: int) -> CallRefusedError:
    """Return the refusal of a picture that is not, or no longer, the one the call names."""
    return _bad(
        "stale_image",
        f"the call names generation {asked}, the slot holds {found}: the picture was replaced; "
        "hint: keep a slot's lease until its call is answered",
    )


def _bad(kind: str, text: str) -> CallRefusedError:
    return CallRefusedError(ErrorCode.IMAGE_LOAD_FAILED, kind, text)
