"""A lease with several holders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procvision_runner.images.slots import Lease


class SharedLease:
    """A lease that several attempts and their caller share. It is released when the last of them releases it."""

    __slots__ = ("_holders", "_lock", "lease")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._holders = 1
        # Held for a count alone, and never while another is taken: the pool's own is as good as one more.
        self._lock = lease._pool._lock

    def share(self) -> Callable[[], None]:
        """Add a holder. Return the function that releases its share."""
        with self._lock:
            self._holders += 1
        return self.release

    def release(self) -> None:
        """Release one holder's share."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
        self.lease.release()
