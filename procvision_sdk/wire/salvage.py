"""Finds a field in a payload that can't be read as a whole, so that its refusal reaches the caller.

The strategy: candidates are found by a search for the key's bytes, and kept where they are a key of the outermost
object. What is before them is counted by bulk operations: a loop over the bytes would take seconds for a frame of the
largest size, and a payload that is refused is a stranger's.
"""

from __future__ import annotations

import re

import msgspec

_ESCAPES = ((b"\\\\", b"__"), (b'\\"', b"__"))
"""Escaped backslashes and quotes, and what keeps their places: then each quote that is left begins or ends a string."""
_VALUE = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\\x00-\x1f]|\\.){0,3072}")', re.DOTALL)
"""A key's value that is a string; 256 characters take twelve bytes each at most, as two escaped surrogates."""
_MAX_CANDIDATES = 64
"""A payload that has the key more often is nonsense, and is not searched."""
_OBJECT = re.compile(rb"[ \t\r\n]*\{")


def outer_text(payload: bytes, key: str) -> str | None:
    """Return the string that `key` has in the outermost object; None where there is none that can be read.

    The key is one that is spelt without escapes. Where it is doubled the last counts, as it does for the decoder.
    """
    quoted = b'"%s"' % key.encode()
    if not 0 < payload.count(quoted) <= _MAX_CANDIDATES or _OBJECT.match(payload) is None:
        return None
    plain = payload
    for escape, filler in _ESCAPES:
        plain = plain.replace(escape, filler)
    found: str | None = None
    seen, depth, inside = 0, 0, False
    at = plain.find(quoted)
    while at >= 0:
        # What begins inside a string is none of the key's quotes.
        parts = plain[seen:at].split(b'"')
        outside = b"".join(parts[inside::2])
        depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
        inside = inside is (len(parts) % 2 == 1)
        seen = at
        if depth == 1 and not inside:
            value = _VALUE.match(payload, at + len(quoted))
            text = _decoded(value[1]) if value is not None else None
            found = text if text is not None else found
        at = plain.find(quoted, at + 1)
    return found


def _decoded(literal: bytes) -> str | None:
    try:
        return msgspec.json.decode(literal, type=str)
    except ValueError:
        return None
