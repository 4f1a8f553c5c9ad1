"""The reference of the command `procvision`, made from its click commands; `docs/generate.py` writes it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from procvision_runner.cli import exits
from procvision_runner.cli.main import COMMANDS, cli

PAGE = Path(__file__).parent / "reference" / "procvision.md"
_HEAD = """# The command procvision

Made from the code by `docs/generate.py`. Every command has `--help`. Colours are used on a terminal
alone, and never where `NO_COLOR` is set. Errors go to stderr and end with a line `hint:` where there is something to
try. Ctrl-C ends the host, too.

Completion for bash, zsh and fish, names and parameters of installed algorithms included, comes from
`procvision completion`, see below.

## Exit statuses
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _exits()]
    with click.Context(cli, info_name="procvision") as group:
        for name in sorted(COMMANDS):
            command = cli.get_command(group, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=group) as context:
                parts.append(_section(command, context))
    return "\n".join(parts)


def _exits() -> str:
    rows = [f"| {status} | {meaning} |" for status, meaning in exits.MEANINGS.items()]
    return "\n".join(["| status | meaning |", "|---|---|", *rows, ""])


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {context.command_path}", "", f"    {context.command_path} {usage}", "", *_help(command)]
    rows = [_row(parameter, context) for parameter in command.params if isinstance(parameter, click.Option)]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _help(command: click.Command) -> list[str]:
    """The docstring: paragraphs as they are, what stands behind \\b as code."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            first, *rest = paragraph.split("\n")[1:]
            lines += [first, "", *(f"    {line.removeprefix('  ')}" for line in rest), ""]
        else:
            lines += [paragraph, ""]
    return lines


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None, f"{context.command_path}: {option.name} has no help"
    names, meaning = record
    return f"| `{_cell(names)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
