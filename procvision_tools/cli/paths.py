"""Files that a command writes: what could not be written in the end is refused at the start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class OutFile(click.Path):
    """A file to write, in a folder that is there; ``-`` is stdout where that is allowed."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the path, and that its folder exists and may be written."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if str(path) == "-":
            return path
        if not path.parent.is_dir():
            self.fail(f"{path.parent} is no folder", param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK):
            self.fail(f"{path.parent} can't be written", param, ctx)
        return path
