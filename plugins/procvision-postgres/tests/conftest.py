"""A PostgreSQL of the tests' own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SUPPORT = str(Path(__file__).parent / "support")
if SUPPORT not in sys.path:
    sys.path.append(SUPPORT)

from postgres_server import PostgresServer, programs  # noqa: E402


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """One for all tests; a test that stops it starts it again."""
    if programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed; hint: apt-get install postgresql")
    with PostgresServer() as server:
        yield server
