"""The pictures of a folder, as a trainer is given them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.training import TrainingError
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import FolderFiles, left_out
from procvision_tools.sources.picture_files import PictureFile, PictureFileError, load, unused_bits

if TYPE_CHECKING:
    from procvision_sdk.images.view import RgbArray


class PictureOfFolder:
    """One file; it is read at each look, so that a folder may be larger than memory."""

    def __init__(self, folder: Path, path: Path, bits: int | None = None) -> None:
        self.path = path
        self._bits = bits
        self._name = shown(path.relative_to(folder).as_posix())
        file = self._loaded()
        self._sha256 = hashlib.sha256(file.data).hexdigest()
        self.orientation = file.header.orientation
        """EXIF's, which is not applied."""

    @property
    def name(self) -> str:
        """Below the folder."""
        return self._name

    @property
    def sha256(self) -> str:
        """The file's."""
        return self._sha256

    def fingerprint(self) -> bytes:
        """Give the hash of what is seen: two files of the same pixels have the same. Raises TrainingError."""
        pixels = self.pixels()
        seen = hashlib.sha256(f"{pixels.shape}".encode())
        seen.update(np.ascontiguousarray(pixels).data)
        return seen.digest()

    def pixels(self) -> RgbArray:
        """H x W x 3 uint8 RGB. Raises TrainingError."""
        try:
            return self._loaded().pixels(self._bits)
        except CallRefusedError as error:
            raise TrainingError(f"{shown(self.path)}: {error}; hint: take it out, or save it again") from error

    def _loaded(self) -> PictureFile:
        try:
            return load(self.path)
        except PictureFileError as error:
            raise TrainingError(str(error)) from error


@frozen
class Learnt:
    """The pictures that a trainer is given, and what there is to say of the others."""

    pictures: Sequence[PictureOfFolder]
    notes: tuple[str, ...]


def pictures_of(folder: Path, bits: int | None = None) -> Learnt:
    """Find the JPEG and PNG files in the folder and below it, by name, each content once.

    ``bits`` is how many of 16 the samples of grey PNGs use.
    Raises TrainingError where there is none, where one is damaged, or where all show the same.
    """
    try:
        files = FolderFiles(folder)
    except OSError as error:
        raise TrainingError(f"{shown(error.filename or folder)} can't be read: {error.strerror or error}") from error
    found = [PictureOfFolder(folder, path, bits) for path in files.pictures()]
    distinct: dict[bytes, PictureOfFolder] = {}
    again: list[str] = []
    turned = 0
    for picture in found:
        files.take(picture.path)
        if distinct.setdefault(picture.fingerprint(), picture) is not picture:
            again.append(picture.name)
        turned += picture.orientation != 1
    notes = list(files.notes())
    if again:
        notes.append(left_out("they show, pixel by pixel, what another one shows", again))
    if turned:
        notes.append(f"pictures with an EXIF orientation, which is not applied: {turned}")
    notes += unused_bits((picture.path for picture in found), bits)
    told = "".join(f"\n{note}" for note in notes)
    if not found:
        raise TrainingError(f"there is no picture in {shown(folder)}{told}; hint: JPEG and PNG files are read")
    if again and len(distinct) == 1:
        raise TrainingError(
            f"all {len(found)} pictures in {shown(folder)} show the same{told}"
            "; hint: give pictures of different products"
        )
    return Learnt(list(distinct.values()), tuple(notes))
