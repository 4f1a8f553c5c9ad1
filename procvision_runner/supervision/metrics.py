"""Counters, latencies of the last calls, and what a host's process tree takes, from /proc."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import attrs

from procvision_runner.process.process_tree import tree

COUNTERS = {
    "calls": "calls that have ended, however",
    "calls_OUTCOME": "by outcome: OK, NG, ERROR, a cause, or NONE for `pre` and `reset`, which have no verdict",
    "products": "products that are over: a session, or an `execute` of none, however many calls and steps it took",
    "products_VERDICT": "NG if any step is, OK if all are, else ERROR; UNFINISHED where no `final` call came",
    "retries": "attempts that failed and were followed by another",
    "restarts": "hosts that took the place of one that was lost",
    "takeovers": "restarts in which the spare host took the place",
    "hosts_CAUSE": "hosts that ended, by cause",
    "failed_launches": "hosts that never became ready",
    "waits": "how often a host was waited for since what it needs was away",
    "broken": "how often it was given up",
    "missed_pongs": "pings without an answer in time",
    "violations": "broken rules of the wire",
    "unexpected_answers": "late, doubled and invented answers",
    "sessions_lost": "sessions whose host was lost, with their state",
    "swaps": "swaps that took place",
    "failed_swaps": "swaps that were refused",
    "crash_reports": "folders that were written",
    "suspect_pictures": "pictures that ended two hosts in a row",
}
"""What is counted; a capital word stands for one of several."""
_TOTALS = frozenset({"calls", "products"})
"""What is counted by its outcome alone: a call counts once less."""
KEPT_LATENCIES = 1024
"""Percentiles are of so many last calls of a phase: a p99 stands on ten of them."""
_FEW_LATENCIES = 8
"""So many last calls of a phase tell how fast a host is now: one that was slow once isn't slow for good."""


@attrs.frozen(kw_only=True)
class Latency:
    """Milliseconds from the caller's call to its end, waiting and retries included, of the last calls of a phase."""

    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


@attrs.frozen(kw_only=True)
class Usage:
    """What a host and all that it started take."""

    processes: int
    threads: int
    memory_bytes: int
    """What they hold for themselves; the slots are the runner's and don't count."""
    cpu_s: float
    measured_at: float
    """Monotonic."""

    def cpu_percent_since(self, before: Usage | None) -> float:
        """Return the CPU share since `before`, in percent of one core; 0 without an earlier measurement."""
        if before is None or self.measured_at <= before.measured_at:
            return 0.0
        return max(0.0, 100 * (self.cpu_s - before.cpu_s) / (self.measured_at - before.measured_at))


@attrs.frozen(kw_only=True)
class Snapshot:
    """What the numbers were at one instant."""

    counters: Mapping[str, int]
    latencies: Mapping[str, Latency]
    usage: Usage | None
    cpu_percent: float


def percentile(ordered: list[float], share: float) -> float:
    """Return the smallest value that `share` of the values don't exceed. The list is sorted and not empty."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Metrics:
    """Counts and times. Any thread may use them."""

    __slots__ = ("_cpu_percent", "_usage", "counters", "latencies", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Guards the rest."""
        self.counters: Counter[str] = Counter()
        self.latencies: dict[str, deque[float]] = {}
        self._usage: Usage | None = None
        self._cpu_percent = 0.0

    def count(self, name: str, by: int = 1) -> None:
        """One more."""
        with self.lock:
            self.counters[name] += by

    def call_ended(self, phase: str, outcome: str, elapsed_ms: float) -> None:
        """Record a call that ended with a status, a verdict, or a cause."""
        with self.lock:
            self.counters[f"calls_{outcome}"] += 1
            kept = self.latencies.get(phase)
            if kept is None:
                kept = self.latencies[phase] = deque(maxlen=KEPT_LATENCIES)
            kept.append(elapsed_ms)

    def products(self, verdicts: Iterable[str]) -> None:
        """Count products that are over."""
        for verdict in verdicts:
            self.count(f"products_{verdict}")

    def lately_ms(self) -> float | None:
        """Return the median time of the last few executes, or of `pre` where there is none; None before any."""
        with self.lock:
            kept = self.latencies.get("execute") or self.latencies.get("pre") or ()
            last = sorted(islice(reversed(kept), _FEW_LATENCIES))
        return percentile(last, 0.5) if last else None

    def measured(self, usage: Usage) -> float:
        """Record a measurement. Return the CPU share since the last one, in percent of one core."""
        with self.lock:
            self._cpu_percent = usage.cpu_percent_since(self._usage)
            self._usage = usage
            return self._cpu_percent

    def new_host(self) -> None:
        """Begin anew: the next measurement is of another process."""
        with self.lock:
            self._usage, self._cpu_percent = None, 0.0

    def snapshot(self) -> Snapshot:
        """Return all numbers as they are now."""
        with self.lock:
            counters = _with_totals(self.counters)
            latencies = {phase: sorted(kept) for phase, kept in self.latencies.items()}
            usage, cpu_percent = self._usage, self._cpu_percent
        return Snapshot(
            counters=counters,
            latencies={
                phase: Latency(
                    calls=len(kept),
                    p50_ms=percentile(kept, 0.50),
                    p90_ms=percentile(kept, 0.90),
                    p99_ms=percentile(kept, 0.99),
                    max_ms=kept[-1],
                )
                for phase, kept in latencies.items()
            },
            usage=usage,
            cpu_percent=cpu_percent,
        )


def _with_totals(counted: Mapping[str, int]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for name, count in counted.items():
        whole, _, part = name.partition("_")
        if part and whole in _TOTALS:
            totals[whole] += count
    return {**totals, **counted}


def usage_of(leader: int) -> Usage:
    """Measure all processes of the session whose first process is `leader`."""
    page, tick = os.sysconf("SC_PAGESIZE"), os.sysconf("SC_CLK_TCK")
    processes = threads = memory = ticks = 0
    for process_id in tree(leader):
        folder = Path("/proc", str(process_id))
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            resident, shared = (int(pages) for pages in (folder / "statm").read_text().split()[1:3])
            processes += 1
            ticks += int(fields[11]) + int(fields[12])
            threads += int(fields[17])
            memory += max(0, resident - shared) * page
    return Usage(
        processes=processes,
        threads=threads,
        memory_bytes=memory,
        cpu_s=ticks / tick,
        measured_at=time.monotonic(),
    )
