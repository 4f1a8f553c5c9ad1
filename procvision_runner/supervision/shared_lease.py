"""A lease with several holders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procvision_runner.images.slots import Lease


class Hold:
    """A lease that several attempts and their caller share: it goes back when the last lets go, whoever that is."""

    __slots__ = ("_holders", "_lease", "_lock")

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._holders = 1
        self._lock = threading.Lock()

    def share(self) -> Callable[[], None]:
        """One more holder; what comes back lets go for it."""
        with self._lock:
            self._holders += 1
        return self.let_go

    def let_go(self) -> None:
        """One holder less."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
        self._lease.release()
