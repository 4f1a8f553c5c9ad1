"""A bar on a terminal's stderr; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


def on_terminal() -> bool:
    """Return whether a bar would be shown."""
    return sys.stderr.isatty()


@contextmanager
def bar(count: int, label: str) -> Iterator[Callable[[], object]]:
    """Return a function to call after each of ``count`` things."""
    if not on_terminal():
        yield lambda: None
        return
    with click.progressbar(length=count, label=label, file=sys.stderr, show_pos=True) as shown:
        yield lambda: shown.update(1)
