"""The hook plugin: the scheme `dev-shm`, and where its files are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procvision_sdk.hookspecs import HookOption, hookimpl

if TYPE_CHECKING:
    from procvision_sdk.images.backend import ImageBackend

FOLDER_VARIABLE = "PROC_SHM_DIR"
FOLDER_IN_TEMP = "procvision_dev_shm"
"""Where runners in the field put pictures if the variable above isn't set."""


class LegacyImagesPlugin:
    """Used as soon as it is installed; nothing is imported before the first picture."""

    def __init__(self) -> None:
        self._folder = Path()

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Where the files are."""
        default = f"{FOLDER_VARIABLE}, or {FOLDER_IN_TEMP} in the folder for temporary files"
        return [HookOption("folder", str, "", f"the pictures' folder; empty is {default}")]

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """The folder needn't be there yet."""
        named = values["folder"] or os.environ.get(FOLDER_VARIABLE)
        self._folder = Path(named) if named else Path(tempfile.gettempdir()) / FOLDER_IN_TEMP

    @hookimpl
    def procvision_image_backends(self) -> Mapping[str, Callable[[], ImageBackend]]:
        """The scheme `dev-shm`."""
        return {"dev-shm": self._made}

    def _made(self) -> ImageBackend:
        from procvision_legacy_images.backend import LegacyImages

        return LegacyImages(self._folder)
