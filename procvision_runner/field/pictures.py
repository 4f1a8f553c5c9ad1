"""Pictures as the field's adapters read them: files `dev-shm_….npy` in the folder that PROC_SHM_DIR names.

An adapter that finds no file, or none that it can read, hands its algorithm a black picture and says nothing. So what
is written here is always pixels, whole, and whether it still lies there is looked at when the answer has come.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.images.segments import SHM_FOLDER
from procvision_sdk.images.meta import ImageMeta
from procvision_sdk.images.picture import Picture, as_picture, is_lent

if TYPE_CHECKING:
    from procvision_sdk.calling import CallImage

FOLDER_VARIABLE = "PROC_SHM_DIR"
_PREFIX = "procvision-field-"


class FieldPicture:
    """One file, to be released when the host can't read it any more."""

    def __init__(self, path: Path, shared_mem_id: str, picture: Picture) -> None:
        self.shared_mem_id = shared_mem_id
        self.picture = picture
        self._path = path
        self._written = _state(path)
        self._released = False

    def intact(self) -> bool:
        """Whether it lies there as it was written."""
        return not self._released and _state(self._path) == self._written

    def release(self) -> None:
        """Removes the file; a second call does nothing."""
        if not self._released:
            self._released = True
            self._path.unlink(missing_ok=True)


class FieldFolder:
    """The folder of one runner. In memory, unless the environment that the host gets names another."""

    def __init__(self, named: str | None = None) -> None:
        self._own = named is None
        self.path = SHM_FOLDER / f"{_PREFIX}{secrets.token_hex(8)}" if named is None else Path(named)
        self._lock: int | None = None

    def open(self) -> None:
        """Makes the folder. What killed runners left behind goes first."""
        if self._own:
            _remove_leftovers()
            self._lock = self._made_and_locked()
        else:
            self.path.mkdir(parents=True, exist_ok=True)

    def _made_and_locked(self) -> int:
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another runner may have taken it for a leftover in the instant before it was locked.
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)

    def write(self, image: CallImage) -> FieldPicture:
        """The picture as a file. A lease is given back.

        Raises CallRefusedError (1002) for an encoded picture that is damaged and one that is brighter than its bits
        allow, ValueError for one that lies elsewhere, SlotsExhaustedError where there is no room.
        """
        import numpy as np

        picture = _pixels(image)
        shared_mem_id = f"dev-shm:{secrets.token_hex(8)}"
        path = self.path / (re.sub(r"[^a-zA-Z0-9._-]", "_", shared_mem_id) + ".npy")
        assert picture.pixels is not None
        try:
            with path.open("xb") as file:
                np.save(file, np.ascontiguousarray(picture.pixels), allow_pickle=False)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise SlotsExhaustedError(f"a picture can't be written to {path}: {error.strerror}") from error
        return FieldPicture(path, shared_mem_id, attrs.evolve(picture, pixels=None))

    def close(self) -> None:
        """Removes the folder, if it is the runner's own."""
        if self._own and self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def field_folder(environment: Mapping[str, str] | None) -> tuple[FieldFolder, dict[str, str]]:
    """The folder that a host would read from, not made yet, and the environment that tells it so.

    Whether it is a host that reads files is known with its hello only, after its start.
    """
    known = dict(os.environ if environment is None else environment)
    folder = FieldFolder(known.get(FOLDER_VARIABLE))
    known[FOLDER_VARIABLE] = str(folder.path)
    return folder, known


def _pixels(image: CallImage) -> Picture:
    if is_lent(image):
        with image:
            image = Picture.of(image.array.copy(), image.color_space, image.bits or 8)
    picture = as_picture(image)
    if picture.shared_mem_id is not None:
        raise ValueError(f"{picture.shared_mem_id!r:.90} is a picture elsewhere: a host of the field can't read it")
    if picture.pixels is not None and picture.bits is not None:
        from procvision_sdk.images.view import high_bits

        # The field's SDK would wrap 16 bits around.
        return Picture.of(high_bits(picture.pixels, picture.bits), picture.color_space)
    if picture.data is None:
        return picture
    from procvision_sdk.images.decode import decode

    meta = ImageMeta(
        width=picture.width,
        height=picture.height,
        color_space=picture.color_space,
        encoding=picture.encoding,
        bits=picture.bits,
    )
    return Picture.of(decode(picture.data, meta))


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _remove_leftovers() -> None:
    for path in SHM_FOLDER.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)
