"""What gives image memory: the protocol that a host's image backends follow.

A backend answers for the ids of one scheme, the part of `shared_mem_id` before the first colon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.view import RgbArray


class OpenedImage(Protocol):
    """One call's picture, checked: what is wrong with it was raised when it was opened."""

    def array(self) -> RgbArray:
        """Return the picture, H x W x 3 uint8 RGB, read-only; the same object at each call."""

    def still_valid(self) -> None:
        """Raise CallRefusedError (1002) if the memory was given to another picture meanwhile."""


@runtime_checkable
class ImageBackend(Protocol):
    """Gives the pictures of one scheme. A host calls it from one thread."""

    def open(self, shared_mem_id: str, meta: ImageMeta) -> OpenedImage:
        """Return the picture that an id names. Raises CallRefusedError (1002) for whatever keeps it from being read."""

    def close(self) -> None:
        """Give back what the backend holds; a second call does nothing."""
