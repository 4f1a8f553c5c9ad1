"""The slot's header and the ids: what is written, and that no claim is believed."""

from __future__ import annotations

import struct

import pytest

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.layout import (
    PAYLOAD_OFFSET,
    SlotHeader,
    arena_slot_prefix,
    check_header,
    parse_arena_id,
    parse_slot_id,
    read_generation,
    read_header,
    slot_prefix,
    write_generation,
    write_header,
)
from procvision_sdk.images.meta import ImageMeta

HEADER = SlotHeader(24, 6, 4, "BGR", "raw", 72, 0)
META = ImageMeta(width=6, height=4, color_space="BGR")
SEGMENT_BYTES = PAYLOAD_OFFSET + 4096


def segment(header: SlotHeader = HEADER) -> bytearray:
    memory = bytearray(SEGMENT_BYTES)
    write_header(memory, header)
    return memory


def refusal(function, *arguments) -> CallRefusedError:
    with pytest.raises(CallRefusedError) as caught:
        function(*arguments)
    assert caught.value.error_code == "1002"
    return caught.value


def test_header_lies_where_the_reference_says():
    """Built by hand from the documented offsets, not by the code under test."""
    expected = b"PVSLOT\r\n" + struct.pack("<HBBIQIIQI", 1, 2, 1, 4096, 24, 6, 4, 72, 0) + bytes(20)
    assert bytes(segment()[:64]) == expected
    deep = SlotHeader(24, 6, 4, "BGR", "raw", 144, 0, bits=12)
    assert bytes(segment(deep)[40:64]) == bytes(4) + b"\x0c" + bytes(19)


def test_what_was_written_is_read():
    """Every field survives."""
    header = SlotHeader(2**40, 4000, 3000, "MONO", "png", 4096, 0xDEADBEEF)
    assert read_header(segment(header), SEGMENT_BYTES) == header


def test_generation_can_be_written_alone():
    """That is how a slot is marked as being written."""
    memory = segment()
    write_generation(memory, 25)
    assert read_generation(memory) == 25
    assert read_header(memory, SEGMENT_BYTES).width == 6


@pytest.mark.parametrize(
    ("offset", "value", "kind"),
    [
        (0, b"X", "bad_slot"),
        (8, b"\x02", "bad_slot"),
        (10, b"\x00", "bad_slot"),
        (10, b"\x04", "bad_slot"),
        (11, b"\x09", "bad_slot"),
        (12, struct.pack("<I", 63), "slot_overrun"),
        (12, struct.pack("<I", SEGMENT_BYTES), "slot_overrun"),
        (12, struct.pack("<I", 2**32 - 1), "slot_overrun"),
        (32, struct.pack("<Q", 4097), "slot_overrun"),
        (32, struct.pack("<Q", 2**64 - 1), "slot_overrun"),
    ],
)
def test_header_that_claims_what_is_not_there_is_refused(offset, value, kind):
    """One wrong field at a time."""
    memory = segment()
    memory[offset : offset + len(value)] = value
    assert refusal(read_header, memory, SEGMENT_BYTES).kind == kind


def test_segment_too_small_for_a_header_is_refused():
    """Before a byte of it is read."""
    assert refusal(read_header, bytes(63), 63).kind == "bad_slot"


@pytest.mark.parametrize(
    ("header", "generation", "kind"),
    [
        (HEADER, 22, "stale_image"),
        (HEADER, 26, "stale_image"),
        (SlotHeader(25, 6, 4, "BGR", "raw", 72), 25, "stale_image"),
        (SlotHeader(24, 7, 4, "BGR", "raw", 84), 24, "image_mismatch"),
        (SlotHeader(24, 4, 6, "BGR", "raw", 72), 24, "image_mismatch"),
        (SlotHeader(24, 6, 4, "RGB", "raw", 72), 24, "image_mismatch"),
        (SlotHeader(24, 6, 4, "BGR", "jpeg", 72), 24, "image_mismatch"),
        (SlotHeader(24, 6, 4, "BGR", "raw", 71), 24, "slot_overrun"),
        (SlotHeader(24, 6, 4, "BGR", "raw", 144), 24, "slot_overrun"),
        (SlotHeader(24, 6, 4, "BGR", "raw", 144, bits=12), 24, "image_mismatch"),
        (SlotHeader(24, 6, 4, "BGR", "raw", 72, bits=255), 24, "image_mismatch"),
        (SlotHeader(24, 6, 4, "BGR", "raw", 73), 24, "slot_overrun"),
    ],
)
def test_header_that_is_not_the_calls_is_refused(header, generation, kind):
    """Another generation, being written, another picture, another length."""
    assert refusal(check_header, header, generation, META).kind == kind


def test_id_round_trip():
    """The id carries name and generation."""
    assert parse_slot_id(slot_prefix("pv-12-0a") + "24") == ("pv-12-0a", 24)
    assert parse_arena_id(arena_slot_prefix(65536, 8192) + "24") == (65536, 8192, 24)


@pytest.mark.parametrize(
    "shared_mem_id",
    [
        *("", "arena", "arena:", "arena:0:64", "arena:0:64:", "arena::64:2", "arena:0::2", "arena:0:64:2:2"),
        *("arena:-1:64:2", "arena:+1:64:2", "arena: 0:64:2", "arena:0x0:64:2", "arena:0:64:٢", "arena:0:6_4:2"),
        *("arena:" + "1" * 21 + ":64:2", "ARENA:0:64:2", "shm:0:64:2", "arena:0:64:" + "2" * 100_000),
    ],
)
def test_id_of_the_arena_of_another_form_is_refused(shared_mem_id):
    """As one of a named segment."""
    error = refusal(parse_arena_id, shared_mem_id)
    assert error.kind == "bad_image_id"
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "shared_mem_id",
    [
        "",
        "shm",
        "shm:",
        "shm::2",
        "shm:a:",
        "shm:a:2:3",
        "shm:../etc:2",
        "shm:a/b:2",
        "shm:.:2",
        "shm:a.b:2",
        "shm:a\0b:2",
        "shm:é:2",
        "shm:a:-2",
        "shm:a:+2",
        "shm:a: 2",
        "shm:a:²",
        "shm:a:٢",
        "shm:a:" + "1" * 21,
        "shm:" + "a" * 65 + ":2",
        "file:a:2",
        "SHM:a:2",
        "a" * 100_000,
    ],
)
def test_id_of_another_form_is_refused(shared_mem_id):
    """Before anything is opened by that name, and with a message of bounded length."""
    error = refusal(parse_slot_id, shared_mem_id)
    assert error.kind == "bad_image_id"
    assert len(str(error)) < 300
