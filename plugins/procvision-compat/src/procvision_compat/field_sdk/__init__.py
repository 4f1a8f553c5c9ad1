"""The names of `procvision_algorithm_sdk` 0.0.x and 0.3.x, standing on this SDK.

`install` puts them where a field algorithm imports them from, before anything of that name that may be installed: the
original reads pictures from files, and gives a black one where it finds none.
"""

from __future__ import annotations

import importlib
import sys

from procvision_compat.field_sdk.base import BaseAlgorithm
from procvision_compat.field_sdk.diagnostics import Diagnostics
from procvision_compat.field_sdk.errors import FatalError, GPUOutOfMemoryError, ProgramError, RecoverableError
from procvision_compat.field_sdk.logger import StructuredLogger
from procvision_compat.field_sdk.session import Session
from procvision_compat.field_sdk.shared_memory import (
    read_image_from_shared_memory,
    write_image_array_to_shared_memory,
)

__all__ = [
    "BaseAlgorithm",
    "Diagnostics",
    "FatalError",
    "GPUOutOfMemoryError",
    "ProgramError",
    "RecoverableError",
    "Session",
    "StructuredLogger",
    "read_image_from_shared_memory",
    "write_image_array_to_shared_memory",
]

NAME = "procvision_algorithm_sdk"
MODULES = ("base", "diagnostics", "errors", "logger", "session", "shared_memory")


def install() -> None:
    """Make these modules importable under the field's names, for the whole process."""
    sys.modules[NAME] = sys.modules[__name__]
    for module in MODULES:
        sys.modules[f"{NAME}.{module}"] = importlib.import_module(f"{__name__}.{module}")
