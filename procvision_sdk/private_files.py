"""Files that hold what a line has seen: only their owner reads them, and they are written whole or not at all.

The modes are the same whatever the process's umask says: 0700 for folders, 0600 for files. Nobody else can read them
then, nor open them to hold a lock on them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


def make_private_folder(folder: Path) -> None:
    """Make a folder, and what is missing above it, for its owner alone. One that is there stays as it is.

    Raises OSError.
    """
    missing = []
    place = folder
    while not place.exists():
        missing.append(place)
        place = place.parent
    for place in reversed(missing):
        with contextlib.suppress(FileExistsError):
            place.mkdir(PRIVATE_FOLDER)
            place.chmod(PRIVATE_FOLDER)
    if not folder.is_dir():
        raise NotADirectoryError(20, "it is no folder", str(folder))


def sync_folder(folder: Path) -> None:
    """Return when the names of what is in a folder survive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def touch_private(path: Path) -> None:
    """Make an empty file that only its owner reads, for a library that would make it by itself. Raises OSError.

    SQLite gives the files that it makes beside a database the database's mode. A file that is there stays as it is.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))


def check_replaceable(path: Path) -> None:
    """Check that a file may be put in a path's place: nothing is there, or a file, or a link.

    Raises OSError for a device, a pipe or a folder: root could put a file in the place of /dev/null.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise OSError(errno.EEXIST, f"it is {what}, and no file", str(path))


def _write_into(goal: Path, content: bytes) -> None:
    """Write into a device or a pipe. A pipe that nobody reads is an error at once, and not waited for."""
    descriptor = os.open(goal, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def write_private(path: Path, data: bytes | str) -> None:
    """Write a file whole: on a full disk, or if this process is killed, what was there before stays as it was.

    A file that is there keeps its mode; a new one is its owner's alone. What is no regular file, such as a pipe that
    is read, is written into. A text is written as UTF-8; what UTF-8 can't carry becomes `?`. Raises OSError.
    """
    content = data.encode("utf-8", "replace") if isinstance(data, str) else data
    goal = Path(os.path.realpath(path))
    mode = PRIVATE_FILE
    with contextlib.suppress(FileNotFoundError):
        status = goal.stat()
        if not stat.S_ISREG(status.st_mode):
            _write_into(goal, content)
            return
        mode = stat.S_IMODE(status.st_mode)
    part = goal.with_name(f".{goal.name[:200]}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        part.replace(goal)
    finally:
        part.unlink(missing_ok=True)
