"""One run, from the installation of the algorithm to the report."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from procvision_runner.options import IsolationLevel, RunnerOptions
from procvision_runner.supervision.metrics import percentile
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from tests.chaos.faults import Faults, Recovery
from tests.chaos.load import Book, Load
from tests.peers.chaos_plugins import install, named
from tests.peers.supervising import marked, processes_with, wait_until

MAX_SECONDS = 150.0
"""With what comes before and after, a run is over in three minutes."""


@attrs.frozen(kw_only=True)
class Report:
    """What happened. `unanswered`, `lost`, `doubled`, `wrong` and `left` are to be 0."""

    seconds: float
    hosts: int
    calls: int
    calls_per_s: float
    outcomes: dict[str, int]
    faults: dict[str, int]
    restarts: int
    takeovers: int
    """Restarts in which a spare host was ready."""
    retries: int
    sessions_lost: int
    swaps_refused: int
    unanswered: int
    """Outside sessions, of which there are to be none either: whatever struck a host, there is another try."""
    lost: int
    doubled: int
    wrong: int
    left: int
    recover_p50_s: float | None
    recover_p99_s: float | None
    recover_max_s: float | None
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not (self.unanswered or self.lost or self.doubled or self.wrong or self.left)

    def as_dict(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "passed": self.passed}


def options(isolation: IsolationLevel | None = None) -> SupervisorOptions:
    """A station's, but for clocks that run faster and limits that a run of faults would reach."""
    return SupervisorOptions(
        runner=RunnerOptions(
            handshake_timeout_s=20.0,
            pre_timeout_s=10.0,
            execute_timeout_s=30.0,  # of all tries together: on a busy machine each may wait seconds for a host
            shutdown_timeout_s=3.0,
            terminate_timeout_s=1.0,
            heartbeat=HeartbeatPolicy(interval_s=0.5, grace_s=0.5),
            max_slots=12,
            isolation=isolation,
        ),
        restart=RestartPolicy(max_restarts=10_000, first_delay_s=0.0, max_delay_s=0.1, factor=1.0),
        retry=RetryPolicy(retries=8),
        dump_timeout_s=0.1,
        drain_timeout_s=20.0,
    )


def run(
    seconds: float,
    seed: int,
    hosts: int = 4,
    pause_s: tuple[float, float] = (0.05, 0.6),
    *,
    spare: bool = False,
    isolation: IsolationLevel | None = None,
) -> Report:
    """Raises nothing for what it finds: that is in the report."""
    seconds = min(seconds, MAX_SECONDS)
    book, recovery = Book(), Recovery()
    mark = f"chaos-{os.getpid()}-{seed}"
    with tempfile.TemporaryDirectory(prefix="procvision-chaos-") as folder:
        settings = attrs.evolve(marked(options(isolation), mark, install(Path(folder))), spare=spare)
        pool = Pool(named("1.0"), hosts=hosts, options=settings, listeners=[recovery])
        with pool:
            began = time.monotonic()
            with Load(pool, book, seed), Faults(pool, recovery, seed, pause_s, swap_s=1.0) as faults:
                time.sleep(seconds)
            took = time.monotonic() - began
            snapshots = pool.snapshots().values()
            counters = {
                name: sum(snapshot.counters.get(name, 0) for snapshot in snapshots)
                for name in ("restarts", "takeovers", "retries", "sessions_lost", "broken")
            }
    segments = list(Path("/dev/shm").glob(f"pv-{os.getpid()}-*"))
    wait_until(lambda: not processes_with(mark), 5.0)
    recoveries = sorted(recovery.seconds)
    return Report(
        seconds=round(took, 1),
        hosts=hosts,
        calls=book.made,
        calls_per_s=round(book.made / took, 1),
        outcomes=dict(book.outcomes),
        faults=dict(faults.counts),
        restarts=counters["restarts"],
        takeovers=counters["takeovers"],
        retries=counters["retries"],
        sessions_lost=counters["sessions_lost"],
        swaps_refused=len(faults.swap_failures),
        unanswered=book.unanswered,
        lost=book.lost,
        doubled=book.doubled,
        wrong=len(book.wrong),
        left=len(segments) + len(processes_with(mark)),
        recover_p50_s=round(percentile(recoveries, 0.5), 3) if recoveries else None,
        recover_p99_s=round(percentile(recoveries, 0.99), 3) if recoveries else None,
        recover_max_s=round(recoveries[-1], 3) if recoveries else None,
        notes=(*book.wrong[:10], *book.errors[:10], *faults.swap_failures[:5]),
    )
