"""`read_image_from_shared_memory`, the function an algorithm calls for its picture.

The seed's signature names only an id and its meta, so the reader behind it is bound to the process: a host binds
its own before it loads the algorithm, a test binds one for as long as it needs it. Any thread may read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from procvision_sdk.errors import CallRefusedError, ErrorCode

if TYPE_CHECKING:
    from procvision_sdk.images.view import RgbArray

ImageReader: TypeAlias = Callable[[str, Mapping[str, Any]], "RgbArray"]

_bound: list[ImageReader] = []


@contextmanager
def bind_image_reader(reader: ImageReader) -> Iterator[None]:
    """Make `reader` the one behind `read_image_from_shared_memory` for as long as the block lasts."""
    _bound.append(reader)
    try:
        yield
    finally:
        _bound.remove(reader)


def read_image_from_shared_memory(shared_mem_id: str, image_meta: Mapping[str, Any]) -> RgbArray:
    """Return the picture of the call being executed: H x W x 3, uint8, RGB, read-only.

    It is a view of shared memory where the layout allows it and is valid until the call returns: copy what is to
    be kept. Raises CallRefusedError (1002) if the id isn't the one this call came with, or nothing lies there.
    """
    if not _bound:
        raise CallRefusedError(
            ErrorCode.IMAGE_LOAD_FAILED,
            "no_host",
            "pictures can only be read inside a host; hint: in a test, use procvision_testing",
        )
    return _bound[-1](shared_mem_id, image_meta)
