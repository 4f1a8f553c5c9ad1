"""ProcVision's contract: what a vendor's algorithm, a host, a runner and a hook plugin agree on.

The names below are loaded when they are first used, so that importing a part of the package costs that part alone.
"""

from __future__ import annotations

from procvision_sdk._lazy import lazy_names

# Not from `typing`: a host says hello before it imports that much.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from procvision_sdk.algorithm import BaseAlgorithm
    from procvision_sdk.diagnostics import Diagnostics
    from procvision_sdk.errors import (
        AlgorithmError,
        ErrorCode,
        FatalError,
        GPUOutOfMemoryError,
        ProcVisionError,
        ProgramError,
        RecoverableError,
    )
    from procvision_sdk.hookspecs import hookimpl
    from procvision_sdk.images.reading import read_image_from_shared_memory
    from procvision_sdk.logging import StructuredLogger
    from procvision_sdk.results import Defect, Failed, Ng, Ok, Prepared, Rect
    from procvision_sdk.session import Session

_HOMES = {
    "AlgorithmError": "errors",
    "BaseAlgorithm": "algorithm",
    "Defect": "results",
    "Diagnostics": "diagnostics",
    "ErrorCode": "errors",
    "Failed": "results",
    "FatalError": "errors",
    "GPUOutOfMemoryError": "errors",
    "Ng": "results",
    "Ok": "results",
    "Prepared": "results",
    "ProcVisionError": "errors",
    "ProgramError": "errors",
    "RecoverableError": "errors",
    "Rect": "results",
    "Session": "session",
    "StructuredLogger": "logging",
    "hookimpl": "hookspecs",
    "read_image_from_shared_memory": "images.reading",
}

__all__ = [
    "AlgorithmError",
    "BaseAlgorithm",
    "Defect",
    "Diagnostics",
    "ErrorCode",
    "Failed",
    "FatalError",
    "GPUOutOfMemoryError",
    "Ng",
    "Ok",
    "Prepared",
    "ProcVisionError",
    "ProgramError",
    "RecoverableError",
    "Rect",
    "Session",
    "StructuredLogger",
    "hookimpl",
    "read_image_from_shared_memory",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
