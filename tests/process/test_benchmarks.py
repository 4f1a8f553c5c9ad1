"""The benchmarks run, tell ratios, and the page among the documents is what they made."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import counts, felt
from benchmarks.page import page
from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "explanation" / "performance.json"


def benchmarks(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100).stdout


def refused(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    return run.stderr


def test_quick_run_tells_the_ratio_of_the_control_path(tmp_path: Path) -> None:
    """Real processes, both ends: a time above the floor's, and the floor's own above nothing."""
    figures = tmp_path / "figures.json"
    told = benchmarks("--quick", "--only", "ours: control path", "--json", str(figures))
    rows = {row["case"]: row for row in json.loads(figures.read_text())["rows"]}
    floor, ours = rows["floor: pipe"], rows["ours: control path"]
    assert floor["median_us"] > 0
    assert floor["cpu_us"] > 0
    assert ours["reference"] == "floor: pipe"
    assert ours["ratio"] > 1
    assert f"{ours['ratio']}" in told


def test_page_is_what_its_figures_make(tmp_path: Path) -> None:
    """Nobody writes into it by hand, and a change to the page's maker is followed by the page."""
    (tmp_path / "explanation").mkdir()
    made = tmp_path / "explanation" / "performance.md"
    benchmarks("--from", str(FIGURES), "--page", str(made))
    assert made.read_text("utf-8") == (ROOT / "docs" / "explanation" / "performance.md").read_text("utf-8")
    for plot in (tmp_path / "images").iterdir():
        assert plot.read_text("utf-8") == (ROOT / "docs" / "images" / plot.name).read_text("utf-8")


def test_name_that_no_case_has_is_refused_with_those_there_are() -> None:
    """A typing mistake measures nothing, and says so."""
    assert "floor: pipe" in refused("--only", "nonsense")


def test_bytecodes_of_a_call_are_counted_at_both_ends() -> None:
    """Where the Python of a call goes: the modules of either end, and none of the other's."""
    code = "import json; from benchmarks import bytecodes; print(json.dumps(bytecodes.a_call()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    ends = json.loads(run.stdout)
    assert {"procvision_runner.connection.steady_calls", "procvision_runner.connection.writer"} <= set(ends["runner"])
    assert {"procvision_host.algorithm.worker", "procvision_host.conversation.steady_calls"} <= set(ends["host"])
    assert not any(module.startswith("procvision_host") for module in ends["runner"])


def test_peer_is_measured_beside_ours_and_those_that_are_not_installed_are_named(tmp_path: Path) -> None:
    """The standard library's is always there; the others are, or are left out by name."""
    figures = tmp_path / "figures.json"
    benchmarks("--quick", "--only", "multiprocessing: control path", "--json", str(figures))
    run = json.loads(figures.read_text())
    (row,) = [row for row in run["rows"] if row["case"] == "multiprocessing: control path"]
    assert row["reference"] == "ours: control path"
    assert row["ratio"] > 0
    absent = [peer.name for peer in PEERS if importlib.util.find_spec(peer.needs) is None]
    assert run["left_out"] == absent


def test_peer_that_is_asked_for_and_not_installed_is_said_to_be() -> None:
    """Rather than that there is no such case."""
    absent = next((peer.name for peer in PEERS if importlib.util.find_spec(peer.needs) is None), None)
    if absent is None:
        pytest.skip("every peer is installed here")
    run = refused("--only", absent)
    assert f"not installed: {absent}" in run
    assert "benchmarks/peers.txt" in run


def test_recovery_is_measured_with_a_spare_and_without(tmp_path: Path) -> None:
    """With one it is a call's time and not a start's: a fiftieth, of which this leaves ample room."""
    figures = tmp_path / "figures.json"
    benchmarks("--quick", "--only", "recovery", "--json", str(figures))
    without, spare = json.loads(figures.read_text())["rows"]
    assert spare["reference"] == without["case"]
    assert spare["ratio"] < 1


def test_isolation_is_measured_beside_none(tmp_path: Path) -> None:
    """A start tells by how much it takes longer, and what of that is the processor's time."""
    figures = tmp_path / "figures.json"
    told = benchmarks("--quick", "--only", "spawn to hello, strict", "--json", str(figures))
    off, strict = json.loads(figures.read_text())["rows"]
    assert strict["reference"] == off["case"] == "ours: spawn to hello, off"
    assert off["cpu_us"] > 1000, "a process's start takes processor time"
    assert f"{strict['more_ms']:+} ms (cpu {strict['more_cpu_ms']:+}), ≤ +5" in told


def refused_case(case: object, error: Exception) -> None:
    raise error


def test_a_line_is_measured_with_pauses_and_on_two_cores() -> None:
    """Each mode has a row with p50, p99 and the ratio to its reference in that mode; the page leads with them."""
    names = ("floor: pipe", "ours: control path", "ours: control path, in Python")
    if not felt.runs_compiled():
        names = names[:2]
    some = [case for case in felt.cases() if case.name in names]
    rows = felt.rows(some, 1, lambda _: None, refused_case, quick=True)
    modes = [mode.name for mode in felt.MODES if len(os.sched_getaffinity(0)) > 1 or not mode.apart]
    assert [(row["mode"], row["case"]) for row in rows] == [(mode, name) for mode in modes for name in names]
    for row in rows:
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert row.get("reference") == (None if row["case"] == "floor: pipe" else "floor: pipe")
    targets = [row.get("at_most") for row in rows if row["mode"] == "one core"]
    assert targets == (
        [None, felt.COMPILED.one_core, felt.PYTHON.one_core] if felt.runs_compiled() else [None, felt.PYTHON.one_core]
    )
    run = {**json.loads(FIGURES.read_text("utf-8")), "felt": rows}
    told = page(run)
    assert told.index("## What a line feels") < told.index("## Back to back, on one core")
    assert all(f"{row['p50_us']:,} / {row['p99_us']:,}" in told for row in rows)


@pytest.mark.skipif(counts.missing() is not None, reason=str(counts.missing()))
def test_what_a_call_touches_repeats() -> None:
    """The same path in two processes: as many instructions, but for what a hash or an address decides."""
    first, second = (counts.counted("floor: pipe", "runner") for _ in range(2))
    assert first["instructions"] > first["lines"] > first["pages"] > 10
    for what in first:
        assert abs(first[what] - second[what]) < 0.1 * first[what], what
