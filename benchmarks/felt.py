"""What a line feels: calls with pauses, each end on a core of its own, behind an algorithm that has emptied the caches.

A loop that calls back to back on one core finds all its code and data in the nearest caches. A line calls every 10 to
100 ms and finds them gone. So each case is measured in four modes, with p50 and p99, in alternating rounds; ratios are
taken within a round and a mode.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import attrs
import numpy as np
import psutil

from benchmarks import floors, hooks, ours, peers
from benchmarks.measure import Case, Once, Opened, opened_cases
from benchmarks.pictures import SIZES
from procvision_host.conversation.steady_calls import CORE as HOST_CORE
from procvision_runner.connection.steady_calls import CORE as RUNNER_CORE
from procvision_sdk.compiled import COMPILED_VARIABLE, OFF, compiled

EMPTIED_BYTES = 64 * 1024 * 1024
"""What is read between two calls is more than the caches hold."""
LINE = 64


@attrs.frozen(kw_only=True)
class Mode:
    """How calls follow each other. `apart`: each end has a core of its own; `pause_s` lies between two calls."""

    name: str
    calls: int
    apart: bool = True
    pause_s: float = 0.0
    emptied: bool = False
    """Whether so many bytes are read before the pause that the caches hold nothing else."""


MODES = (
    Mode(name="one core", calls=300, apart=False),
    Mode(name="a core each", calls=300),
    Mode(name="paced 10 ms", calls=60, pause_s=0.01),
    Mode(name="paced behind 64 MB", calls=40, pause_s=0.002, emptied=True),
)
QUICK_CALLS = 20

FLOOR, OURS = "floor: pipe", "ours: control path"
IN_PYTHON = ", in Python"
"""What a case's name ends with where steady calls run in Python although they are compiled."""
COPIED = ("2MP", "12MP")
PACED = tuple(mode.name for mode in MODES if mode.pause_s)
ONE_CORE = MODES[0].name


@attrs.frozen(kw_only=True)
class Targets:
    """The ratios that are aimed at, with every check on."""

    one_core: float
    paced: float
    lent: float
    copied: float

    def by_case(self, ending: str = "") -> dict[tuple[str, str], float]:
        """Return them by case and mode."""
        return {
            (OURS + ending, ONE_CORE): self.one_core,
            **{(OURS + ending, mode): self.paced for mode in PACED},
            **{(f"ours: 2MP lent{ending}", mode.name): self.lent for mode in MODES},
            **{(f"ours: {size} copied{ending}", mode): self.copied for size in COPIED for mode in PACED},
        }


COMPILED = Targets(one_core=1.3, paced=1.0, lent=1.1, copied=1.05)
PYTHON = Targets(one_core=2.0, paced=2.0, lent=1.15, copied=1.15)


def runs_compiled() -> bool:
    """Whether steady calls are compiled, on both sides."""
    return all(compiled(core) is not None for core in (RUNNER_CORE, HOST_CORE))


def at_most() -> dict[tuple[str, str], float]:
    """Return what is aimed at by case and mode, for what runs here."""
    return {
        **(COMPILED if runs_compiled() else PYTHON).by_case(),
        **PYTHON.by_case(IN_PYTHON),
        **{(f"ours: {kind}", mode): 1.1 for kind in ("supervisor", "pool") for mode in PACED},
        **{(f"ours: {kind}", ONE_CORE): 1.2 for kind in ("supervisor", "pool")},
        **{("ours: one observer", mode.name): hooks.OBSERVER_AT_MOST for mode in MODES},
        **{("ours: SQLite sessions", mode): 1.4 for mode in PACED},
    }


@contextmanager
def in_python(open_: Callable[[], Any]) -> Iterator[Once]:
    """The same where nothing is compiled: what is opened after it is compiled again."""
    with ExitStack() as stack:
        with patch.dict(os.environ, {COMPILED_VARIABLE: OFF}):
            once = stack.enter_context(open_())
            once()  # Both ends have chosen by now.
        yield once


def cases() -> list[Case]:
    """All, each after what it is divided by. Where steady calls are compiled, those in Python stand beside them."""

    def case(name: str, open_: Callable[[], Any], reference: str | None = None) -> Case:
        return Case(name=name, group="felt", open=open_, calls=0, reference=reference)

    def slow(name: str, open_: Callable[[], Any], reference: str) -> list[Case]:
        return [case(name + IN_PYTHON, partial(in_python, open_), reference)] if runs_compiled() else []

    lent = partial(ours.call, *SIZES["2MP"], lent=True)
    found = [
        case(FLOOR, floors.pipe),
        case(OURS, ours.call, FLOOR),
        case("ours: host alone", ours.host_alone, FLOOR),
        *slow(OURS, ours.call, FLOOR),
        case("ours: supervisor", ours.supervised, OURS),
        case("ours: pool", partial(ours.supervised, 2), OURS),
        case("ours: 2MP lent", lent, OURS),
        *slow("ours: 2MP lent", lent, OURS + IN_PYTHON),
    ]
    for size in COPIED:
        floor, copied = f"floor: {size} pipe, copy, touch", partial(ours.call, *SIZES[size])
        found += [
            case(floor, partial(floors.pipe, *SIZES[size])),
            case(f"ours: {size} copied", copied, floor),
            *slow(f"ours: {size} copied", copied, floor),
        ]
    found += [
        case("ours: one observer", hooks.observed, OURS),
        case("ours: memory sessions", partial(hooks.call, step_index=hooks.KEEPING), OURS),
        case("ours: SQLite sessions", partial(hooks.sqlite, "normal"), OURS),
    ]
    for peer in peers.installed()[0]:
        found.append(case(f"{peer.name}: control path", partial(peer.open, 0, 0), OURS))
        if peer.pictures:
            found.append(case(f"{peer.name}: 2MP copied", partial(peer.open, *SIZES["2MP"]), "ours: 2MP copied"))
    return found


def rows(
    some: Sequence[Case],
    rounds: int,
    progress: Callable[[str], None],
    failed: Callable[[Case, Exception], None],
    *,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """A row a case and mode: p50 and p99 in microseconds, and the ratio of the p50 to its reference's."""
    cores = sorted(os.sched_getaffinity(0))
    modes = [mode for mode in MODES if len(cores) > 1 or not mode.apart]
    times: dict[tuple[str, str], list[list[float]]] = {}
    filler = np.ones(EMPTIED_BYTES, np.uint8)
    with ExitStack() as stack:
        opened = opened_cases(some, stack, cores, progress, failed)
        for number in range(rounds):
            for mode in modes:
                progress(f"{mode.name}, round {number + 1} of {rounds}")
                for one in opened:
                    _place(one, mode, cores)
                    calls = min(mode.calls, QUICK_CALLS) if quick else mode.calls
                    times.setdefault((one.case.name, mode.name), []).append(_times(one, mode, calls, filler))
    os.sched_setaffinity(0, cores)
    targets = at_most()
    return [_row(one.case, mode, times, targets) for mode in modes for one in opened]


def _row(
    case: Case,
    mode: Mode,
    times: dict[tuple[str, str], list[list[float]]],
    targets: Mapping[tuple[str, str], float],
) -> dict[str, Any]:
    mine = times[case.name, mode.name]
    every = sorted(second for one in mine for second in one)
    row: dict[str, Any] = {
        "case": case.name,
        "mode": mode.name,
        "p50_us": round(statistics.median(statistics.median(one) for one in mine) * 1e6, 1),
        "p99_us": round(every[int(0.99 * (len(every) - 1))] * 1e6, 1),
    }
    if case.reference is not None:
        theirs = times[case.reference, mode.name]
        ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(mine, theirs, strict=True)]
        row |= {"reference": case.reference, "ratio": round(statistics.median(ratios), 2)}
        row |= {"ratio_least": round(min(ratios), 2), "ratio_greatest": round(max(ratios), 2)}
        row["at_most"] = targets.get((case.name, mode.name))
    return row


def _place(one: Opened, mode: Mode, cores: Sequence[int]) -> None:
    """Pin every thread of either end."""
    theirs = cores[1] if mode.apart else cores[0]
    for process in one.processes:
        core = cores[0] if process == os.getpid() else theirs
        try:
            threads = psutil.Process(process).threads()
        except psutil.NoSuchProcess:
            continue
        for thread in threads:
            try:
                os.sched_setaffinity(thread.id, {core})
            except ProcessLookupError:
                continue  # It has ended meanwhile.


def _times(one: Opened, mode: Mode, calls: int, filler: np.ndarray[Any, Any]) -> list[float]:
    clock, once, sleep = time.perf_counter, one.once, time.sleep
    gc.collect()
    for _ in range(3):
        once()
    found = []
    for _ in range(calls):
        if mode.emptied:
            filler[::LINE].sum()
        if mode.pause_s:
            sleep(mode.pause_s)
        began = clock()
        once()
        found.append(clock() - began)
    return found
