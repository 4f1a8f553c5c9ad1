"""Cases side by side in alternating rounds: medians with spread, ratios paired by round.

The machines are noisy, so no single time is worth much: every round measures every case, a ratio is taken within a
round, and the median over the rounds is the result. Beside the time on the clock stands the processor's time of all
processes that took part, which others on the machine disturb less.
"""

from __future__ import annotations

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import attrs
import psutil

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
    every_core: bool = False
    """Whether all cores may be used; otherwise everything is pinned to one."""


@attrs.frozen
class Round:
    """What one round gave, a call: the median on the clock and the mean of the processors' time, in seconds."""

    median: float
    cpu: float


@attrs.frozen(kw_only=True)
class Measured:
    """A case's rounds."""

    case: Case
    rounds: tuple[Round, ...]

    @property
    def median(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(one.median for one in self.rounds)

    @property
    def cpu(self) -> float:
        """The median of the rounds' processor time."""
        return statistics.median(one.cpu for one in self.rounds)

    def ratio_to(self, other: Measured) -> tuple[float, float, float]:
        """Median, least and greatest of the ratios round by round."""
        ratios = [mine.median / theirs.median for mine, theirs in zip(self.rounds, other.rounds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)

    def more_than(self, other: Measured) -> float:
        """The median of the differences round by round, in seconds."""
        return statistics.median(a.median - b.median for a, b in zip(self.rounds, other.rounds, strict=True))

    def cpu_ratio_to(self, other: Measured) -> float:
        """The median of the ratios of processor time."""
        return statistics.median(
            mine.cpu / theirs.cpu for mine, theirs in zip(self.rounds, other.rounds, strict=True) if theirs.cpu
        )


class Opened:
    """A case that is ready to run, with the processes that it started."""

    def __init__(self, case: Case, stack: ExitStack, cores: Sequence[int]) -> None:
        self.case = case
        self._cores = cores if case.every_core else cores[:1]
        self._settle()
        before = _children()
        self.once = stack.enter_context(case.open())
        self.processes = [os.getpid(), *(_children() - before)]
        for _ in range(max(3, case.calls // 10)):
            self.once()

    def _settle(self) -> None:
        os.sched_setaffinity(0, self._cores)

    def measured(self) -> Round:
        """One round."""
        self._settle()
        gc.collect()
        before = _processor_seconds(self.processes)
        median = statistics.median(self._times())
        return Round(median, (_processor_seconds(self.processes) - before) / self.case.calls)

    def _times(self) -> Iterator[float]:
        clock, once = time.perf_counter, self.once
        if self.case.timed_by_itself:
            for _ in range(self.case.calls):
                yield once()
            return
        for _ in range(self.case.calls):
            began = clock()
            once()
            yield clock() - began


def opened_cases(
    cases: Sequence[Case],
    stack: ExitStack,
    cores: Sequence[int],
    progress: Callable[[str], None],
    failed: Callable[[Case, Exception], None],
) -> list[Opened]:
    """Open and warm up all cases. Tell `failed` of a case that can't be opened, and leave it out."""
    opened = []
    for case in cases:
        progress(f"warming up {case.name}")
        try:
            opened.append(Opened(case, stack, cores))
        except Exception as error:  # noqa: BLE001 - whatever a peer's library raises
            failed(case, error)
    return opened


def run(
    cases: Sequence[Case], rounds: int, progress: Callable[[str], None], failed: Callable[[Case, Exception], None]
) -> list[Measured]:
    """Measures all cases in alternating rounds, each warmed up first.

    `failed` is told of a case that can't be opened, which is left out then; it may raise.
    """
    cores = sorted(os.sched_getaffinity(0))
    measured: dict[str, list[Round]] = {case.name: [] for case in cases}
    with ExitStack() as stack:
        opened = opened_cases(cases, stack, cores, progress, failed)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for one in opened:
                measured[one.case.name].append(one.measured())
    os.sched_setaffinity(0, cores)
    return [Measured(case=one.case, rounds=tuple(measured[one.case.name])) for one in opened]


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _processor_seconds(processes: Sequence[int]) -> float:
    """The time that all threads of these processes have run, and that of children that have ended meanwhile."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    nanoseconds = (ended.ru_utime + ended.ru_stime) * 1e9
    for process in processes:
        for stat in Path(f"/proc/{process}/task").glob("*/schedstat"):
            try:
                nanoseconds += int(stat.read_text().split()[0])
            except OSError:
                continue  # The thread has ended meanwhile.
    return nanoseconds / 1e9
