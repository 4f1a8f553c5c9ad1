"""Several things that block, side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


def together(acts: Iterable[Callable[[], object]]) -> None:
    """Does each on a thread of its own; returns when all are done. An act that raises is its own affair."""
    threads = [threading.Thread(target=act, name="procvision-together") for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
