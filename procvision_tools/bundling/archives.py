"""Zip files that a stranger made: looked at as a whole before anything of them is unpacked.

What is refused: more entries or bytes than the bounds, entries that lie over each other, that inflate out of all
proportion, that are encrypted, links or doubled, and names that lead elsewhere. Nothing is skipped or mended.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.errors import BundleError

MAX_FILES = 50_000
"""torch, among the largest wheels that there are, has some 13,000 files."""
MAX_UNPACKED_BYTES = 8 << 30
"""Of one archive: models of some gigabytes are, and wheels with CUDA have three."""
MAX_RATIO = 100
"""Deflate reaches 1032 on zeros; text and code stay below 20."""
RATIO_FREE_BYTES = 64 << 20
"""What unpacks to less may have any ratio: it fills no disk."""
_DIRECTORY_BYTES_PER_FILE = 512
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NAME_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|//")
_END, _END_BYTES = b"PK\x05\x06", 22
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_END64, _END64_BYTES = b"PK\x06\x06", 56


def refused(message: str) -> BundleError:
    """Give the error 2001 with this text."""
    return BundleError(ErrorCode.INVALID_PACKAGE, message)


@contextmanager
def opened_archive(path: Path, max_files: int = MAX_FILES) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose directory was held against the bounds. Raises BundleError 2001, also for what is no zip."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise refused(f"{path.name} is no regular file")
        _check_directory(path, max_files)
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive, max_files)
            yield archive
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        # zipfile: RuntimeError for what is encrypted, NotImplementedError for a compression it doesn't know
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise refused(f"{path.name} can't be read: {said}") from error


def read_entry(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """Read one entry of at most so many bytes. Raises BundleError 2001."""
    stated = archive.getinfo(name).file_size
    if stated > max_bytes:
        raise refused(f"{name} has {stated} bytes, the bound is {max_bytes}")
    with archive.open(name) as file:
        data = file.read(max_bytes + 1)
    if len(data) != stated:
        raise refused(f"{name} has another size than its archive says")
    return data


def _check_directory(path: Path, max_files: int) -> None:
    """Hold the size of the zip's directory against the bound: zipfile would read all of it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - (1 << 16) - _END_BYTES)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < _END_BYTES:
            raise zipfile.BadZipFile("it is no zip file")
        (directory_bytes,) = struct.unpack_from("<L", tail, at + 12)
        if start + at >= _LOCATOR_BYTES + _END64_BYTES:
            file.seek(start + at - _LOCATOR_BYTES - _END64_BYTES)
            before = file.read(_LOCATOR_BYTES + _END64_BYTES)
            if before[_END64_BYTES:].startswith(_LOCATOR) and before.startswith(_END64):
                (directory_bytes,) = struct.unpack_from("<Q", before, 40)
    if directory_bytes > max_files * _DIRECTORY_BYTES_PER_FILE:
        raise refused(f"{path.name} lists more than {max_files} files")


def _check_entries(path: Path, archive: zipfile.ZipFile, max_files: int) -> None:
    entries = archive.infolist()
    if len(entries) > max_files:
        raise refused(f"{path.name} has {len(entries)} files, the bound is {max_files}")
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise refused(f"{path.name} unpacks to {unpacked} bytes, the bound is {MAX_UNPACKED_BYTES}")
    if unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * packed:
        raise refused(f"{path.name} unpacks {packed} bytes to {unpacked}: the bound is {MAX_RATIO} times as many")
    if packed > path.stat().st_size:
        raise refused(f"{path.name} has entries that lie over each other")
    files: set[str] = set()
    for entry in entries:
        shown = entry.orig_filename[:120]
        if not is_plain_path(entry.orig_filename.removesuffix("/")) or entry.orig_filename != entry.filename:
            raise refused(f"{path.name}: {shown!r} is no name of a file in it: it leads elsewhere")
        if entry.filename in files:
            raise refused(f"{path.name}: {shown!r} is there twice")
        if entry.flag_bits & 0x1:
            raise refused(f"{path.name}: {shown!r} is encrypted")
        if entry.compress_type not in _METHODS:
            raise refused(f"{path.name}: {shown!r} is compressed by method {entry.compress_type}: it is 0 or 8")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise refused(f"{path.name}: {shown!r} is a link or a device, no file")
        files.add(entry.filename)
    for name in files:
        above = next((str(place) for place in PurePosixPath(name).parents if str(place) in files), None)
        if above is not None:
            raise refused(f"{path.name}: {above[:120]!r} is both a file and a folder")


def is_plain_path(name: str) -> bool:
    """Tell whether a name is that of a file below a folder: relative, without `..`, empty parts and odd signs."""
    if not name or name.startswith("/") or _NAME_REFUSED.search(name) is not None:
        return False
    try:
        long = len(name.encode()) > 1000 or any(len(part.encode()) > 255 for part in name.split("/"))
    except UnicodeEncodeError:
        return False
    return not long and all(part not in ("", ".", "..") for part in name.split("/"))
