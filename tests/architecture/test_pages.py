"""What the pages take from the code is up to date, and every page is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "docs").glob("*.py") if "--check" in path.read_text("utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(script: Path) -> None:
    """If this fails: run the script without --check."""
    assert subprocess.run([sys.executable, script, "--check"], cwd=ROOT).returncode == 0


def test_there_are_scripts_to_check() -> None:
    """So that the test above can't pass by finding nothing."""
    assert {path.name for path in SCRIPTS} >= {"generate.py", "pages.py", "hooks.py"}


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody can reach isn't written."""
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f" {page}\n" not in nav] == []


def test_every_plugin_is_tested_and_has_a_page() -> None:
    """In the suite's requirements, and among the documents."""
    requirements = (ROOT / "tests" / "requirements.txt").read_text("utf-8")
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs" / "plugins").glob("*.md"))
    for plugin in sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")):
        assert f"-e ./plugins/{plugin}[test]" in requirements
        assert f"plugins/{plugin}/README.md" in pages
