"""Errors as people meet them: what is wrong and where, with the bound and the value, then a line `hint:`."""

from __future__ import annotations

import contextlib
import os

import click

from procvision_tools.cli import exits
from procvision_tools.report.text import printable


class CommandError(Exception):
    """A command can't go on. ``status`` is the exit status."""

    def __init__(self, message: str, hint: str = "", *, status: int = exits.ERROR) -> None:
        super().__init__(message)
        self.message, self.hint, self.status = message, hint, status


def usage_error(message: str, hint: str = "") -> CommandError:
    """Give the error for a wrong command line."""
    return CommandError(message, hint, status=exits.USAGE)


def show_error(message: str, hint: str = "") -> None:
    """Print an error to stderr. Where nobody takes it, as on a full disk, the exit status says what there is to say."""
    try:
        _print_error(message, hint)
    except (OSError, ValueError):
        # What is still buffered must not fail once more at the interpreter's end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _print_error(message: str, hint: str) -> None:
    first, *others = message.splitlines() or [""]
    click.echo(f"{click.style('error:', fg='red', bold=True)} {printable(first)}", err=True)
    for line in others:
        click.echo(f"  {printable(line)}", err=True)
    for line in hint.splitlines():
        click.echo(f"hint: {printable(line)}", err=True)
