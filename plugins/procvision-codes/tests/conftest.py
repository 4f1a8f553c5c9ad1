"""What the tests of code-reader share; the pictures are made in `support`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from procvision_sdk.images.reading import bind_image_reader

SUPPORT = str(Path(__file__).parent / "support")
if SUPPORT not in sys.path:
    sys.path.append(SUPPORT)

from code_pictures import Memory  # noqa: E402


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Shared memory for `read_image_from_shared_memory`."""
    held = Memory()
    with bind_image_reader(held.read):
        yield held
