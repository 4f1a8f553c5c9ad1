"""The call's picture, as a field algorithm is given it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from procvision_sdk import read_image_from_shared_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COPY_VARIABLE = "PROCVISION_COMPAT_COPY_PICTURES"
"""Set to 1 for an algorithm that draws into its picture: it then gets a copy of its own, which may be written."""


def picture(shared_mem_id: str, image_meta: Mapping[str, Any]) -> NDArray[np.uint8]:
    """H x W x 3 uint8 RGB: a read-only view of shared memory, or a copy if the environment asks for it.

    Raises CallRefusedError (1002); the host then lets no OK of this call pass.
    """
    array: NDArray[np.uint8] = read_image_from_shared_memory(shared_mem_id, image_meta)
    return array.copy() if os.environ.get(COPY_VARIABLE) == "1" else array
