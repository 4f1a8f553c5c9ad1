"""Guide pictures, kept from `pre` to `execute`; the one used longest ago goes when they are too many.

A guide is kept under a token that the session's state holds. So it ends with the session, and a session that was
begun anew under the same id can't meet a guide of the one before.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_KEPT_BYTES = 512 * 1024 * 1024
"""Eight guides of 20 megapixels, or 80 of full HD."""


class Guides:
    """Pictures by token."""

    def __init__(self, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_kept_bytes = max_kept_bytes
        self._kept: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()

    def keep(self, picture: NDArray[np.uint8]) -> str:
        """Keep a copy, read-only; return its token. It stays even if it alone is over the bound."""
        token = secrets.token_hex(8)
        kept = self._kept[token] = picture.copy()
        kept.flags.writeable = False
        while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._max_kept_bytes:
            self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> NDArray[np.uint8] | None:
        """The picture, which thereby was used last; None if it is no longer kept."""
        picture = self._kept.get(token)
        if picture is not None:
            self._kept.move_to_end(token)
        return picture

    def drop(self, token: str | None) -> None:
        """Forgets one."""
        self._kept.pop(token or "", None)

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
