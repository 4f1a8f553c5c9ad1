"""Cutting a byte stream into payloads."""

from __future__ import annotations

import pytest

from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES, FrameSplitter, frame, quoted_text


def test_frame_is_length_then_payload() -> None:
    """Four bytes, big endian."""
    assert frame(b"{}") == b"\x00\x00\x00\x02{}"
    assert frame(b"x" * 258)[:4] == b"\x00\x00\x01\x02"


def test_default_limit_is_64_mib() -> None:
    """The protocol's number."""
    assert DEFAULT_MAX_FRAME_BYTES == 67_108_864


def test_frame_alone_in_a_read_is_given_at_once() -> None:
    """The rule, and the fast path."""
    splitter = FrameSplitter()
    assert splitter.feed(frame(b"{}")) == [b"{}"]
    assert not splitter.inside_frame


def test_several_frames_in_a_read_are_given_in_order() -> None:
    """Empty ones too."""
    assert FrameSplitter().feed(frame(b"a") + frame(b"") + frame(b"bc")) == [b"a", b"", b"bc"]


def test_half_a_frame_is_kept() -> None:
    """Until the rest is there."""
    splitter = FrameSplitter()
    assert splitter.feed(b"\x00\x00") == []
    assert splitter.inside_frame
    assert splitter.feed(b"\x00\x02{") == []
    assert splitter.feed(b"}" + frame(b"x")[:5]) == [b"{}", b"x"]
    assert not splitter.inside_frame


def test_frame_may_begin_in_the_middle_of_a_read() -> None:
    """A whole one and the start of another."""
    splitter = FrameSplitter()
    assert splitter.feed(frame(b"a") + b"\x00\x00\x00") == [b"a"]
    assert splitter.inside_frame
    assert splitter.feed(b"\x01b") == [b"b"]


@pytest.mark.parametrize("chunk_bytes", [1, 3, 4, 5, 1000])
def test_limit_is_exact(chunk_bytes: int) -> None:
    """A payload of the limit passes, one byte more doesn't."""
    for size, passes in ((10, True), (11, False)):
        splitter = FrameSplitter(10)
        data = frame(b"x" * size)
        payloads = [p for at in range(0, len(data), chunk_bytes) for p in splitter.feed(data[at : at + chunk_bytes])]
        assert payloads == ([b"x" * size] if passes else [])
        assert splitter.overrun == (None if passes else size)


def test_frames_before_an_overrun_are_given() -> None:
    """What was whole stays good."""
    splitter = FrameSplitter(10)
    assert splitter.feed(frame(b"a") + b"\xff\xff\xff\xff" + frame(b"b")) == [b"a"]
    assert splitter.overrun == 2**32 - 1


def test_nothing_is_kept_after_an_overrun() -> None:
    """However much follows."""
    splitter = FrameSplitter(10)
    splitter.feed(b"\xff\xff\xff\xff")
    assert splitter.feed(frame(b"a")) == []
    assert splitter.feed(b"x" * 100_000) == []
    assert not splitter.inside_frame


def test_closed_splitter_gives_nothing() -> None:
    """Nor keeps it."""
    splitter = FrameSplitter()
    splitter.feed(b"\x00\x00")
    splitter.close()
    assert splitter.feed(b"\x00\x01a" + frame(b"b")) == []
    assert not splitter.inside_frame


def test_large_frame_in_small_pieces_takes_linear_time() -> None:
    """Its header is read once, its bytes are copied once."""
    splitter = FrameSplitter()
    data = frame(b"x" * 2_000_000)
    assert sum(len(splitter.feed(data[at : at + 64])) for at in range(0, len(data), 64)) == 1


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"Welcome to the\nvision library\n", "'Welcome to the vision library'"),
        (b"\x1b[1;31mWARNING: licence expires\x1b[0m\n", "'WARNING: licence expires'"),
        ("检查完成\n".encode(), "'检查完成'"),
        ("Prüfung läuft, bitte warten\n".encode("latin-1"), r"'Pr\xfcfung l\xe4uft, bitte warten'"),
        (b'{"type":"hello","sdk_version":"1.0"}\n', '\'{"type":"hello","sdk_version":"1.0"}\''),
        (b"\xff\xff\xff\xff" + b"{" * 100, ""),
        (b"\x08\x00\x00\x00" + b'{"type":"result"}', ""),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(64), ""),
        (b"", ""),
    ],
    ids=range(9),
)
def test_text_in_a_frames_place_is_shown_and_a_header_is_not(data: bytes, shown: str) -> None:
    """In colours and in other encodings, too."""
    assert quoted_text(data) == shown
