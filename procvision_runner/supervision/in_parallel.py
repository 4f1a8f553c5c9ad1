"""Runs things that block side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


def in_parallel(acts: Iterable[Callable[[], object]]) -> None:
    """Run each act on a thread of its own, and wait for all. An act handles its own exceptions."""
    threads = [threading.Thread(target=act, name="procvision-parallel") for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
