"""A page of memory that host and guardian share: what the host is doing, readable even after it crashed.

offset  bytes
0       8   number of the call being executed, 0 between calls
8       1   1 once the host ends of its own will
9       1   length of the request id
16      64  request id of the call, UTF-8, cut
"""

from __future__ import annotations

import mmap
import struct

_NUMBER = struct.Struct("<Q")
_LEAVING = 8
_ID_LENGTH = 9
_ID = 16
_ID_BYTES = 64


class Board:
    """Made before the fork; the host writes, the guardian reads."""

    __slots__ = ("_memory", "_pack")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._pack = _NUMBER.pack_into

    def call_begins(self, number: int, request_id: str | None) -> None:
        """The host starts to execute its `number`th call, counted from 1."""
        name = request_id.encode("utf-8", "replace")[:_ID_BYTES] if request_id else b""
        memory = self._memory
        memory[_ID : _ID + len(name)] = name
        memory[_ID_LENGTH] = len(name)
        self._pack(memory, 0, number)

    def call_ends(self) -> None:
        """The call is answered."""
        self._pack(self._memory, 0, 0)

    def leaves(self) -> None:
        """The host ends of its own will: an exit without this is the algorithm's doing."""
        self._memory[_LEAVING] = 1

    @property
    def left_by_itself(self) -> bool:
        """Whether the host ended of its own will."""
        return self._memory[_LEAVING] == 1

    @property
    def call(self) -> tuple[int, str | None]:
        """Number and request id of the call being executed; (0, None) between calls."""
        number: int = _NUMBER.unpack_from(self._memory, 0)[0]
        if not number:
            return 0, None
        length = self._memory[_ID_LENGTH]
        return number, self._memory[_ID : _ID + length].decode("utf-8", "replace") or None
