"""pytest's fixture with a host process: pytest finds it by the entry point `procvision-runner`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from procvision_runner import Runner


@pytest.fixture
def real_runner() -> Iterator[Callable[..., Runner]]:
    """Return a function: `real_runner("name")` runs an installed algorithm in a host process until the test ends.

    Takes what `procvision_runner.Runner` takes.
    """
    from procvision_runner import Runner

    with ExitStack() as stack:

        def start(algorithm: str | None = None, **options: Any) -> Runner:
            return stack.enter_context(Runner(algorithm, **options))

        yield start
