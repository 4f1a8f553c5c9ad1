"""Pictures of this process's own memory, as a host without a process needs them: each for one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.meta import ImageMeta
from procvision_sdk.images.view import rgb_view

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_sdk.images.view import RgbArray

SCHEME = "memory"


class MemoryImage:
    """One call's picture."""

    def __init__(self, array: RgbArray) -> None:
        self._array = array

    def array(self) -> RgbArray:
        """The picture, read-only."""
        return self._array

    def still_valid(self) -> None:
        """Nobody else has it."""


class MemoryImages:
    """The backend of the scheme `memory`: pictures by id, each for one call."""

    def __init__(self) -> None:
        self._pictures: dict[str, RgbArray] = {}
        self._count = 0

    def put(self, image: NDArray[np.uint8]) -> tuple[str, dict[str, Any]]:
        """The id and image_meta of a copy. Raises TypeError and ValueError for what is no picture."""
        import numpy as np

        if getattr(image, "dtype", None) != np.uint8:
            kind = getattr(image, "dtype", type(image).__name__)
            raise TypeError(
                f"a picture is an array of uint8, this is {kind}; hint: scale it, (picture >> 8) for 16 bits"
            )
        mono = image.ndim == 2
        if (not mono and (image.ndim != 3 or image.shape[2] != 3)) or not image.size:
            raise ValueError(f"a picture is H x W x 3 or H x W and not empty, this has the shape {image.shape}")
        height, width = image.shape[:2]
        color_space = "MONO" if mono else "RGB"
        self._count += 1
        shared_mem_id = f"{SCHEME}:{self._count}"
        self._pictures[shared_mem_id] = rgb_view(image.tobytes(), width, height, "MONO" if mono else "RGB")
        return shared_mem_id, {"width": width, "height": height, "color_space": color_space}

    def open(self, shared_mem_id: str, meta: ImageMeta) -> MemoryImage:  # noqa: ARG002 - made with its picture
        """The picture that an id names. Raises CallRefusedError (1002)."""
        array = self._pictures.get(shared_mem_id)
        if array is None:
            raise CallRefusedError(ErrorCode.IMAGE_LOAD_FAILED, "no_such_image", f"no picture {shared_mem_id!r:.90}")
        return MemoryImage(array)

    def clear(self) -> None:
        """Forgets the pictures of calls that are over."""
        self._pictures.clear()

    def close(self) -> None:
        """Forgets all."""
        self.clear()
