"""Pictures in this process's own memory, for a host without a process. Each is for one call."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.meta import CHANNELS, ColorSpace, ImageMeta
from procvision_sdk.images.picture import Picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_sdk.images.view import RgbArray

SCHEME = "memory"


class MemoryLease:
    """Memory for one picture that isn't there yet. A context manager: leaving it gives the memory back."""

    bits: int | None = None

    def __init__(self, width: int, height: int, color_space: ColorSpace) -> None:
        import numpy as np

        self.color_space = color_space
        channels = CHANNELS[color_space]
        shape = (height, width) if channels == 1 else (height, width, channels)
        self._array: NDArray[np.uint8] | None = np.zeros(shape, np.uint8)

    @property
    def array(self) -> NDArray[np.uint8]:
        """The memory, H x W x 3 or, for MONO, H x W. Raises ValueError once it was given back."""
        if self._array is None:
            raise ValueError("this lease was given back: lend memory for each picture")
        return self._array

    def release(self) -> None:
        """Give the memory back; its array only reads from now on, as a slot's. A second call does nothing."""
        if self._array is not None:
            self._array.setflags(write=False)
            self._array = None

    def __enter__(self) -> MemoryLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class MemoryImage:
    """One call's picture."""

    def __init__(self, array: RgbArray) -> None:
        self._array = array

    def array(self) -> RgbArray:
        """Return the picture, read-only."""
        return self._array

    def still_valid(self) -> None:
        """Do nothing: no other process can change it."""


class MemoryImages:
    """The backend of the scheme `memory`: pictures by id, each for one call."""

    def __init__(self) -> None:
        self._pictures: dict[str, bytes] = {}
        self._count = 0

    def put(self, picture: Picture) -> str:
        """Copy a picture's pixels, or its file; return the id."""
        self._count += 1
        shared_mem_id = f"{SCHEME}:{self._count}"
        if picture.pixels is not None:
            self._pictures[shared_mem_id] = picture.pixels.tobytes()
        else:
            assert picture.data is not None
            self._pictures[shared_mem_id] = picture.data
        return shared_mem_id

    def open(self, shared_mem_id: str, meta: ImageMeta) -> MemoryImage:
        """Return the picture that an id names, decoded where it is encoded. Raises CallRefusedError (1002)."""
        from procvision_sdk.images.decode import decode
        from procvision_sdk.images.view import deep_rgb, rgb_view

        data = self._pictures.get(shared_mem_id)
        if data is None:
            raise CallRefusedError(ErrorCode.IMAGE_LOAD_FAILED, "no_such_image", f"no picture {shared_mem_id!r:.90}")
        if meta.encoding != "raw":
            return MemoryImage(decode(data, meta))
        if meta.bits is not None and meta.bits > 8:
            return MemoryImage(deep_rgb(data, meta.width, meta.height, meta.color_space, meta.bits))
        return MemoryImage(rgb_view(data, meta.width, meta.height, meta.color_space))

    def clear(self) -> None:
        """Forget the pictures of calls that are over."""
        self._pictures.clear()

    def close(self) -> None:
        """Forget all."""
        self.clear()
