"""Pictures as the field's adapters read them: files `dev-shm_….npy` in the folder that PROC_SHM_DIR names.

An adapter that finds no file, or none that it can read, hands its algorithm a black picture and says nothing. So what
is written here is always pixels, whole, of 8 bits, and whether it still lies there is looked at when the answer has
come. What is read here is a slot of the runner's: copied once, so that nothing can be exchanged under the adapter.
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
from typing import TYPE_CHECKING, Any

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.files import OpenedPicture, opened_below, read_slot, refused
from procvision_sdk.images.layout import ARENA_ALIGNMENT, ARENA_SCHEME, parse_arena_id, parse_slot_id
from procvision_sdk.images.meta import check_meta

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_sdk.images.meta import ImageMeta

FOLDER_VARIABLE = "PROC_SHM_DIR"
SHM_FOLDER = Path("/dev/shm")
"""Where POSIX shared memory lies on Linux: the runner's slots, and the folder of a gateway."""
_PREFIX = "procvision-field-"


class FieldPicture:
    """One file, to be released when the adapter can't read it any more. `meta` describes what lies in it."""

    def __init__(self, path: Path, shared_mem_id: str, meta: dict[str, Any]) -> None:
        self.shared_mem_id = shared_mem_id
        self.meta = meta
        self._path = path
        self._written = _state(path)
        self._released = False

    @property
    def size(self) -> tuple[int, int]:
        """The width and height, in pixels."""
        return self.meta["width"], self.meta["height"]

    def intact(self) -> bool:
        """Return whether it lies there as it was written."""
        return not self._released and _state(self._path) == self._written

    def release(self) -> None:
        """Remove the file; a second call does nothing."""
        if not self._released:
            self._released = True
            self._path.unlink(missing_ok=True)


class FieldFolder:
    """The folder of one gateway. In memory, unless the environment names another."""

    def __init__(self, named: str | None = None, arena: int = -1) -> None:
        """Take the path of a folder, None for one of its own, and the descriptor of the runner's arena, if any."""
        self._own = named is None
        self._arena = arena
        self.path = SHM_FOLDER / f"{_PREFIX}{secrets.token_hex(8)}" if named is None else Path(named)
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder. What killed gateways left behind goes first."""
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
            # Another gateway may have taken it for a leftover in the instant before it was locked.
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)

    def take(self, shared_mem_id: str, image_meta: Mapping[str, Any]) -> FieldPicture:
        """Put the picture of a call into a file. It lies there in the color space that it came in.

        Raise CallRefusedError: 1006 for `image_meta`, 1002 for a picture elsewhere than in a slot, for one that is
        damaged or not what `image_meta` says, and where there is no room.
        """
        import numpy as np

        meta = check_meta(image_meta)
        pixels = self._pixels(shared_mem_id, meta)
        name = f"dev-shm:{secrets.token_hex(8)}"
        path = self.path / (re.sub(r"[^a-zA-Z0-9._-]", "_", name) + ".npy")
        try:
            with path.open("xb") as file:
                np.save(file, np.ascontiguousarray(pixels), allow_pickle=False)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED,
                "no_room",
                f"the picture can't be written to {path}: {error.strerror}; hint: the adapter reads files, and "
                f"{FOLDER_VARIABLE} can name a folder for them",
                retryable=True,
            ) from error
        told = {key: value for key, value in image_meta.items() if key not in ("encoding", "bits")}
        color_space = meta.color_space if meta.encoding == "raw" else "RGB"
        return FieldPicture(path, name, {**told, "color_space": color_space})

    def _pixels(self, shared_mem_id: str, meta: ImageMeta) -> NDArray[np.uint8]:
        """Return 8 bits a sample as they lay in the slot: H x W x 3 in its color space, or H x W; RGB of a file.

        The field's SDK would wrap 16 bits around, and read no encoded picture that it is not sure of.
        """
        if self._arena >= 0 and shared_mem_id.startswith(f"{ARENA_SCHEME}:"):
            rgb = self._of_arena(shared_mem_id, meta)
        else:
            rgb = _of_segment(shared_mem_id, meta)
        if meta.encoding == "raw" and meta.color_space == "BGR":
            return rgb[..., ::-1]
        return rgb[..., 0] if meta.encoding == "raw" and meta.color_space == "MONO" else rgb

    def _of_arena(self, shared_mem_id: str, meta: ImageMeta) -> NDArray[np.uint8]:
        offset, length, generation = parse_arena_id(shared_mem_id)
        if offset % ARENA_ALIGNMENT:
            raise refused("no_such_image", f"no slot begins at {offset}: they do at multiples of {ARENA_ALIGNMENT}")
        return read_slot(OpenedPicture(self._arena, "the arena", offset, length), meta, generation)

    def close(self) -> None:
        """Remove the folder, if it is the gateway's own."""
        if self._own and self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _of_segment(shared_mem_id: str, meta: ImageMeta) -> NDArray[np.uint8]:
    """Return the picture of a named segment. One of another user's is refused."""
    segment, generation = parse_slot_id(shared_mem_id)
    with opened_below(SHM_FOLDER, [segment], repr(segment)) as file:
        if file.owner != os.geteuid():
            raise refused(
                "no_such_image", f"{segment!r} belongs to the user {file.owner}, this gateway runs as {os.geteuid()}"
            )
        return read_slot(file, meta, generation)


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
