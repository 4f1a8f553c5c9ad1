"""A Redis of the tests' own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SUPPORT = str(Path(__file__).parent / "support")
if SUPPORT not in sys.path:
    sys.path.append(SUPPORT)

from redis_server import RedisServer  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests; a test that stops it starts it again."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed; hint: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    with server:
        yield server
