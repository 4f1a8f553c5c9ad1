"""Threads that work while a test looks on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

PATIENCE_S = 120.0


class Background:
    """A context manager: a thread for each of its works, which look at `stopping` and end with the block."""

    def __init__(self, *works: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=work, name=f"background-{place}") for place, work in enumerate(works)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads), "a thread goes on for ever"
