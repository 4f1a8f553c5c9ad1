"""Counters, percentiles, and what /proc says of a process tree."""

from __future__ import annotations

import subprocess
import sys

from procvision_runner.supervision.metrics import Metrics, Usage, percentile, usage_of


def usage(cpu_s: float, measured_at: float) -> Usage:
    return Usage(processes=1, threads=1, memory_bytes=1, cpu_s=cpu_s, measured_at=measured_at)


def test_percentile_is_a_value_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


def test_latencies_are_kept_by_phase_and_bounded() -> None:
    metrics = Metrics()
    for number in range(5000):
        metrics.call_ended("execute", "OK", float(number))
    metrics.call_ended("pre", "timeout", 3.0)
    snapshot = metrics.snapshot()
    assert snapshot.counters == {"calls": 5001, "calls_OK": 5000, "calls_timeout": 1}
    assert snapshot.latencies["execute"].calls == 1024
    assert snapshot.latencies["execute"].max_ms == 4999.0
    assert snapshot.latencies["pre"].p50_ms == 3.0


def test_what_a_host_took_lately_is_told_by_its_executes() -> None:
    """A `pre` that is quick on every host says nothing of which one has room soonest."""
    metrics = Metrics()
    assert metrics.lately_ms() is None
    metrics.call_ended("pre", "OK", 5.0)
    assert metrics.lately_ms() == 5.0
    for _ in range(20):
        metrics.call_ended("pre", "OK", 5.0)
        metrics.call_ended("execute", "OK", 100.0)
    assert metrics.lately_ms() == 100.0
    for _ in range(8):
        metrics.call_ended("execute", "NG", 900.0)
    assert metrics.lately_ms() == 900.0


def test_cpu_share_is_of_the_time_between_two_looks() -> None:
    metrics = Metrics()
    assert metrics.measured(usage(1.0, 100.0)) == 0.0
    assert metrics.measured(usage(2.0, 102.0)) == 50.0
    metrics.new_host()
    assert metrics.measured(usage(0.1, 103.0)) == 0.0


def test_usage_counts_a_tree() -> None:
    code = (
        "import subprocess, sys\n"
        "held = bytearray(b'x') * 50_000_000\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE)\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
        "child.communicate()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = usage_of(process.pid)
        process.communicate()
    assert seen.processes == 2
    assert 50_000_000 < seen.memory_bytes < 200_000_000
    assert usage_of(process.pid).processes == 0
