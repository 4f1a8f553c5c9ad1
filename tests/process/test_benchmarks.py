"""The benchmarks run, tell ratios, and the page among the documents is what they made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "explanation" / "performance.json"


def benchmarks(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100).stdout


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
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "nonsense"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1
    assert "floor: pipe" in run.stderr


def test_bytecodes_of_a_call_are_counted_at_both_ends() -> None:
    """Where the Python of a call goes: the modules of either end, and none of the other's."""
    code = "import json; from benchmarks import bytecodes; print(json.dumps(bytecodes.a_call()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    ends = json.loads(run.stdout)
    assert {"procvision_runner.exchange", "procvision_sdk.wire.connection"} <= set(ends["runner"])
    assert {"procvision_host.worker", "procvision_sdk.wire.connection"} <= set(ends["host"])
    assert not any(module.startswith("procvision_host") for module in ends["runner"])
