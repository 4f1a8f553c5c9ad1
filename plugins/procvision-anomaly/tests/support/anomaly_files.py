"""Model files that aren't what training writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any


def rewritten(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file with another header and the right hash of it."""
    length = int.from_bytes(data[40:44], "big")
    header = json.loads(data[44 : 44 + length])
    change(header)
    text = json.dumps(header).encode()
    body = len(text).to_bytes(4, "big") + text + data[44 + length :]
    return data[:8] + hashlib.sha256(body).digest() + body
