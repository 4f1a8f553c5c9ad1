"""Where an inspection goes: terminal, JSON, a picture with boxes, a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from procvision_sdk.jsontext import json_text
from procvision_tools.cli.errors import CommandError, usage_error
from procvision_tools.extras import need
from procvision_tools.report.inspection import Inspection
from procvision_tools.sources.picture_files import Frame

if TYPE_CHECKING:
    from procvision_sdk.results import Defect
    from procvision_tools.report.html import NextStep
    from procvision_tools.report.inspection import Picture


UNWRITTEN = "a place with room, in a folder that may be written"
"""The hint of a report that can't be written in the end."""
_SIGN_BYTES = 1 << 16
"""Within so many of its first or last bytes a report says that it is one."""


def check_extras(*, overlay: bool, page: bool) -> None:
    """Raise MissingExtraError for what the wanted output needs, before anything is inspected."""
    if overlay or page:
        need("PIL.Image", "Pillow", "a picture with boxes" if overlay else "an HTML page")
    if page:
        need("jinja2", "Jinja2", "an HTML page")


def check_files_differ(
    written: Mapping[str, Path | None], read: Mapping[str, Path | None], pictures: str | Path
) -> None:
    """Raise CommandError (exit status 64) where an option's file would be written over another's, or over the pictures.

    A report of ours may be written anew, also where it lies among the pictures.
    """
    seen: dict[str, str] = {}
    for option, path in (*read.items(), *written.items()):
        if path is None or str(path) == "-":
            continue
        place = os.path.realpath(path)
        if place in seen and not Path(place).is_char_device():
            raise usage_error(f"{seen[place]} and {option} are both {path}", "a file of its own for each")
        seen[place] = option
        below = str(pictures) != "" and Path(place).is_relative_to(os.path.realpath(pictures))
        if option in written and below and Path(place).is_file() and not _is_ours(Path(place)):
            raise usage_error(f"{option} {path} is a file of {pictures}, and no report", "a file that isn't there yet")


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_SIGN_BYTES)
            file.seek(max(0, path.stat().st_size - _SIGN_BYTES))
            end = file.read()
    except OSError:
        return False
    return not start or start.startswith(b'{\n  "format": "procvision-') or b"Made by ProcVision" in end


def with_pictures(
    inspection: Inspection, image: Path | Frame, reference: Path | None, bits: int | None = None
) -> Inspection:
    """Add the pictures, read from their files; one that can't be read is left out."""
    return next(all_with_pictures([(inspection, image)], reference, bits))


def all_with_pictures(
    inspections: Iterable[tuple[Inspection, Path | Frame]], reference: Path | None, bits: int | None = None
) -> Iterator[Inspection]:
    """Yield the same for several, read one after another; the reference is read once, and so stands on a page once."""
    learnt = _read(reference, bits)
    for inspection, image in inspections:
        picture = image.seen() if isinstance(image, Frame) else _read(image, bits)
        yield attrs.evolve(inspection, picture=picture, reference=learnt)


def _read(path: Path | None, bits: int | None) -> Picture | None:
    from procvision_tools.report.pictures import read_picture

    try:
        return None if path is None else read_picture(path, bits)
    except OSError:
        return None


def write_overlay(path: Path, picture: Picture, defects: Sequence[Defect]) -> list[str]:
    """Write a picture with its boxes as PNG; give a note for each label that no font here can draw.

    Raises CommandError where it can't be written.
    """
    from procvision_tools.report import overlay

    try:
        overlay.write(path, picture, defects)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error
    return [
        f"no font of this machine has the letters of {label}, which is drawn as its number; "
        "a package such as fonts-noto-cjk has Chinese, Japanese and Korean ones"
        for label in overlay.undrawable(defects)
    ]


def write_page(
    path: Path,
    inspections: Iterable[Inspection],
    title: str,
    next_steps: Sequence[NextStep] = (),
    counts: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the page, ``counts`` being of more than it shows, ``notes`` of what was left out.

    Raises CommandError where it can't be written.
    """
    from procvision_tools.report import html

    try:
        html.write(path, inspections, title=title, next_steps=next_steps, counts=counts, notes=notes)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error


def json_of(record: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """Give a record as JSON for stdout; without an indent in one line."""
    return json_text(record, indent=indent, encoding=getattr(sys.stdout, "encoding", None) or "utf-8")
