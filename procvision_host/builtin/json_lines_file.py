"""A file of JSON lines that several hosts write at once, put aside when it grows too large.

The strategy: every line is one append under the file's lock (`flock`), which the kernel gives back if a host dies.
Under that lock a host can see whether the line before its own is whole, take back a line of which only a part found
room, and put the file aside for all. A host that finds that another has put the file aside opens the new one.
What can't be written is counted, and the first line that can be again says how many are missing. The folder must be
on a file system of this machine: `flock` over a network promises less.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from os import close, fstat, ftruncate, pread, stat, write
from os import open as os_open
from pathlib import Path
from typing import Any

import msgspec

from procvision_host.logs import HOST_LOGGER, timestamp_ms
from procvision_sdk.private_files import PRIVATE_FILE, make_private_folder

_log = logging.getLogger(HOST_LOGGER)
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_encoder = msgspec.json.Encoder(enc_hook=repr)


class JsonLinesFile:
    """The file as one host uses it, on one thread. Never raises for what the file system does."""

    def __init__(self, path: Path, max_bytes: int, max_files: int) -> None:
        self._path = path.with_name(re.sub(r"[^\w.-]", "_", path.name))
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._missing = 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line, or count it as missing."""
        line = _encoder.encode(record) + b"\n"
        if self._missing:
            lost = {"kind": "missing", "timestamp_ms": timestamp_ms(), "process_id": os.getpid()}
            line = _encoder.encode({**lost, "lines": self._missing}) + b"\n" + line
        try:
            self._append(line)
        except OSError as error:
            self._missing += 1
            if self._missing & (self._missing - 1) == 0:  # the first, the second, the fourth …
                _log.error(
                    "%s can't be written, %d lines are missing: %s; hint: is there room, may this user write there?",
                    self._path, self._missing, error.strerror or error,
                )  # fmt: skip
            return
        if self._missing:
            _log.warning("%s can be written again; %d lines are missing", self._path, self._missing)
            self._missing = 0

    def _append(self, line: bytes) -> None:
        descriptor = self._locked()
        try:
            # More than once where the other hosts fill the new file before this one has locked it.
            while (size := fstat(descriptor).st_size) and size + len(line) > self._max_bytes:
                self._put_aside()
                close(descriptor)
                descriptor = -1
                descriptor = self._locked()
            if size and pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # its writer was killed in the middle of the line before
            try:
                written = write(descriptor, line)
            except OSError:
                ftruncate(descriptor, size)
                raise
            if written < len(line):
                ftruncate(descriptor, size)
                raise OSError(0, f"only {written} of a line's {len(line)} bytes found room")
        finally:
            if descriptor >= 0:
                close(descriptor)

    def _locked(self) -> int:
        """Open the file that has the name now, locked until it is closed.

        It is opened for every line: of a descriptor that is kept nobody knows whose it is after the algorithm ran.
        """
        while True:
            descriptor = self._opened()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._has_the_name(descriptor):
                    return descriptor
            except BaseException:
                close(descriptor)
                raise
            close(descriptor)

    def _opened(self) -> int:
        try:
            return os_open(self._path, _FLAGS, PRIVATE_FILE)
        except FileNotFoundError:
            make_private_folder(self._path.parent)
            return os_open(self._path, _FLAGS, PRIVATE_FILE)

    def _has_the_name(self, descriptor: int) -> bool:
        ours = fstat(descriptor)
        try:
            named = stat(self._path)  # noqa: PTH116 - beside fstat
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)

    def _put_aside(self) -> None:
        """Rename NAME.jsonl to NAME.jsonl.1, what was .1 to .2, and so on. Under the lock of the first."""
        oldest = self._max_files - 1
        if oldest == 0:
            self._path.unlink()
        for number in range(oldest, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number - 1).replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
