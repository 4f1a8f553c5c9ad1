"""Copies a station's folder, also while it runs: journals and pictures, of which only what is new is copied.

What can be computed again, the projection, is left out. A copy is a station's folder: restoring is copying it back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from attrs import define

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import make_private_folder, touch_private
from procvision_station.ballast import BALLAST_FILE
from procvision_station.configuration.files import DATA, JOURNALS, PICTURES, STATION_FILE
from procvision_station.control import SOCKET
from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.reading import segments
from procvision_station.journal.writer import LOCK_NAME
from procvision_station.projection.database import SQLITE_FILE

LEFT_OUT = frozenset({BALLAST_FILE, SOCKET, LOCK_NAME, SQLITE_FILE, f"{SQLITE_FILE}-wal", f"{SQLITE_FILE}-shm"})
"""Of the folder of data."""
_BLOCK_BYTES = 1 << 20


class BackupError(ProcVisionError):
    """A station can't be copied, or the copy is not whole."""


@define
class Copied:
    """What a backup came to."""

    files: int = 0
    bytes: int = 0


def back_up(folder: Path, target: Path) -> Copied:
    """Copy a station into a folder, or what is new since it was copied there. Raises BackupError and OSError."""
    if not (folder / STATION_FILE).is_file():
        raise BackupError(f"{folder} has no {STATION_FILE}\nhint: the folder of a station")
    if target.resolve().is_relative_to(folder.resolve()):
        raise BackupError(f"{target} is in the station's folder\nhint: another disk, or another machine's")
    copied = Copied()
    journals = folder / DATA / JOURNALS
    lines = sorted(path.name for path in journals.iterdir() if path.is_dir()) if journals.is_dir() else []
    # The journals first: whatever they say of a picture, the picture was there before it.
    for line in lines:
        _copy_journal(journals / line, target / DATA / JOURNALS / line, copied)
    for path in _files(folder):
        name = path.relative_to(folder)
        if name.parts[:2] == (DATA, JOURNALS):
            continue
        if name.parts[:2] == (DATA, PICTURES):
            if not (target / name).exists():
                with contextlib.suppress(FileNotFoundError):  # deleted since, and the next backup's journal says so
                    _copy(path, target / name, copied)
        elif path.suffix == ".sqlite":
            _copy_database(path, target / name, copied)
        else:
            _copy(path, target / name, copied)
    for line in lines:
        found = audit(FolderDisk(target / DATA / JOURNALS / line)).first_break
        if found is not None:
            raise BackupError(f"the copy of {line} is broken: {found}\nhint: procvision station audit {folder}")
    return copied


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        in_data = path.relative_to(folder).parts[0] == DATA
        if path.is_file() and not path.is_symlink() and not (in_data and _is_left_out(path.name)):
            yield path


def _is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.endswith((".sqlite-wal", ".sqlite-shm", ".part"))


def _copy_journal(source: Path, target: Path, copied: Copied) -> None:
    """Copy segments; closed ones that are there already are left. What is being written is copied as far as it goes."""
    make_private_folder(target)
    names = segments([path.name for path in source.iterdir()])
    for place, name in enumerate(names):
        goal, closed = target / name, place < len(names) - 1
        size = (source / name).stat().st_size
        there = goal.stat().st_size if goal.exists() else 0
        if there > size:
            raise BackupError(f"{goal} has {there} bytes, and {source / name} {size}: it is another journal's")
        # An erasure changes bytes in the middle: the same length is not enough, the same bytes are.
        if closed and there == size and _same(source / name, goal):
            continue
        _copy(source / name, goal, copied)


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(_BLOCK_BYTES):
            if block != right.read(_BLOCK_BYTES):
                return False
    return True


def _copy(source: Path, target: Path, copied: Copied) -> None:
    """Copy a file whole, or not at all."""
    make_private_folder(target.parent)
    part = target.with_name(f".{target.name}.part")
    with source.open("rb") as reading, part.open("wb") as writing:
        os.fchmod(writing.fileno(), 0o600)
        shutil.copyfileobj(reading, writing, _BLOCK_BYTES)
        writing.flush()
        os.fsync(writing.fileno())
        copied.bytes += writing.tell()
    part.replace(target)
    copied.files += 1


def _copy_database(source: Path, target: Path, copied: Copied) -> None:
    """Copy a SQLite file as one state of it, also while others write it."""
    make_private_folder(target.parent)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    touch_private(part)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reading,
            contextlib.closing(sqlite3.connect(part)) as writing,
        ):
            reading.backup(writing)
    except sqlite3.Error as error:
        raise BackupError(f"{source} can't be copied: {error}") from error
    copied.bytes += part.stat().st_size
    part.replace(target)
    copied.files += 1
