"""The short form of `nox -s evidence`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="a projection needs SQLAlchemy")

from tests.evidence.held import HeldStation
from tests.evidence.kills import Kills


def test_a_station_whose_processes_are_killed_has_a_record_of_what_it_told(tmp_path: Path) -> None:
    report = Kills(HeldStation(tmp_path / "line"), seed=3).run(4)
    assert report["wrong"] == []
    assert report["ended"] == 143
    assert report["told_OK"] > 0
    assert sum(report["kills"].values()) == 4
