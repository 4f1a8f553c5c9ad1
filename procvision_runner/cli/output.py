"""Where an inspection goes: terminal, JSON, a picture with boxes, a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from procvision_runner.cli.errors import CommandError
from procvision_runner.report.extras import need
from procvision_runner.report.inspection import Inspection

if TYPE_CHECKING:
    from procvision_runner.report.html import NextStep
    from procvision_runner.report.inspection import Picture
    from procvision_sdk.results import Defect


def check_extras(*, overlay: bool, page: bool) -> None:
    """Raise MissingExtraError for what the wanted output needs, before anything is inspected."""
    if overlay or page:
        need("PIL.Image", "Pillow", "a picture with boxes" if overlay else "an HTML page")
    if page:
        need("jinja2", "Jinja2", "an HTML page")


def with_pictures(inspection: Inspection, image: Path, reference: Path | None) -> Inspection:
    """Add the pictures, read from their files; one that can't be read is left out."""
    from procvision_runner.report.pictures import read_picture

    pictures: dict[str, Any] = {}
    for name, path in (("picture", image), ("reference", reference)):
        if path is not None:
            try:
                pictures[name] = read_picture(path)
            except OSError:
                continue
    return attrs.evolve(inspection, **pictures)


def write_files(
    inspection: Inspection, image: Path, reference: Path | None, overlay: Path | None, page: Path | None
) -> list[Path]:
    """Write the picture with its boxes, and the page; give what was written.

    There is no overlay where the picture can't be read: the inspection says so itself. Raises CommandError.
    """
    written = []
    whole = with_pictures(inspection, image, reference)
    if overlay is not None and whole.picture is not None:
        write_overlay(overlay, whole.picture, whole.defects)
        written.append(overlay)
    if page is not None:
        write_page(page, [whole], f"{whole.algorithm}: {whole.title}")
        written.append(page)
    return written


def write_overlay(path: Path, picture: Picture, defects: Sequence[Defect]) -> None:
    """Write a picture with its boxes as PNG. Raises CommandError where it can't be written."""
    from procvision_runner.report import overlay

    try:
        overlay.write(path, picture, defects)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error


def write_page(path: Path, inspections: Sequence[Inspection], title: str, next_steps: Sequence[NextStep] = ()) -> None:
    """Write the page. Raises CommandError where it can't be written."""
    from procvision_runner.report import html

    try:
        html.write(path, inspections, title=title, next_steps=next_steps)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error


def print_json(inspection: Inspection) -> None:
    """Print an inspection's record as one JSON object."""
    click.echo(json.dumps(inspection.as_record(), indent=2, default=str))
