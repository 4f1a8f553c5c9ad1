"""A page of memory that host and guardian share: what the host is doing, readable even after it crashed.

offset  bytes
0       8   number of the call being executed, 0 between calls
8       1   1 once the host ends of its own will
15      1   length of the request id
16      64  request id of the call, UTF-8, cut
80      8   how long the runner lets the drain take from its notice on, in milliseconds; 0: as long as the host may
88      8   how many lines of its log the host had to drop
"""

from __future__ import annotations

import mmap

_LEAVING = 8
_ID = 15
_ID_BYTES = 64
_TIME, _DROPPED = 10, 11
"""The numbers at offset 80 and 88."""


class SharedPage:
    """The page. It is made before the fork; the host writes, the guardian reads.

    Warning: imported before the hello: no `struct`, which takes longer than all that it would do here.
    """

    __slots__ = ("_numbers", "memory")

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._numbers = memoryview(self.memory).cast("Q")

    def call_begins(self, number: int, request_id: bytes) -> None:
        """Note that the host starts to execute its `number`th call, counted from 1. The id is UTF-8."""
        if len(request_id) > _ID_BYTES:
            request_id = request_id[:_ID_BYTES]
        self.memory[_ID : _ID + 1 + len(request_id)] = b"%c%b" % (len(request_id), request_id)
        self._numbers[0] = number

    def call_ends(self) -> None:
        """Note that the call is answered."""
        self._numbers[0] = 0

    def leave_within(self, duration_ms: int) -> None:
        """Note how long the runner lets the drain take, before the drain's notice."""
        self._numbers[_TIME] = duration_ms

    @property
    def leave_within_ms(self) -> int:
        """How long the runner lets the drain take; 0 where it doesn't say."""
        return self._numbers[_TIME]

    def line_dropped(self) -> None:
        """Note that a line of the host's log found no room."""
        self._numbers[_DROPPED] += 1

    @property
    def lines_dropped(self) -> int:
        """How many lines of the host's log found no room."""
        return self._numbers[_DROPPED]

    def leaves(self) -> None:
        """Note that the host ends of its own will. An exit without this is the algorithm's doing."""
        self.memory[_LEAVING] = 1

    @property
    def left_by_itself(self) -> bool:
        """Whether the host ended of its own will."""
        return self.memory[_LEAVING] == 1

    @property
    def call(self) -> tuple[int, str | None]:
        """Number and request id of the call being executed; (0, None) between calls."""
        number = self._numbers[0]
        if not number:
            return 0, None
        length = min(self.memory[_ID], _ID_BYTES)
        name: bytes = self.memory[_ID + 1 : _ID + 1 + length]
        return number, name.decode("utf-8", "replace") or None
