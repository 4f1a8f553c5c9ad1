"""Does what a page of the documents says: writes its files, runs its commands, holds what they print to the page.

A fenced block with a `title` is a file. A block of `sh` is run. A block of `text` right after one is what it prints:
its lines stand in the output in this order; times, sizes and the output's other lines, for which ``...`` may stand,
don't matter.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_MEASURED = re.compile(r"\b\d+(?:\.\d+)? (ms|s|MB)\b")
COMMAND_TIMEOUT_S = 100.0


class Block(NamedTuple):
    """One fenced block."""

    language: str
    title: str | None
    body: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page below `docs`, in order."""
    text = (DOCS / page).read_text("utf-8")
    return [Block(match[1], match[2], match[3]) for match in _BLOCK.finditer(text)]


def follow(
    page: str, folder: Path, environment: Mapping[str, str], within: Callable[[int], Sequence[str]] = lambda _: ()
) -> int:
    """Follows a page in `folder`; how many commands it ran. Raises AssertionError where the page isn't true.

    `within` gives the words before the shell of the block of this number.
    """
    ran = 0
    output: str | None = None
    for block in blocks(page):
        if block.title is not None:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, "utf-8")
        elif block.language == "sh":
            output = _output(block.body, folder, environment, within(ran))
            ran += 1
            continue
        elif block.language == "text" and output is not None:
            _hold(output, block.body)
        output = None
    return ran


def _output(commands: str, folder: Path, environment: Mapping[str, str], within: Sequence[str]) -> str:
    done = subprocess.run(
        [*within, "bash", "-eo", "pipefail", "-c", commands],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode} of:\n{commands}\n{done.stdout}"
    return done.stdout


def _plain(text: str) -> list[str]:
    lines = (re.sub(r"\s+", " ", _MEASURED.sub(r"N \1", line)).strip() for line in text.splitlines())
    return [line for line in lines if line not in ("", "...")]


def _hold(output: str, expected: str) -> None:
    printed = iter(_plain(output))
    for line in _plain(expected):
        assert any(line in other for other in printed), f"the page says {line!r}, printed was:\n{output}"


def own_environment(bin_folder: Path) -> dict[str, str]:
    """This process's environment with one folder of programs in front, and what pytest sets left out."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "VIRTUAL_ENV"))
    }
    return {**kept, "PATH": os.pathsep.join([str(bin_folder), kept.get("PATH", os.defpath)])}
