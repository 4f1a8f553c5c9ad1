"""The reference of the command `procvision`, from its click commands."""

from __future__ import annotations

import inspect

import click

from generating.markdown import Regions, exit_statuses
from generating.options import options_table, usage
from procvision_tools.cli import exits
from procvision_tools.cli.main import COMMANDS, cli


def sections() -> str:
    """A section for each command."""
    parts = []
    with click.Context(cli, info_name="procvision") as group:
        for name in sorted(COMMANDS):
            command = cli.get_command(group, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=group) as context:
                parts += [f"## {context.command_path}", f"    {usage(context)}", *told(command)]
                parts += filter(None, [options_table(context)])
                if isinstance(command, click.Group):
                    parts += subcommands(command, context)
    return "\n\n".join(parts)


def subcommands(group: click.Group, parent: click.Context) -> list[str]:
    """A part for each command of a group."""
    parts = []
    for name in sorted(group.commands):
        command = group.commands[name]
        with click.Context(command, info_name=name, parent=parent) as context:
            parts += [f"### {context.command_path}", f"    {usage(context)}", *told(command)]
            parts += filter(None, [options_table(context)])
            if isinstance(command, click.Group):
                parts += subcommands(command, context)
    return parts


def told(command: click.Command) -> list[str]:
    """The docstring: paragraphs as they are, what stands behind \\b as code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            first, *rest = paragraph.split("\n")[1:]
            paragraphs += [first, "\n".join(f"    {line.removeprefix('  ')}" for line in rest)]
        else:
            paragraphs.append(paragraph)
    return paragraphs


REGIONS: Regions = {"exit-statuses": lambda: exit_statuses(exits.MEANINGS), "commands": sections}
