"""The figures on real boards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

GOAL = 0.97


def test_every_board_group_reaches_the_goal_with_numbers_from_the_other_groups(
    benchmark: ModuleType, deeppcb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F-score and mAP, IoU over 0.33, same class, one fixed threshold."""
    assert benchmark.main(["--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    overall = groups.pop("all")
    assert overall["f_score"] >= GOAL
    assert overall["mean_average_precision"] >= GOAL
    assert {name for name, row in groups.items() if row["held_out"]["f_score"] < GOAL} == set()
    assert {name for name, row in groups.items() if row["held_out"]["mean_average_precision"] < GOAL} == set()


def test_without_its_data_the_benchmark_says_what_to_set(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exits with 64."""
    monkeypatch.delenv("DEEPPCB_DIR", raising=False)
    assert benchmark.main([]) == 64
    assert "DEEPPCB_DIR" in capsys.readouterr().err


def test_through_the_host_the_figures_are_the_same_and_the_page_shows_the_worst_ten(
    deeppcb: Path, tmp_path: Path
) -> None:
    """Each group with the threshold that is best on the others; `procvision evaluate` holds them to the goal."""
    page, report = tmp_path / "report.html", tmp_path / "report.json"
    bounds = [f"f_score>={GOAL}", f"mean_average_precision>={GOAL}", "escapes<=0"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "procvision_runner.cli.main", "evaluate", "pcb-compare", str(deeppcb)),
            *("--param", "min_score=0", "--threshold", "0.5", "--sweep", "threshold=0.1:0.9:0.1", "--jobs", "2"),
            *("--json", str(report), "--html", str(page), *(f"--require={bound}" for bound in bounds)),
        ],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(report.read_text())
    assert record["failures"] == {}
    assert len(record["groups"]) == len(record["sweep"]["held_out"]) > 1
    assert {row["group"] for row in record["sweep"]["held_out"] if row["figures"]["f_score"] < GOAL} == set()
    assert record["sweep"]["held_out_f_score"] >= GOAL
    assert page.read_text().count('class="board"') == 10
