"""Text that came from elsewhere, made harmless to show."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Show control characters, lone surrogates and the like as escapes; those in ``keep`` stay."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )
