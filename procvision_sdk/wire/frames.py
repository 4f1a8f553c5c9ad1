"""Frames: 4 bytes of length, unsigned and big endian, then as many bytes of payload.

The strategy: the limit is checked on the header, so a claim costs nothing; what arrives is kept only until its
frame is whole; a frame that comes alone in one read, which is the rule, never goes through that store.
Warning: after `overrun` is set nothing that follows can be told apart any more, and nothing is kept of it. The
caller has to hang up.
"""

from __future__ import annotations

from struct import Struct

from procvision_sdk.wire.greeting import HEADER_BYTES

DEFAULT_MAX_FRAME_BYTES = 64 * 1024 * 1024
"""64 MiB, the protocol's default; either side may set another."""
DEFAULT_MAX_PENDING = 4
"""How many frames with calls a runner may send ahead of their answers."""
_ASCII_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r\x1b")
MAX_QUOTED_BYTES = 200
"""So much of a stream that is no frame is shown: two lines of a terminal."""

_length_of = Struct(">I").unpack_from


def frame(payload: bytes) -> bytes:
    """`payload` with its header in front, to be written in one go."""
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


_COLOURS = r"\x1b\[[0-9;?]*[A-Za-z]"
"""What terminals are told between letters."""


def quoted_text(data: bytes) -> str:
    """Return the text that bytes are, in quotes for an error; "" where they are no text.

    In another encoding than UTF-8 its letters are shown by escapes, as long as most of it is ASCII.
    """
    import re

    shown = data[:MAX_QUOTED_BYTES]
    text = re.sub(_COLOURS, "", shown.decode("utf-8", "replace"))
    text = " ".join(text.split())
    if text and text.isprintable() and "\ufffd" not in text[:-1]:
        return repr(text)
    # A header is four bytes, of which a length that anyone means has a zero.
    ascii_bytes = sum(byte in _ASCII_TEXT for byte in shown)
    if 0 in shown or sum(byte in _ASCII_TEXT for byte in shown[:HEADER_BYTES]) < HEADER_BYTES - 1:
        return ""
    if ascii_bytes * 4 < len(shown) * 3:
        return ""
    text = re.sub(_COLOURS, "", shown.decode("utf-8", "backslashreplace"))
    return repr(" ".join(text.split())).replace("\\\\", "\\")


class FrameSplitter:
    """Cuts a byte stream into payloads, whatever the chunks it arrives in."""

    __slots__ = ("_closed", "_kept", "_needed", "empty", "max_frame_bytes", "overrun", "overrun_start")

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.overrun: int | None = None
        """The length that broke the limit, once one has."""
        self.overrun_start = b""
        """What stood in the place of that frame, as far as it came with it: `MAX_QUOTED_BYTES` at most."""
        self.empty = True
        """Whether what comes next begins a frame."""
        self._closed = False
        self._kept = bytearray()
        self._needed = HEADER_BYTES

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has begun and is not yet whole: an end of file now would cut it."""
        return bool(self._kept)

    @property
    def kept(self) -> bytes:
        """The start of a frame that is not yet whole, `MAX_QUOTED_BYTES` at most."""
        return bytes(self._kept[:MAX_QUOTED_BYTES])

    def close(self) -> None:
        """Keep nothing and return nothing from here on."""
        self._closed = True
        self.empty = False
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that are whole now, in order. An empty payload is one of zero length."""
        if self._closed:
            return []
        if self.is_one_frame(data):
            return [data[HEADER_BYTES:]]
        self._kept += data
        payloads: list[bytes] = []
        start = 0
        kept = self._kept
        available = len(kept)
        # `_needed` spares the header's second reading while a large frame comes in by small pieces.
        while available - start >= self._needed:
            length = int.from_bytes(kept[start : start + HEADER_BYTES], "big")
            if length > self.max_frame_bytes:
                self.overrun = length
                self.overrun_start = bytes(kept[start : start + MAX_QUOTED_BYTES])
                self.close()
                return payloads
            end = start + HEADER_BYTES + length
            if end > available:
                self._needed = HEADER_BYTES + length
                break
            payloads.append(bytes(kept[start + HEADER_BYTES : end]))
            start = end
            self._needed = HEADER_BYTES
        if start:
            del kept[:start]
        self.empty = not kept
        return payloads

    def is_one_frame(self, data: bytes) -> bool:
        """Return whether these bytes are one whole frame that has a payload, and nothing was kept from before."""
        length = len(data) - HEADER_BYTES
        return self.empty and 0 < length <= self.max_frame_bytes and _length_of(data)[0] == length
