"""Reading a picture: from the host's shared memory, never from a file, never a black one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from procvision_compat.pictures import picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_image_from_shared_memory(shared_mem_id: str, image_meta: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The picture of the call being executed.

    Raises CallRefusedError (1002) where the field's SDK would give a black picture: no picture, another call's, meta
    that isn't the call's.
    """
    return picture(shared_mem_id, image_meta)


def write_image_array_to_shared_memory(shared_mem_id: str, image_array: Any) -> None:  # noqa: ARG001 - the field's signature
    """Raise RuntimeError: the runner owns the pictures."""
    raise RuntimeError(
        f"{shared_mem_id!r} can't be written: pictures belong to the runner; "
        "hint: keep an array in the algorithm, under the session's id"
    )


dev_write_image_to_shared_memory = write_image_array_to_shared_memory


def dev_clear_shared_memory(shared_mem_id: str) -> None:
    """Nothing: there is nothing of the algorithm's to clear."""
