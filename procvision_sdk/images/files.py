"""Pictures in files that another process writes, for backends: found without links, read whole, never mapped.

The strategy: a picture is copied once, by `pread`, and what the algorithm sees is that copy. A mapping would save
the copy, but a file that is cut off under a mapping is a SIGBUS, which nothing catches, and one that is written over
changes under the algorithm's hands. A file that is shorter than it was, or was changed while it was read, is an error.
Warning: times of a file have the grain of the kernel's clock, some milliseconds: a writer that pauses in the middle of
a file can't be told from one that is done. Writers put a whole file in place by renaming it, or use a slot.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import close, fstat, preadv
from os import open as os_open
from pathlib import Path
from typing import TYPE_CHECKING

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.layout import HEADER_BYTES, check_header, read_header, stale

if TYPE_CHECKING:
    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.view import RgbArray

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
ENCODED_SLACK_BYTES = 1024 * 1024
"""Beside the pixels: an encoded file's headers, profiles and texts."""
MAX_ENCODED_BYTES_A_PIXEL = 8
"""16 bits of red, green, blue and alpha, not compressed at all."""


class OpenedPicture:
    """An open regular file, with the size that it had when it was opened; or a part of one, `length` bytes of it."""

    def __init__(self, descriptor: int, name: str, start: int = 0, length: int | None = None) -> None:
        status = fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise refused("no_such_image", f"{name} is no regular file")
        self._descriptor = descriptor
        self._name = name
        self._stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._start = start
        self.size = status.st_size - start if length is None else length
        if not 0 <= start <= start + self.size <= status.st_size:
            raise refused(
                "no_such_image", f"{name} has {status.st_size} bytes, there are no {self.size} from {start} on"
            )
        self.owner = status.st_uid
        """The user whose file it is."""

    def read(self, offset: int, length: int) -> memoryview:
        """So many bytes, read-only. Raises CallRefusedError (1002, `stale_image`) where the file has become shorter."""
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            read = preadv(self._descriptor, [rest], self._start + offset)
            if not read:
                raise refused("stale_image", f"{self._name} was cut off while it was read")
            rest, offset = rest[read:], offset + read
        return memoryview(data).toreadonly()

    def check_unchanged(self) -> None:
        """Raise CallRefusedError (1002, `stale_image`) where the file was written since it was opened."""
        status = fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns, status.st_ctime_ns) != self._stamp:
            raise refused(
                "stale_image", f"{self._name} was changed while it was read; hint: put files in place by renaming them"
            )


class CopiedImage:
    """A call's picture in memory of its own: nobody can replace it any more."""

    __slots__ = ("_array",)

    def __init__(self, array: RgbArray) -> None:
        self._array = array

    def array(self) -> RgbArray:
        """Return the picture."""
        return self._array

    def still_valid(self) -> None:
        """It is."""


@contextmanager
def opened_below(folder: Path, parts: Sequence[str], name: str) -> Iterator[OpenedPicture]:
    """A file below a folder. Nothing below the folder may be a link, and no part leads upwards.

    Raises CallRefusedError (1002, `no_such_image`) for whatever can't be opened.
    """
    if not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise refused("bad_image_id", f"{name} is no plain path: empty parts, . and .. are refused")
    descriptor = -1
    try:
        try:
            descriptor = os_open(folder, _DIRECTORY)
            for part in parts[:-1]:
                below = os_open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                close(descriptor)
                descriptor = below
            below = os_open(parts[-1], _FILE, dir_fd=descriptor)
            close(descriptor)
            descriptor = below
        except OSError as error:
            raise refused("no_such_image", f"{name} can't be opened: {error.strerror}; links are refused") from None
        yield OpenedPicture(descriptor, name)
    finally:
        if descriptor >= 0:
            close(descriptor)


def to_rgb(data: memoryview, meta: ImageMeta) -> RgbArray:
    """Return a whole payload as an array: raw by the rules of `view`, JPEG and PNG by those of `decode`.

    Raises CallRefusedError (1002): `image_mismatch` where raw pixels have not the length that `meta` says.
    """
    if meta.encoding != "raw":
        from procvision_sdk.images.decode import decode

        return decode(data, meta)
    if len(data) != meta.raw_bytes:
        raise refused(
            "image_mismatch",
            f"{meta.width} x {meta.height} {meta.color_space} takes {meta.raw_bytes} bytes, there are {len(data)}",
        )
    from procvision_sdk.images.view import deep_rgb, rgb_view

    if meta.bits is not None and meta.bits > 8:
        return deep_rgb(data, meta.width, meta.height, meta.color_space, meta.bits)
    return rgb_view(data, meta.width, meta.height, meta.color_space)


def read_slot(file: OpenedPicture, meta: ImageMeta, generation: int) -> RgbArray:
    """Return the picture of a file that is laid out as a slot: H x W x 3, uint8, RGB, read-only, a copy.

    Raises CallRefusedError (1002) where the slot holds another generation, before or after the pixels were read, or
    another picture than `meta` describes, and for what `to_rgb` refuses.
    """
    header = read_header(file.read(0, min(HEADER_BYTES, file.size)), file.size)
    check_header(header, generation, meta)
    check_payload_size(header.payload_bytes, meta)
    data = file.read(header.payload_offset, header.payload_bytes)
    # The writer makes the generation odd before it touches a pixel: as it was, so are the pixels.
    found = read_header(file.read(0, HEADER_BYTES), file.size).generation
    if found != generation:
        raise stale(generation, found)
    if header.payload_crc32 and zlib.crc32(data) != header.payload_crc32:
        raise refused("image_damaged", "what the slot holds doesn't match the CRC-32 that was stored with it")
    return to_rgb(data, meta)


def check_payload_size(length: int, meta: ImageMeta) -> None:
    """Before a payload is read. Raises CallRefusedError (1002, `image_mismatch`) if no picture of this size has it."""
    most = meta.raw_bytes
    if meta.encoding != "raw":
        most = meta.width * meta.height * MAX_ENCODED_BYTES_A_PIXEL + ENCODED_SLACK_BYTES
    if length > most or (meta.encoding == "raw" and length != most):
        raise refused(
            "image_mismatch",
            f"{meta.width} x {meta.height} {meta.color_space} {meta.encoding} takes "
            f"{'at most ' if meta.encoding != 'raw' else ''}{most} bytes, there are {length}",
        )


def refused(kind: str, text: str) -> CallRefusedError:
    """Return the error of a picture that can't be had."""
    return CallRefusedError(ErrorCode.IMAGE_LOAD_FAILED, kind, text)
