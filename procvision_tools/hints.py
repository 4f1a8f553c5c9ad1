"""Errors end with a line `hint:`, which says what to do: the two are told apart here."""

from __future__ import annotations

import re

_HINT = re.compile(r"(?:;\s*|\n\s*)hint:\s*")


def split_hint(text: str) -> tuple[str, str]:
    """Take a message apart into what it says and the hint that it ends with ("" where there is none)."""
    found = list(_HINT.finditer(text))
    if not found:
        return text.strip(), ""
    # Several errors have a hint each: the earlier ones stay where they stand.
    return text[: found[-1].start()].strip(), text[found[-1].end() :].strip()
