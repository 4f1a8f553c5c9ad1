"""What stands in for shared memory where a test calls an algorithm's methods by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class LentPictures:
    """Pictures by id; `read_image_from_shared_memory` gives them while the fixture `lent_pictures` is in use."""

    def __init__(self) -> None:
        self._pictures: dict[str, NDArray[np.uint8]] = {}

    def put(self, picture: NDArray[np.uint8]) -> tuple[str, dict[str, Any]]:
        """Return a `shared_mem_id` and the `image_meta` for a picture (H x W x 3 RGB or H x W, uint8).

        The algorithm sees it as from a host: read-only, H x W x 3, a MONO one as a broadcast view.
        """
        shared_mem_id = f"test:{len(self._pictures)}"
        array = picture if picture.ndim == 3 else np.broadcast_to(picture[:, :, None], (*picture.shape, 3))
        array = array.view()
        array.flags.writeable = False
        self._pictures[shared_mem_id] = array
        return shared_mem_id, {"width": picture.shape[1], "height": picture.shape[0]}

    def read(self, shared_mem_id: str, image_meta: Mapping[str, Any]) -> NDArray[np.uint8]:  # noqa: ARG002 - the reader's form
        """Return the picture that was put under this id. Raises KeyError for any other."""
        return self._pictures[shared_mem_id]
