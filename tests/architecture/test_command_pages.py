"""The reference has a section for every command, and says what the command says of itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from procvision_runner.cli.main import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def commands() -> ModuleType:
    """`docs/commands.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("docs_commands", DOCS / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_up_to_date(commands: ModuleType) -> None:
    """If this fails: python docs/generate.py"""
    assert (DOCS / "reference" / "procvision.md").read_text("utf-8") == commands.page()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_with_examples(name: str, commands: ModuleType) -> None:
    """And every one of its options stands in it."""
    section = commands.page().split(f"## procvision {name}\n")[1].split("\n## ")[0]
    assert "Examples:" in section
    assert f"    procvision {name}" in section
