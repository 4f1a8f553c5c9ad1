"""Names of files as text."""

from __future__ import annotations

import os


def shown(path: str | os.PathLike[str]) -> str:
    """Give a file's name as text: bytes that are no UTF-8 become escapes, as ``\\xe4``.

    Such names come from shares of another code page. They can be opened by the name that the system gave, and neither
    printed nor sent.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")
