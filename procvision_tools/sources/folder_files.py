"""Every file of a folder, accounted for: a reader of the folder takes a file, or leaves it out with a reason.

What nobody took or left out in the end is left out by what it is. `FolderFiles.notes` says all of it, with counts: a
measurement on fewer pictures than lie there, or training on more, is told. Links are followed, each folder once; names
that begin with a dot, and what lies below them, are another program's (`.Trash-1000`, `.ipynb_checkpoints`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from procvision_tools.names import shown

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif"})
"""What the host decodes; the suffix is compared in lower case."""
OTHER_PICTURES = frozenset({
    ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".jp2", ".j2k", ".jxl", ".avif", ".heic", ".heif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".exr", ".hdr", ".dng", ".svg",
})  # fmt: skip
"""Suffixes of pictures that the host doesn't decode."""
HIDDEN = "hidden: a name begins with a dot"
SYSTEMS = "in a folder that a system makes for itself"
SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""What archives of macOS, Synology's and QNAP's shares and Windows' drives leave among the pictures."""
NOT_READ = "JPEG and PNG are read"
NO_PICTURE = "no picture"
DANGLING = "a link that leads nowhere"
SPECIAL = "no regular file"
AGAIN = "a folder that was there already, through a link"
_NAMED = 3
"""So many of those left out are named."""


def is_picture(path: Path) -> bool:
    """Return whether a name is that of a picture that the host decodes."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def why_not(path: Path) -> str:
    """Say why a name is no picture that is read."""
    return NOT_READ if path.suffix.lower() in OTHER_PICTURES else NO_PICTURE


def is_hidden(name: str) -> bool:
    """Return whether a name begins with a dot."""
    return name.startswith(".")


class FolderFiles:
    """The regular files in a folder and below it, in the order of their names.

    ``named`` is the one of them that the reader was given. Raises OSError for a folder that can't be read.
    """

    def __init__(self, folder: Path, named: Path | None = None) -> None:
        self.folder, self.named = folder, named
        self._reasons: dict[str, list[Path]] = {}
        self._open: dict[Path, None] = {}
        self.files: tuple[Path, ...] = tuple(sorted(self._walk()))
        """All that are not hidden."""
        self._open = dict.fromkeys(self.files)

    def _walk(self) -> Iterator[Path]:
        """Give what lies there; folders behind links come last, so that a folder keeps its own name."""
        linked: list[Path] = []
        seen: set[tuple[int, int]] = set()
        waiting = [self.folder]
        while waiting or linked:
            folder = waiting.pop() if waiting else linked.pop(0)
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                self._note(AGAIN, folder)
                continue
            seen.add((status.st_dev, status.st_ino))
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                path = folder / entry.name
                if is_hidden(entry.name) or entry.name in SYSTEM_FOLDERS:
                    self._note_all(HIDDEN if is_hidden(entry.name) else SYSTEMS, path)
                    continue
                try:
                    mode = path.stat().st_mode
                except OSError:
                    self._note(DANGLING, path)
                    continue
                if stat.S_ISDIR(mode):
                    (linked if entry.is_symlink() else waiting).append(path)
                elif stat.S_ISREG(mode):
                    yield path
                else:
                    self._note(SPECIAL, path)

    def _note_all(self, reason: str, path: Path) -> None:
        """Note a file, or all that lies in a folder."""
        if path.is_symlink() or not path.is_dir():
            self._note(reason, path)
            return
        for home, _, names in os.walk(path, onerror=lambda _: self._note(reason, path)):
            for name in names:
                self._note(reason, Path(home, name))

    def _note(self, reason: str, path: Path) -> None:
        self._reasons.setdefault(reason, []).append(path)

    def unreadable(self) -> list[tuple[Path, str]]:
        """Give what lies there and is neither a file nor a folder, with the reason."""
        return [(path, reason) for reason in (DANGLING, SPECIAL) for path in self._reasons.get(reason, ())]

    def below(self, path: Path) -> tuple[str, ...]:
        """Give the parts of a file's path below the folder."""
        return path.relative_to(self.folder).parts

    def name(self, path: Path) -> str:
        """Give a file's path below the folder as text."""
        return shown(path.relative_to(self.folder).as_posix())

    def pictures(self) -> list[Path]:
        """Give the files that are pictures by their names and can be read."""
        return [path for path in self.files if is_picture(path)]

    def take(self, *paths: Path) -> None:
        """Note that files were read."""
        for path in paths:
            self._open.pop(path, None)

    def leave_out(self, reason: str, *paths: Path) -> None:
        """Note that files were not read, and why."""
        for path in paths:
            if path in self._open:
                del self._open[path]
                self._note(reason, path)

    def left(self) -> tuple[Path, ...]:
        """Give the files of which nothing was noted yet."""
        return tuple(self._open)

    def notes(self) -> tuple[str, ...]:
        """Say what was left out: a line a reason, with the number of files and the first names."""
        for path in list(self._open):
            self.leave_out(why_not(path) if not is_picture(path) else "in no place where this layout has any", path)
        return tuple(left_out(reason, map(self.name, paths)) for reason, paths in self._reasons.items())


def left_out(reason: str, names: Iterable[str]) -> str:
    """Say how many files were left out, and why, with the first names."""
    told = sorted(names)
    more = ", …" if len(told) > _NAMED else ""
    count = "1 file was" if len(told) == 1 else f"{len(told)} files were"
    return f"{count} left out, {reason}: {', '.join(told[:_NAMED])}{more}"
