"""Text in columns."""

from __future__ import annotations

import unicodedata

from procvision_sdk.printable import printable

__all__ = ["columns", "padded", "printable"]


def columns(text: str) -> int:
    """Give how many columns a text takes on a terminal: a Chinese character has two, a combining mark none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def padded(text: str, wide: int) -> str:
    """Fill a text up to so many columns."""
    return text + " " * max(0, wide - columns(text))
