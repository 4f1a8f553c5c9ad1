"""JSON that a person can read: letters of every script stand as they are."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def json_text(value: Any, *, indent: int | None = None, encoding: str = "utf-8") -> str:
    """Give a value as JSON text; what JSON doesn't know becomes its `str`.

    Letters stay letters. What can't be seen (control characters, lone surrogates, marks that turn the direction of
    writing) and what ``encoding`` lacks is escaped as JSON has it, so that a terminal shows it and any reader
    gets the same value. Without an indent it is one line.
    """
    text = _dumped(value, indent)
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(char if char == "\n" or _is_shown(char, encoding) else _escaped(char) for char in text)


def _dumped(value: Any, indent: int | None) -> str:
    """Return `json.dumps` of a value. With an indent that is a slow encoder in Python: lines are made by msgspec."""
    if indent is not None:
        try:
            packed = json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)
            return msgspec.json.format(packed, indent=indent)
        except ValueError:
            pass  # NaN, which is no JSON and stays as it is, or a lone surrogate
    return json.dumps(value, indent=indent, default=str, ensure_ascii=False)


def _is_shown(char: str, encoding: str) -> bool:
    if not char.isprintable():
        return False
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escaped(char: str) -> str:
    # Outside of the basic plane JSON has two escapes for one character; `json` knows how.
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
