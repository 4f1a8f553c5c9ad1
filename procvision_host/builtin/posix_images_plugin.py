"""Pictures in POSIX shared memory: `shm:SEGMENT:GENERATION`, for runners that hand no arena on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from procvision_host.builtin.posix_images import PosixImages
from procvision_sdk.hookspecs import hookimpl
from procvision_sdk.images.layout import SCHEME

if TYPE_CHECKING:
    from procvision_sdk.images.backend import ImageBackend


@hookimpl
def procvision_image_backends() -> Mapping[str, Callable[[], ImageBackend]]:
    """Return the scheme `shm`."""
    return {SCHEME: PosixImages}
