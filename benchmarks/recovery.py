"""What a lost host costs the line: from its end to the next answer, with a spare host and without."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.measure import Case, Once
from benchmarks.ours import environment
from procvision_runner import RestartPolicy, RunnerOptions, Supervisor, SupervisorOptions
from procvision_runner.supervision.spare import SpareState

RESTART = RestartPolicy(max_restarts=1_000_000, factor=1.0)
"""Each loss is like a day's first: the default's first delay, never a longer one, and never the last."""
PATIENCE_S = 30.0


@contextmanager
def killed_to_answer(*, spare: bool) -> Iterator[Once]:
    """Kills the host and makes a call; seconds until its answer, which comes from the next host."""
    options = SupervisorOptions(runner=RunnerOptions(environment=environment()), restart=RESTART, spare=spare)
    with Supervisor("bench", options=options) as station:

        def once() -> float:
            _wait_for_spare(station)
            host = station.process_id
            assert host is not None
            os.kill(host, signal.SIGKILL)
            began = time.perf_counter()
            station.execute(pid="A")
            return time.perf_counter() - began

        yield once


def _wait_for_spare(station: Supervisor) -> None:
    """Not part of what is measured: a line has minutes for it."""
    deadline = time.monotonic() + PATIENCE_S
    while station.spare is not None and station.spare.state is not SpareState.READY:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no spare became ready within {PATIENCE_S:g} s: it is {station.spare.state}")
        time.sleep(0.001)


def cases() -> list[Case]:
    """The one without a spare is what the other is divided by."""
    without = "ours: killed host to next answer"
    case = partial(Case, group="recovery", calls=5, timed_by_itself=True)
    return [
        case(name=without, open=partial(killed_to_answer, spare=False)),
        case(name=f"{without}, spare", open=partial(killed_to_answer, spare=True), reference=without),
    ]
