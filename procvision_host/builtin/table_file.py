"""The file of a table of sessions (`algorithm.session_table`): made whole beside its store, of its size from the start.

All its blocks are there when it is made, so a full disk is an error then, and none at a save. It is a regular file of
the database's owner's alone; another is not used. Who opens it takes two descriptors, each with an open file
description of its own: locks tell them apart.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from errno import EBUSY, EPERM
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from procvision_host.algorithm.session_table import MAGIC, TABLE_BYTES
from procvision_sdk.private_files import PRIVATE_FILE

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_HEADER = struct.Struct("<32sQ36s")
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class TableFile(NamedTuple):
    """An open table."""

    path: Path
    id: int
    mine: int
    """The host half's descriptor."""
    cells: int
    """The cell's, to be handed over."""
    restarted: bool
    """Whether the machine was started since the table was used last: a power cut may have left less of it than of the
    store."""

    def note_boot(self) -> None:
        """Note that what was in the table is carried. Raises OSError."""
        os.pwrite(self.mine, _HEADER.pack(MAGIC, self.id, _boot()), 0)

    @property
    def is_there(self) -> bool:
        """Whether the file still has its name."""
        with contextlib.suppress(OSError):
            return os.path.samestat(self.path.lstat(), os.fstat(self.mine))
        return False

    def close(self) -> None:
        """Close the host half's descriptor."""
        with contextlib.suppress(OSError):
            os.close(self.mine)


def no_table_for(database: Path) -> bool:
    """Return whether others than its owner may use a database: they couldn't use a table. Raises nothing."""
    try:
        status = database.stat()
    except OSError:
        return True
    return bool(status.st_mode & 0o077) or os.geteuid() not in {0, status.st_uid}


def open_table(database: Path, name: str, known: int | None) -> TableFile:
    """Open the table of this name beside a database if it has the id that is known; else make one in its place.

    To be called while no other host opens one. Raises OSError.
    """
    path = database.with_name(f"{database.name}-{blake2b(name.encode(), digest_size=8).hexdigest()}.table")
    owner = database.stat()
    if known is not None:
        with contextlib.suppress(FileNotFoundError, _NoTableError):
            found = _opened(path, owner)
            if found.id == known:
                return found
            found.close()
            os.close(found.cells)
    _make(path, owner)
    return _opened(path, owner)


class _NoTableError(Exception):
    """What lies there isn't a table, so none can be lost."""


def _opened(path: Path, owner: os.stat_result) -> TableFile:
    with contextlib.ExitStack() as opened:
        descriptors = []
        for _ in range(2):
            descriptors.append(os.open(path, _FLAGS))
            opened.callback(os.close, descriptors[-1])
        mine, cells = descriptors
        number, boot = _checked(path, mine, owner)
        if not os.path.samestat(os.fstat(mine), os.fstat(cells)):
            raise OSError(EBUSY, f"{path} was replaced in this moment")
        opened.pop_all()
        return TableFile(path, number, mine, cells, boot != _boot())


def _checked(path: Path, descriptor: int, owner: os.stat_result) -> tuple[int, bytes]:
    """Return the id and the boot that a table's file has."""
    status = os.fstat(descriptor)
    private = status.st_uid == owner.st_uid and not status.st_mode & 0o077 and status.st_nlink == 1
    if not private or not stat.S_ISREG(status.st_mode):
        raise OSError(EPERM, f"{path} is no file that the database's owner alone has")
    data = os.pread(descriptor, _HEADER.size, 0)
    if status.st_size != TABLE_BYTES or len(data) != _HEADER.size:
        raise _NoTableError
    magic, number, boot = _HEADER.unpack(data)
    if magic.rstrip(b"\0") != MAGIC or number >= 2**63:
        raise _NoTableError
    return number, boot


def _make(path: Path, owner: os.stat_result) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.fchmod(descriptor, PRIVATE_FILE)
            if os.geteuid() != owner.st_uid:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.posix_fallocate(descriptor, 0, TABLE_BYTES)
            number = int.from_bytes(os.urandom(7), "big")
            os.pwrite(descriptor, _HEADER.pack(MAGIC, number, _boot()), 0)
        finally:
            os.close(descriptor)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _boot() -> bytes:
    try:
        return _BOOT.read_bytes()[:36]
    except OSError:
        return b""
