"""The reference has a section for every command, and says what the command says of itself."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from procvision_tools.cli.main import COMMANDS, cli

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "procvision.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_with_examples_and_all_of_its_options(name: str) -> None:
    """Under its own name; an option that help hides is hidden here, too."""
    section = PAGE.split(f"## procvision {name}\n")[1].split("\n## ")[0]
    assert "Examples:" in section
    assert f"    procvision {name}" in section
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    assert [each.opts for each in shown if f"| `{', '.join(each.opts)}" not in section] == []
