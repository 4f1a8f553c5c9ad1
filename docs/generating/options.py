"""A command's usage and options, as its `--help` tells them."""

from __future__ import annotations

import click

from generating.markdown import table


def usage(context: click.Context) -> str:
    """The command's line."""
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def options_table(context: click.Context) -> str:
    """Its options but `--help` and `--version`; empty where it has no other."""
    shown = [
        option.get_help_record(context)
        for option in context.command.params
        if isinstance(option, click.Option) and option.name != "version"
    ]
    rows = [(f"`{names}`", meaning) for names, meaning in filter(None, shown)]
    return table(("option", "meaning"), rows) if rows else ""
