"""Types of commands' arguments: what could not be written in the end, or is no number, is refused at the start."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A number in its range. NaN, which is in no range, and infinity are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


class OutFolder(click.Path):
    """A folder that is made where it isn't there. No text is no folder: it would be the current one."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        if value == "":
            self.fail("a folder has a name; the current one is '.'", param, ctx)
        return super().convert(value, param, ctx)


class OutFile(click.Path):
    """A file to write, in a folder that is there; ``-`` is stdout where that is allowed."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the path, and that its folder exists and may be written."""
        if value == "":
            self.fail("a file has a name", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if str(path) == "-":
            return path
        if not path.parent.is_dir():
            self.fail(f"{path.parent} is no folder", param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK):
            self.fail(f"{path.parent} can't be written", param, ctx)
        return path
