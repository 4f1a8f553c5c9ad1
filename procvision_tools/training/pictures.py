"""The pictures of a folder, as a trainer is given them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.training import TrainingError
from procvision_tools.datasets.samples import PICTURE_SUFFIXES
from procvision_tools.sources.picture_files import PictureFileError, load

if TYPE_CHECKING:
    from procvision_sdk.images.view import RgbArray


class PictureOfFolder:
    """One file; it is read at each look, so that a folder may be larger than memory."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._path = path
        self._name = path.relative_to(folder).as_posix()
        self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def name(self) -> str:
        """Below the folder."""
        return self._name

    @property
    def sha256(self) -> str:
        """The file's."""
        return self._sha256

    def pixels(self) -> RgbArray:
        """H x W x 3 uint8 RGB. Raises TrainingError."""
        try:
            return load(self._path).pixels()
        except PictureFileError as error:
            raise TrainingError(str(error)) from error
        except CallRefusedError as error:
            raise TrainingError(f"{self._path}: {error}; hint: take it out, or save it again") from error


def pictures_of(folder: Path) -> Sequence[PictureOfFolder]:
    """All JPEG and PNG files in the folder and below it, by name. Raises TrainingError where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    if not paths:
        raise TrainingError(f"there is no picture in {folder}; hint: JPEG and PNG files are read")
    return [PictureOfFolder(folder, path) for path in paths]
