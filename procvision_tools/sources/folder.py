"""A folder that pictures are written into: each is taken once, when it is whole.

A file counts when two looks find it unchanged and it ends as its format says. One that never comes to its end is taken
after `settle_s` without a change, so that it becomes an error and not a product nobody looked at. What was there
before is left alone, and so is what has another suffix: writers that rename (`x.part`, then `x.png`) are followed too.

What is not inspected is said: each kind once when it is first seen, and with its number at the end. A file that is
written over faster than it is looked at, as `latest.png` of a camera's software, loses pictures; those that were seen
to be lost are counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from procvision_sdk.images import jpeg, png
from procvision_sdk.regular_files import read_regular
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import OTHER_PICTURES, is_hidden, is_picture
from procvision_tools.sources.picture_files import MAX_FILE_BYTES

MAX_KNOWN = 100_000
"""So many files that are gone again are remembered."""
SETTLE_S = 5.0
"""A camera's or a share's writer that pauses longer within one picture is broken."""


@frozen
class _State:
    """What tells one content of a file from another."""

    inode: int
    size: int
    mtime_ns: int


@frozen
class _Look:
    """How a file looked, since when, and whether it ended as its format does."""

    state: _State
    since: float
    whole: bool


def _nobody(_: str) -> None:
    """Tell nobody."""


class Arrivals:
    """The pictures that have arrived in a folder. The clock is an argument; files are read, nothing else.

    ``tell`` is called with what is said once, on the thread that calls `poll`; it may be set later.
    """

    def __init__(self, folder: Path, settle_s: float = SETTLE_S, tell: Callable[[str], None] = _nobody) -> None:
        self.folder, self.settle_s, self.tell = folder, settle_s, tell
        self._taken: dict[Path, _State] = {}
        self._contents: dict[_State, None] = {}
        self._looks: dict[Path, _Look] = {}
        self._said: set[str] = set()
        self._not_inspected: dict[str, set[Path]] = {}
        self._written_over: Counter[Path] = Counter()
        self._before = 0
        for path in self._pictures():
            state = _state(path)
            if state is not None:
                self._take(path, state)
        self._before = len(self._taken)

    def poll(self, now: float) -> list[Path]:
        """Give what has become whole since the last look, the oldest first. ``now`` is in seconds, of any origin.

        Raises OSError where the folder is gone.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{shown(self.folder)} is gone")
        if self._before:
            self._say(f"pictures that were there before are left alone: {self._before}")
        whole: list[tuple[int, Path]] = []
        there: set[Path] = set()
        for path in self._pictures():
            state = _state(path)
            if state is None:
                continue
            there.add(path)
            if self._is_known(path, state):
                continue
            before = self._looks.get(path)
            if before is None or before.state != state:
                if before is not None and (before.whole or before.state.inode != state.inode):
                    self._lost(path)
                self._looks[path] = _Look(state, now, _is_whole(path))
            elif before.whole or now - before.since >= self.settle_s:
                del self._looks[path]
                self._take(path, state)
                whole.append((state.mtime_ns, path))
        for path in self._looks.keys() - there:
            if self._looks.pop(path).whole:
                self._lost(path)
        # A share that was away shows the same files again, so that those that are gone are remembered, in bounds.
        if len(self._taken) > MAX_KNOWN + len(there):
            self._taken = {path: state for path, state in self._taken.items() if path in there}
            self._contents = dict.fromkeys(self._taken.values())
        return [path for _, path in sorted(whole)]

    def _take(self, path: Path, state: _State) -> None:
        self._taken[path] = state
        self._contents[state] = None

    def _is_known(self, path: Path, state: _State) -> bool:
        """Return whether a content was there before: also under another name, since what was inspected may be renamed.

        By its name it is known too where the file has another number, as after a share was away.
        """
        if state in self._contents:
            return True
        before = self._taken.get(path)
        return before is not None and (before.size, before.mtime_ns) == (state.size, state.mtime_ns)

    def totals(self) -> list[str]:
        """Say what was not inspected, with numbers."""
        told = [f"{what}: {len(paths)}" for what, paths in self._not_inspected.items()]
        if lost := sum(self._written_over.values()):
            names = ", ".join(shown(path.name) for path, _ in self._written_over.most_common(3))
            told.append(f"pictures were written over, or gone, before they were inspected: {lost} ({names})")
        return told

    def _pictures(self) -> list[Path]:
        """Give the picture files, in the order of their names, and note what else lies there."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = self.folder / entry.name
                if is_hidden(entry.name):
                    if is_picture(path):
                        self._leave("hidden pictures were not inspected, whose names begin with a dot", path)
                elif _is_folder(entry):
                    self._leave("folders below were not looked into", path)
                elif path.suffix.lower() in OTHER_PICTURES:
                    self._leave(f"{path.suffix.lower()} files were not inspected, JPEG and PNG are read", path)
                elif is_picture(path):
                    found.append(path)
        return found

    def _leave(self, what: str, path: Path) -> None:
        self._not_inspected.setdefault(what, set()).add(path)
        self._say(f"{what}; the first is {shown(path.name)}", what)

    def _lost(self, path: Path) -> None:
        self._written_over[path] += 1
        self._say(
            f"{shown(path.name)} was written over, or taken away, before it was inspected: such pictures are counted",
            "lost",
        )

    def _say(self, text: str, kind: str = "") -> None:
        if self.tell is not _nobody and (kind or text) not in self._said:
            self._said.add(kind or text)
            self.tell(text)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _state(path: Path) -> _State | None:
    """Return how a file looks; None where it has just gone."""
    try:
        told = path.stat()
    except OSError:
        return None
    return _State(told.st_ino, told.st_size, told.st_mtime_ns)


def _is_whole(path: Path) -> bool:
    """Return whether a file ends as a JPEG or a PNG does, whatever follows."""
    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except OSError:
        return False
    return png.reaches_end(data) if data.startswith(png.SIGNATURE) else jpeg.reaches_end(data)
