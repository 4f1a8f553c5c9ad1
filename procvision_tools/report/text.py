"""Text that came from elsewhere, made harmless to show."""

from __future__ import annotations

import os


def printable(text: str, keep: str = "") -> str:
    """Show control characters, lone surrogates and the like as escapes; those in ``keep`` stay."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def shown(path: str | os.PathLike[str]) -> str:
    """Give a file's name as text: bytes that are no UTF-8 become escapes, as ``\\xe4``.

    Such names come from shares of another code page. They can be opened by the name that the system gave, and neither
    printed nor sent.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")
