"""Text that came from elsewhere, made harmless to show."""

from __future__ import annotations

import unicodedata


def printable(text: str, keep: str = "") -> str:
    """Show control characters, lone surrogates and the like as escapes; those in ``keep`` stay."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def columns(text: str) -> int:
    """Give how many columns a text takes on a terminal: a Chinese character has two, a combining mark none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def padded(text: str, wide: int) -> str:
    """Fill a text up to so many columns."""
    return text + " " * max(0, wide - columns(text))
