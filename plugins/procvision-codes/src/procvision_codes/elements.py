"""What a structured content is made of, whichever standard structures it, and how contents are shown to people."""

from __future__ import annotations

from typing import NamedTuple

GS, RS, EOT = "\x1d", "\x1e", "\x04"
"""ISO/IEC 646 control characters: group separator, record separator, end of transmission."""

_NAMES = (
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
)  # fmt: skip
MAX_SHOWN_CHARACTERS = 80
"""As much of a content as a sentence bears."""


class Element(NamedTuple):
    """One value with the identifier that stands before it."""

    identifier: str
    """An application identifier (21), a data identifier (1P) or a text element identifier (SER)."""
    value: str
    title: str
    """What the identifier means, as its standard titles it; empty if it isn't in the table."""
    at: int
    """Where the identifier begins, as an index into the content."""


def readable(text: str) -> str:
    """The text with its control characters by name: `<GS>`."""
    return "".join(f"<{_NAMES[ord(c)]}>" if c < " " else c if c.isprintable() else f"<{ord(c):02X}>" for c in text)


def shown(text: str) -> str:
    """The text for a sentence: readable, quoted and not too long."""
    if len(text) > MAX_SHOWN_CHARACTERS:
        return f"'{readable(text[:MAX_SHOWN_CHARACTERS])}…' ({len(text)} characters)"
    return f"'{readable(text)}'"
