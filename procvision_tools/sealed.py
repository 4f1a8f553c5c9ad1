"""Records that show when they were changed by hand: one field has the hash of all others.

It is no signature: a program that writes such a record anew writes its hash, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def seal_of(record: Mapping[str, Any], field: str) -> str:
    """Return the SHA-256, in hex, of all fields but `field`, as JSON in UTF-8 with sorted keys and no blanks."""
    held = {key: value for key, value in record.items() if key != field}
    text = json.dumps(held, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
