"""The figures on real boards."""

from __future__ import annotations

import json
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


def test_average_precision_is_the_area_under_the_curve(benchmark: ModuleType) -> None:
    """Right, wrong, right of two: 1/2 + 1/2 * 2/3."""
    assert benchmark.average_precision([(0.9, True), (0.8, False), (0.7, True)], 2) == pytest.approx(5 / 6)
    assert benchmark.average_precision([], 3) == 0
