"""Where an evaluation goes: terminal, JSON, a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from procvision_sdk.jsontext import json_text
from procvision_sdk.private_files import write_private
from procvision_tools.cli.errors import CommandError
from procvision_tools.cli.output import UNWRITTEN, json_of
from procvision_tools.report import evaluation_text, terminal

if TYPE_CHECKING:
    from procvision_tools.evaluation.evaluated import Evaluation


def show(evaluation: Evaluation) -> None:
    """Print the figures for people."""
    terminal.echo(evaluation_text.render(evaluation))


def print_json(evaluation: Evaluation) -> None:
    """Print the report as one JSON object."""
    click.echo(json_of(evaluation.as_record()))


def write_files(evaluation: Evaluation, json_file: Path | None, page: Path | None, worst: int) -> None:
    """Write what is wanted. Raises CommandError where that fails."""
    path = None
    try:
        if json_file is not None and str(json_file) != "-":
            path = json_file
            write_private(path, json_text(evaluation.as_record(), indent=2) + "\n")
            click.echo(f"wrote {path}", err=True)
        if page is not None:
            from procvision_tools.report import evaluation_html

            path = page
            evaluation_html.write(path, evaluation, worst)
            click.echo(f"wrote {path}", err=True)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}", UNWRITTEN) from error
