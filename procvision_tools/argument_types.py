"""Types of commands' arguments: what could not be read or written in the end, or is no number, is refused at the start.

An error says what was given, and what is taken.
"""

from __future__ import annotations

import os
import stat
from math import isfinite
from pathlib import Path
from typing import Any

import click

SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S = 0.001, 86_400.0
"""A call's time goes to the host in whole milliseconds, and nobody waits for more than a day."""


class WholeRange(click.IntRange):
    """A whole number in its range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As click's own."""
        try:
            number: int = super().convert(_plain(value), param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no whole number in the range {self._describe_range()}", param, ctx)
        return number


class FiniteRange(click.FloatRange):
    """A number in its range. NaN, which is in no range, and infinity are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As click's own."""
        try:
            number: float = super().convert(_plain(value), param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no number in the range {self._describe_range()}", param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


class TimeoutRange(FiniteRange):
    """Seconds that a call may take."""

    def __init__(self) -> None:
        super().__init__(SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S)


class InFile(click.Path):
    """A file to read. A pipe, which would be waited for, and a device, which may have no end, are none."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        if value == "":
            self.fail("a file has a name", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not stat.S_ISREG(path.stat().st_mode):
            self.fail(f"{path} is a device or a pipe, and no file", param, ctx)
        return path


class InFolder(click.Path):
    """A folder to read."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, readable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own, which takes a pipe for one."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.is_dir():
            self.fail(f"{path} is no folder", param, ctx)
        return path


class Folder(click.Path):
    """A folder, which may not be there yet. No text is no folder: it would be the current one."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        if value == "":
            self.fail("a folder has a name; the current one is '.'", param, ctx)
        return super().convert(value, param, ctx)


class OutFolder(Folder):
    """A folder to write into, that is made where it isn't there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that it can be made, or written."""
        path = super().convert(value, param, ctx)
        why_not = "" if _is_completing(ctx) else _why_not_written(path)
        if why_not:
            self.fail(why_not, param, ctx)
        return path


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
            if not self.allow_dash:
                self.fail("it isn't written to stdout: a file has a name", param, ctx)
            return path
        try:
            path.lstat()
        except FileNotFoundError:
            pass
        except OSError as error:  # a name that is too long
            self.fail(f"{_short(path)} can't be written: {error.strerror}", param, ctx)
        else:
            return path
        if not path.parent.is_dir():
            self.fail(f"{path.parent} is no folder", param, ctx)
        why_not = "" if _is_completing(ctx) else _why_not_written(path.parent)
        if why_not:
            self.fail(why_not, param, ctx)
        return path


def _plain(value: Any) -> Any:
    """Return a text without what only Python takes for a part of a number, `1_000`, so that it is none."""
    return value.replace("_", "?") if isinstance(value, str) else value


def _is_completing(ctx: click.Context | None) -> bool:
    return ctx is not None and ctx.resilient_parsing


def _why_not_written(folder: Path) -> str:
    """Say why nothing can be written into a folder, or the nearest one above it that is there; "" where it can.

    Permissions don't tell it: root has all of them, and can write neither below `/proc` nor on a disk that is mounted
    to be read. So a file is made, and taken away.
    """
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{_short(folder)} can't be made: {error.strerror}"
        if not stat.S_ISDIR(mode):
            return f"{place} is no folder"
        part = place / f".procvision-{os.getpid()}-{os.urandom(4).hex()}.part"
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            part.unlink()
        except OSError as error:
            return f"{_short(place)} can't be written: {error.strerror}"
        return ""
    return ""


def _short(path: Path) -> str:
    text = os.fsdecode(path)
    return text if len(text) <= 200 else f"{text[:100]}…{text[-20:]}"
