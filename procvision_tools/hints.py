"""Errors end with a line `hint:`, which says what to do: the two are told apart here."""

from __future__ import annotations

import re

_HINT = re.compile(r"(?:;\s*|\n\s*)hint:\s*")


def split_hint(text: str) -> tuple[str, str]:
    """Take a message apart into what it says and the hint that it ends with ("" where there is none)."""
    message, *hint = _HINT.split(text, maxsplit=1)
    return message.strip(), hint[0].strip() if hint else ""
