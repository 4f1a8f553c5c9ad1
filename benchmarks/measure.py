"""Cases side by side in alternating rounds: medians with spread, ratios paired by round.

The machines are noisy, so no single time is worth much: every round measures every case, a ratio is taken within a
round, and the median over the rounds is the result.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import attrs

Once = Callable[[], Any]


@attrs.frozen(kw_only=True)
class Case:
    """One thing to measure: `open` gives the function that does it once. `reference` is what it is divided by."""

    name: str
    group: str
    open: Callable[[], AbstractContextManager[Once]]
    calls: int
    reference: str | None = None
    timed_by_itself: bool = False
    """Whether the function returns seconds instead of being timed from outside."""


@attrs.frozen(kw_only=True)
class Measured:
    """A case's medians by round, in seconds."""

    case: Case
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(self.rounds)

    def ratio_to(self, other: Measured) -> tuple[float, float, float]:
        """Median, least and greatest of the ratios round by round."""
        ratios = [mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def run(cases: Sequence[Case], rounds: int, progress: Callable[[str], None]) -> list[Measured]:
    """Measures all cases in alternating rounds, each warmed up first."""
    medians: dict[str, list[float]] = {case.name: [] for case in cases}
    with ExitStack() as stack:
        opened = [(case, stack.enter_context(case.open())) for case in cases]
        for case, once in opened:
            progress(f"warming up {case.name}")
            for _ in range(max(3, case.calls // 10)):
                once()
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for case, once in opened:
                medians[case.name].append(statistics.median(_times(case, once)))
    return [Measured(case=case, rounds=tuple(medians[case.name])) for case in cases]


def _times(case: Case, once: Once) -> Iterator[float]:
    clock = time.perf_counter
    gc.collect()
    if case.timed_by_itself:
        for _ in range(case.calls):
            yield once()
        return
    for _ in range(case.calls):
        began = clock()
        once()
        yield clock() - began
