"""Pictures in files that another process or machine wrote: `file:/PATH`, `file:/PATH#GENERATION`.

`[hooks.file-images] folders = "/mnt/line1:/data/pictures"` says below which folders; without it there is no such
scheme. With a generation the file is a slot, laid out as one in shared memory, and its header is held against the call
before and after the pixels are read; without one it holds the payload alone, raw pixels, a JPEG or a PNG.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.images.files import (
    CopiedImage,
    OpenedPicture,
    check_payload_size,
    opened_below,
    read_slot,
    refused,
    to_rgb,
)
from procvision_sdk.images.meta import ImageMeta

if TYPE_CHECKING:
    from procvision_sdk.images.backend import ImageBackend
    from procvision_sdk.images.view import RgbArray

SCHEME = "file"
MAX_ID_LENGTH = 1024
MAX_GENERATION_DIGITS = 20  # of 64 bits


class FileImages:
    """The backend of the scheme `file`. It keeps nothing open from one call to the next."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def open(self, shared_mem_id: str, meta: ImageMeta) -> CopiedImage:
        """Read the whole picture that an id names. Raises CallRefusedError (1002)."""
        path, generation = parse_file_id(shared_mem_id)
        folder, parts = self._place(path)
        with opened_below(folder, parts, repr(path)) as file:
            array = _plain(file, meta) if generation is None else read_slot(file, meta, generation)
        return CopiedImage(array)

    def close(self) -> None:
        """Do nothing: no file is held."""

    def _place(self, path: str) -> tuple[Path, Sequence[str]]:
        for folder in self._folders:
            below = path.removeprefix(f"{folder}/")
            if below != path:
                return folder, below.split("/")
        folders = ", ".join(map(str, self._folders))
        raise refused("bad_image_id", f"{path[:200]!r} lies below none of the folders {folders}")


def parse_file_id(shared_mem_id: str) -> tuple[str, int | None]:
    """Return path and generation of an id. Raises CallRefusedError (1002, `bad_image_id`)."""
    path = shared_mem_id.partition(":")[2]
    if len(shared_mem_id) > MAX_ID_LENGTH or not path.startswith("/") or "\0" in path:
        raise refused(
            "bad_image_id",
            f"shared_mem_id {shared_mem_id[:80]!r} is not of the form file:/PATH or file:/PATH#GENERATION "
            f"(at most {MAX_ID_LENGTH} characters)",
        )
    name, sharp, digits = path.rpartition("#")
    if sharp and digits.isascii() and digits.isdecimal() and len(digits) <= MAX_GENERATION_DIGITS:
        return name, int(digits)
    return path, None


def _plain(file: OpenedPicture, meta: ImageMeta) -> RgbArray:
    check_payload_size(file.size, meta)
    data = file.read(0, file.size)
    file.check_unchanged()
    return to_rgb(data, meta)


class FileImagesPlugin:
    """Pictures in files below configured folders, by the scheme `file`."""

    def __init__(self) -> None:
        self._folders: list[Path] = []

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Return which folders."""
        return [HookOption("folders", str, help=f"the folders that pictures may lie below, with {os.pathsep} between")]

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError for a path that isn't absolute and plain."""
        for text in filter(None, values["folders"].split(os.pathsep)):
            folder = Path(text)
            if not folder.is_absolute() or ".." in folder.parts or folder == Path("/"):
                raise ValueError(f"folders has {text!r}: it is the absolute path of a folder, without .., and not /")
            self._folders.append(folder)
        if not self._folders:
            raise ValueError("folders is empty: pictures could lie nowhere")

    @hookimpl
    def procvision_image_backends(self) -> Mapping[str, Callable[[], ImageBackend]]:
        """Return the scheme `file`."""
        return {SCHEME: lambda: FileImages(self._folders)}
