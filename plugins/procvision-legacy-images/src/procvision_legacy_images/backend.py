"""The backend: the files of an id, found and read as the field's layout has them, but nothing guessed.

The field's SDK gives a black picture for a missing or broken file, wraps 16 bits to 8, and holds the array against
nothing. Here each of these is an error, except 16 bits, which are mapped by the rule of `image_meta.bits`.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.lib import format as npy

from procvision_sdk.images.files import CopiedImage, OpenedPicture, check_payload_size, opened_below, refused, to_rgb
from procvision_sdk.images.view import high_bits

if TYPE_CHECKING:
    from procvision_sdk.images.meta import Encoding, ImageMeta
    from procvision_sdk.images.view import RgbArray

MAX_ID_LENGTH = 200
"""With its ending it must be a file's name."""
MAX_NPY_HEADER_BYTES = 1024
"""A picture's takes 118."""
_UNSAFE = re.compile(r"[^a-zA-Z0-9._-]")
_SIGNATURES: tuple[tuple[bytes, Encoding], ...] = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"))


class LegacyImages:
    """Reads `dev-shm:…` ids from one folder. It keeps nothing open from one call to the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, shared_mem_id: str, meta: ImageMeta) -> CopiedImage:
        """The picture of an id, from its `.npy` or its `.bin`. Raises CallRefusedError (1002)."""
        stem = file_stem(shared_mem_id)
        found = [ending for ending in (".npy", ".bin") if os.path.lexists(self._folder / f"{stem}{ending}")]
        if len(found) != 1:
            what = "both a .npy and a .bin, and nothing says which is this call's" if found else "neither .npy nor .bin"
            raise refused("no_such_image", f"{shared_mem_id!r} has {what} in {self._folder}")
        name = f"{stem}{found[0]}"
        with opened_below(self._folder, [name], repr(name)) as file:
            array = _from_npy(file, meta) if found == [".npy"] else _from_bin(file, meta)
        return CopiedImage(array)

    def close(self) -> None:
        """Nothing is held."""


def file_stem(shared_mem_id: str) -> str:
    """An id's file name without its ending: what isn't a letter, a digit, `.`, `_` or `-` becomes `_`.

    Raises CallRefusedError (1002, `bad_image_id`) for an id of which nothing would be left.
    """
    if len(shared_mem_id) > MAX_ID_LENGTH or not shared_mem_id.partition(":")[2].strip("."):
        raise refused(
            "bad_image_id", f"shared_mem_id {shared_mem_id[:80]!r} is not dev-shm:NAME of {MAX_ID_LENGTH} characters"
        )
    return _UNSAFE.sub("_", shared_mem_id)


def _from_npy(file: OpenedPicture, meta: ImageMeta) -> RgbArray:
    if meta.encoding != "raw":
        raise refused("image_mismatch", f"the file is an array, image_meta says {meta.encoding}")
    head = file.read(0, min(file.size, MAX_NPY_HEADER_BYTES))
    shape, fortran, kind, begin = _npy_header(head)
    _check_array(shape, kind, meta)
    length = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if file.size - begin != length:
        raise refused("image_damaged", f"the array takes {length} bytes, the file has {file.size - begin} for it")
    data = file.read(begin, length)
    file.check_unchanged()
    array = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
    if kind.itemsize == 2:
        array = high_bits(array, meta.bits or 16)
    if array.ndim == 2 or array.shape[2] == 1:
        array = np.broadcast_to(array.reshape(*array.shape[:2], 1), (*array.shape[:2], 3))
    elif meta.color_space == "BGR":
        array = array[:, :, ::-1]
    array.flags.writeable = False
    return array  # type: ignore[return-value]


def _npy_header(head: memoryview) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type and where the array begins. NumPy's own parser; nothing in it can run code."""
    stream = io.BytesIO(head)
    try:
        # A later version is for arrays of records: a KeyError here.
        reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
        shape, fortran, kind = reader(stream, max_header_size=MAX_NPY_HEADER_BYTES)
    except Exception as error:  # noqa: BLE001 - ValueError says what NumPy documents; a hostile header finds others
        raise refused("image_damaged", f"this is no .npy of a picture: {str(error)[:200]}") from None
    return shape, fortran, kind, stream.tell()


def _check_array(shape: tuple[int, ...], kind: np.dtype[Any], meta: ImageMeta) -> None:
    if kind.kind != "u" or kind.itemsize > 2:
        raise refused("image_mismatch", f"the array is {kind}, pictures are uint8 or uint16")
    if meta.bits is not None and (meta.bits > 8) != (kind.itemsize == 2):
        raise refused("image_mismatch", f"the array is {kind}, image_meta says {meta.bits} bits")
    mono = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
    if not mono and (len(shape) != 3 or shape[2] != 3):
        raise refused("image_mismatch", f"the array's shape is {shape}, a picture's is H x W, H x W x 1 or H x W x 3")
    if shape[:2] != (meta.height, meta.width):
        raise refused(
            "image_mismatch", f"the array is {shape[1]} x {shape[0]}, image_meta says {meta.width} x {meta.height}"
        )
    if meta.color_space == "MONO" and not mono:
        raise refused("image_mismatch", "the array has three channels, image_meta says MONO")


def _from_bin(file: OpenedPicture, meta: ImageMeta) -> RgbArray:
    """A JPEG or a PNG, whatever `encoding` says, since nobody says it in the field; or raw pixels of the exact size."""
    signature = bytes(file.read(0, min(file.size, 8)))
    encoding = next((name for magic, name in _SIGNATURES if signature.startswith(magic)), "raw")
    if meta.encoding not in ("raw", encoding):
        raise refused("image_mismatch", f"the file is {encoding}, image_meta says {meta.encoding}")
    meta = msgspec.structs.replace(meta, encoding=encoding)
    check_payload_size(file.size, meta)
    data = file.read(0, file.size)
    file.check_unchanged()
    return to_rgb(data, meta)
