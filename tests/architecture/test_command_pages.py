"""The reference has a section for every command, and says what the command says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from procvision_runner.cli.main import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "procvision.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_with_examples(name: str) -> None:
    """And every one of its options stands in it."""
    section = PAGE.split(f"## procvision {name}\n")[1].split("\n## ")[0]
    assert "Examples:" in section
    assert f"    procvision {name}" in section
