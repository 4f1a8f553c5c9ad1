"""Files that somebody else names or wrote, read whole: only regular ones, and never more of one than is wanted.

A name may be a FIFO, which nobody writes to, or a device that never ends: what opens those waits for ever, or fills the
memory. So a file is looked at before it is opened, opened without waiting, and looked at again, since it may have been
replaced in between. Links are followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EFBIG, EINVAL
from os import close, fspath, fstat, read
from os import open as os_open
from os import stat as os_stat

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""A text that people or tools write for people: a manifest, a label file, a settings file."""
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_BLOCK_BYTES = 1 << 20


@contextmanager
def opened_regular(path: str | os.PathLike[str]) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading: its descriptor and status. Raises OSError for any other kind of file."""
    _check_kind(os_stat(path), path)  # noqa: PTH116 - by name: whatever an algorithm replaces
    descriptor = os_open(path, _FLAGS)
    try:
        status = fstat(descriptor)
        _check_kind(status, path)
        yield descriptor, status
    finally:
        close(descriptor)


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Read a regular file of at most so many bytes. Raises OSError, also for one that has more."""
    with opened_regular(path) as (descriptor, status):
        if status.st_size > max_bytes:
            raise _too_large(path, f"it has {status.st_size}", max_bytes)
        data = read_start(descriptor, max_bytes + 1)
    if len(data) > max_bytes:
        raise _too_large(path, "it has more", max_bytes)
    return data


def read_start(descriptor: int, count: int) -> bytes:
    """Read so many bytes, or what there is. Raises OSError."""
    blocks: list[bytes] = []
    while count > 0:
        block = read(descriptor, min(count, _BLOCK_BYTES))
        if not block:
            break
        blocks.append(block)
        count -= len(block)
    return b"".join(blocks)


def _check_kind(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise OSError(EINVAL, f"it is {kind}", fspath(path))


def _too_large(path: str | os.PathLike[str], what: str, max_bytes: int) -> OSError:
    return OSError(EFBIG, f"at most {max_bytes} bytes are read, {what}", fspath(path))
