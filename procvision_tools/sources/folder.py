"""A folder that pictures are written into: each is taken once, when it is whole.

A file counts when two looks find it unchanged and it ends as its format says. One that never comes to its end is taken
after `settle_s` without a change, so that it becomes an error and not a product nobody looked at. What was there
before is left alone, and so is what has another suffix: writers that rename (`x.part`, then `x.png`) are followed too.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from procvision_tools.datasets.samples import pictures_in

SETTLE_S = 5.0
"""A camera's or a share's writer that pauses longer within one picture is broken."""
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
_TAIL_BYTES = 64
"""Some writers leave a few bytes behind a JPEG's end."""


@frozen
class _Look:
    """How a file looked, and since when."""

    size: int
    mtime_ns: int
    since: float


class Arrivals:
    """The pictures that have arrived in a folder. The clock is an argument; files are read, nothing else."""

    def __init__(self, folder: Path, settle_s: float = SETTLE_S) -> None:
        self.folder, self.settle_s = folder, settle_s
        self._taken: dict[Path, tuple[int, int]] = {}
        self._looks: dict[Path, _Look] = {}
        for path in pictures_in(folder):
            state = _state(path)
            if state is not None:
                self._taken[path] = state

    def poll(self, now: float) -> list[Path]:
        """Give what has become whole since the last look, the oldest first. ``now`` is in seconds, of any origin.

        Raises OSError where the folder is gone.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} is gone")
        whole: list[tuple[int, Path]] = []
        for path in pictures_in(self.folder):
            state = _state(path)
            if state is None or self._taken.get(path) == state:
                continue
            before = self._looks.get(path)
            if before is None or (before.size, before.mtime_ns) != state:
                self._looks[path] = _Look(*state, now)
            elif _ends(path) or now - before.since >= self.settle_s:
                del self._looks[path]
                self._taken[path] = state
                whole.append((state[1], path))
        return [path for _, path in sorted(whole)]


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of change; None where it has just gone."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_size, told.st_mtime_ns


def _ends(path: Path) -> bool:
    """Whether a file ends as a JPEG or a PNG does."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError:
        return False
    return (_JPEG_END if start == b"\xff\xd8" else _PNG_END) in tail
