"""Does what a page of the documents says: writes its files, runs its commands, holds what they print to the page.

A fenced block with a `title` is a file. A block of `sh` is run. A block of `text` right after one is what it prints:
its lines stand in the output in this order; times, sizes and the output's other lines, for which ``...`` may stand,
don't matter, and ``…`` in a line stands for anything.

A block of `sh` with a title is typed into a terminal of this name, where it goes on while the page does. A block of
`text` with this title waits for its lines there; with ", after Ctrl-C" behind the name that is pressed before.
What a page says to do without a command, as in a browser, the test does: `doing` has it by the heading above.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
CTRL_C = ", after Ctrl-C"
INTERRUPTED = 130
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$|^## ([^\n]+)$', re.MULTILINE | re.DOTALL)
_MEASURED = re.compile(r"\b\d+(?:\.\d+)? (ms|s|MB)\b")
COMMAND_TIMEOUT_S = 100.0


class Block(NamedTuple):
    """One fenced block, or a heading, whose language is `##`."""

    language: str
    title: str | None
    body: str


class Terminal:
    """A command that goes on while a page is read, and what it has printed so far."""

    def __init__(self, commands: str, folder: Path, environment: Mapping[str, str], stack: ExitStack) -> None:
        self._printed = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115 - entered
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {commands}"], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=self._printed, stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
        stack.callback(self.close)

    def output(self) -> str:
        """What stands in the terminal."""
        self._printed.seek(0)
        return self._printed.read()

    def wait_for(self, expected: str) -> None:
        """Waits until it has printed these lines."""
        end = time.monotonic() + COMMAND_TIMEOUT_S
        while not _holds(output := self.output(), expected):
            assert time.monotonic() < end, f"the page says\n{expected}\nprinted was:\n{output}"
            assert self._process.poll() is None, f"it ended with {self._process.returncode}:\n{output}"
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Presses Ctrl-C, which reaches every process of the terminal, and waits for the end."""
        os.killpg(self._process.pid, signal.SIGINT)
        assert self._process.wait(COMMAND_TIMEOUT_S) == INTERRUPTED, self.output()

    def close(self) -> None:
        """Ends it, where the page didn't."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(COMMAND_TIMEOUT_S)


def blocks(page: str) -> list[Block]:
    """The fenced blocks and headings of a page below `docs`, in order."""
    text = (DOCS / page).read_text("utf-8")
    return [Block(match[1] or "##", match[2], match[3] or match[4]) for match in _BLOCK.finditer(text)]


def follow(
    page: str,
    folder: Path,
    environment: Mapping[str, str],
    within: Callable[[int], Sequence[str]] = lambda _: (),
    doing: Mapping[str, Callable[[Mapping[str, Terminal]], None]] = MappingProxyType({}),
) -> int:
    """Follows a page in `folder`; how many commands it ran. Raises AssertionError where the page isn't true.

    `within` gives the words before the shell of the block of this number; `doing` what is done when a heading's
    blocks are done.
    """
    ran = 0
    output: str | None = None
    heading = ""
    with ExitStack() as stack:
        terminals: dict[str, Terminal] = {}
        for block in [*blocks(page), Block("##", None, "")]:
            if block.language == "##":
                if heading in doing:
                    doing[heading](terminals)
                heading = block.body
            elif block.language == "sh" and block.title is not None:
                terminals[block.title] = Terminal(block.body, folder, environment, stack)
                ran += 1
            elif block.language == "text" and block.title is not None:
                terminal = terminals[block.title.removesuffix(CTRL_C)]
                if block.title.endswith(CTRL_C):
                    terminal.interrupt()
                    _hold(terminal.output(), block.body)
                else:
                    terminal.wait_for(block.body)
            elif block.title is not None:
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


def _said(expected: str, line: str) -> bool:
    parts = [re.escape(part) for part in expected.split("…")]
    return re.search(".*".join(parts), line) is not None


def _missing(output: str, expected: str) -> str | None:
    printed = iter(_plain(output))
    return next((line for line in _plain(expected) if not any(_said(line, other) for other in printed)), None)


def _holds(output: str, expected: str) -> bool:
    return _missing(output, expected) is None


def _hold(output: str, expected: str) -> None:
    missing = _missing(output, expected)
    assert missing is None, f"the page says {missing!r}, printed was:\n{output}"


def own_environment(bin_folder: Path) -> dict[str, str]:
    """This process's environment with one folder of programs in front, and what pytest sets left out."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "VIRTUAL_ENV"))
    }
    return {**kept, "PATH": os.pathsep.join([str(bin_folder), kept.get("PATH", os.defpath)])}
