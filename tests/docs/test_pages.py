"""What the documents tell somebody to do works, as it is written there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from following import DOCS, follow, own_environment

BIN = Path(sys.executable).parent


def test_the_tutorial_works_from_nothing(tmp_path: Path) -> None:
    """In a fresh environment beside a clone: ten minutes of a newcomer, in seconds."""
    (tmp_path / "procvision").symlink_to(DOCS.parent)
    folder = tmp_path / "hole-count"
    folder.mkdir()
    (folder / "hole_count").mkdir()
    (folder / "hole_count" / "__init__.py").touch()
    assert follow("tutorial/first-algorithm.md", folder, own_environment(BIN)) == 8


HOW_TOS = (
    "asyncio",
    "camera",
    "check-your-package",
    "evaluate",
    "hot-swap",
    "keep-sessions",
    "log",
    "run-pictures",
    "session-state",
    "supervise",
    "test-your-host",
    "write-a-session-store",
)


@pytest.mark.parametrize("page", HOW_TOS)
def test_a_how_to_works(page: str, tmp_path: Path) -> None:
    """Its files are written, its commands run, and print what it says."""
    assert follow(f"how-to/{page}.md", tmp_path, own_environment(BIN)) >= 1
