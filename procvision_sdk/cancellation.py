"""The flag by which a runner asks a call to stop early."""

from __future__ import annotations


class Cancellation:
    """An algorithm that takes long looks at it now and then: `if self.cancellation.requested: return Failed(...)`.

    Set from another thread than the one that executes; reading a plain attribute needs no lock.
    """

    __slots__ = ("requested",)

    def __init__(self) -> None:
        self.requested = False
        """Whether the call being executed should stop. A new call starts with False."""
