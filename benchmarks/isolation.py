"""What shutting the algorithm in costs, starts and calls at each level; and a start beside the algorithm's own part.

A start is measured from the launch to the answer that the algorithm is set up. Its processors' time stands beside the
clock's: on a machine with other work on it the clock tells of that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

from benchmarks import floors, ours
from benchmarks.measure import Case, Once
from benchmarks.pictures import SIZES
from procvision_runner import Runner, RunnerOptions
from procvision_runner.connection.launch import host_command
from procvision_runner.options import IsolationLevel

LEVELS: tuple[IsolationLevel, ...] = ("off", "basic", "strict")
STARTS, CALLS = 5, 1000
GROUP, READY_GROUP = "isolation", "ready"
BENCH = ("bench", "procvision_bench:Bench")
REAL = ("pcb-compare", "procvision_pcb.algorithm:PcbCompare")
"""One with NumPy and OpenCV."""
AT_MOST = {
    **{f"ours: {what}, {level}": 1.05 for what in ("control path", "2MP lent") for level in LEVELS[1:]},
    f"ours: {REAL[0]} ready": 1.2,
    f"ours: {BENCH[0]} ready": 1.2,
}
MORE_MS = {
    **{f"ours: spawn to hello, {level}": 5.0 for level in LEVELS[1:]},
    **{f"ours: spawn to ready, {level}": 20.0 for level in LEVELS[1:]},
}
"""How much more than the reference's time is aimed at."""


@contextmanager
def to_hello(level: IsolationLevel) -> Iterator[Once]:
    """From the launch to the first frame; seconds."""
    command = host_command("bench", None, RunnerOptions(isolation=level))
    yield lambda: floors.first_output(list(command), ours.environment())


@contextmanager
def to_ready(algorithm: str, level: IsolationLevel | None = None) -> Iterator[Once]:
    """From the launch to the answer that the algorithm is set up; seconds."""

    def once() -> float:
        runner = Runner(algorithm, options=RunnerOptions(environment=ours.environment(), isolation=level))
        began = time.perf_counter()
        runner.start()
        took = time.perf_counter() - began
        runner.stop()
        return took

    yield once


@contextmanager
def by_itself(entry_point: str) -> Iterator[Once]:
    """A bare Python that imports an algorithm and sets it up; seconds."""
    module, _, name = entry_point.partition(":")
    code = f"import os; from {module} import {name}; {name}().setup(); os.write(1, b'x')"
    yield lambda: floors.first_output([sys.executable, "-c", code], ours.environment())


@contextmanager
def call(level: IsolationLevel, *, lent: bool) -> Iterator[Once]:
    """A call, in a host that is shut in so far."""
    size = SIZES["2MP"] if lent else (0, 0)
    with ours.call(*size, lent=lent, isolation=level) as once:
        yield once


def cases() -> list[Case]:
    """Every level beside `off`, and starts beside the algorithm's own imports and setup in a bare Python."""
    found = []
    for level in LEVELS:
        for what, open_, calls in (
            ("spawn to hello", partial(to_hello, level), STARTS),
            ("spawn to ready", partial(to_ready, BENCH[0], level), STARTS),
            ("control path", partial(call, level, lent=False), CALLS),
            ("2MP lent", partial(call, level, lent=True), CALLS),
        ):
            found.append(
                Case(
                    name=f"ours: {what}, {level}",
                    group=GROUP,
                    open=open_,
                    calls=calls,
                    reference=None if level == "off" else f"ours: {what}, off",
                    timed_by_itself=what.startswith("spawn"),
                )
            )
    for algorithm, entry_point in (BENCH, REAL):
        if algorithm != REAL[0] or find_spec("procvision_pcb") is not None:
            floor = f"floor: {algorithm} in a bare Python"
            start = partial(Case, group=READY_GROUP, calls=STARTS, timed_by_itself=True, every_core=True)
            found += [
                start(name=floor, open=partial(by_itself, entry_point)),
                start(name=f"ours: {algorithm} ready", open=partial(to_ready, algorithm), reference=floor),
            ]
    return found
