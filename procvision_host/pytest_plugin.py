"""pytest's fixture with the host's checks in memory: pytest finds it by the entry point `procvision-host`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from procvision_host.in_memory.runner import InMemoryRunner


@pytest.fixture
def in_memory_runner() -> Iterator[Callable[..., InMemoryRunner]]:
    """Return a function: `in_memory_runner(Algorithm)` sets one up, drives it as a host does, and tears it down.

    Takes what `procvision_host.in_memory.runner.InMemoryRunner` takes.
    """
    from procvision_host.in_memory.runner import InMemoryRunner

    with ExitStack() as stack:

        def start(algorithm: Any, **options: Any) -> InMemoryRunner:
            return stack.enter_context(InMemoryRunner(algorithm, **options))

        yield start
