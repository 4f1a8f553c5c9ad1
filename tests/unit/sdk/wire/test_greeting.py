"""The hello that is put together by hand. That it equals the message class, tests/property shows."""

from __future__ import annotations

import json

import pytest

from procvision_sdk.wire.frames import HEADER_BYTES as FRAME_HEADER_BYTES
from procvision_sdk.wire.greeting import ARENA_CAPABILITY, HEADER_BYTES, HOST_CAPABILITIES, hello_frame, quoted


@pytest.mark.parametrize("text", ["", "pcb-compare", 'a"b\\c', "\n\t\x00\x7f", "検査", "🔍", "../../etc"])
def test_quoted_text_is_ascii_json(text: str) -> None:
    """Whatever an algorithm is called."""
    assert json.loads(quoted(text)) == text
    assert quoted(text).isascii()
    assert quoted(text).isprintable()


def test_name_that_is_no_text_is_still_json() -> None:
    """An argument that isn't UTF-8 reaches Python as lone surrogates, which no strict parser reads."""
    assert json.loads(quoted("a\udcffb")) == "a\ufffdb"


def test_frame_is_whole() -> None:
    """Its header tells its length."""
    frame = hello_frame("x", 42)
    assert int.from_bytes(frame[:HEADER_BYTES], "big") == len(frame) - HEADER_BYTES
    assert json.loads(frame[HEADER_BYTES:]) == {
        "type": "hello",
        "sdk_version": "1.0",
        "capabilities": list(HOST_CAPABILITIES),
        "algorithm": {"name": "x"},
        "process_id": 42,
    }
    assert FRAME_HEADER_BYTES == HEADER_BYTES


def test_arena_is_shown_by_who_has_one() -> None:
    """Beside what every host shows."""
    hello = json.loads(hello_frame("x", 42, arena=True)[HEADER_BYTES:])
    assert hello["capabilities"] == [*HOST_CAPABILITIES, ARENA_CAPABILITY]
