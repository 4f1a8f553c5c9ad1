"""What the station's tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@pytest.fixture(scope="session")
def filled_station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A station's folder with a ledger and its projection, which no test changes."""
    pytest.importorskip("litestar", reason="the extra station serves the page")
    from web_client import filled

    return filled(tmp_path_factory.mktemp("station") / "line-3")
