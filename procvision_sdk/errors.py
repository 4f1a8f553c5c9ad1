"""What can go wrong, as exceptions and as the codes that travel on the wire.

ProcVisionError
├── AlgorithmError          raised by an algorithm; the host answers with an `error` frame
│   ├── RecoverableError        the same call may be tried again
│   ├── GPUOutOfMemoryError     may be tried again after a restart
│   ├── FatalError              this process must be replaced: the host drains and exits 70
│   └── ProgramError            a fault in the algorithm's own logic
├── CallRefusedError        the host's checks refused the call or what came back from it
├── ManifestError           a manifest that is missing, unreadable or wrong
└── WireError               `procvision_sdk.wire.errors`
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

__all__ = [
    "AlgorithmError",
    "CallRefusedError",
    "ErrorCode",
    "FatalError",
    "GPUOutOfMemoryError",
    "ManifestError",
    "ProcVisionError",
    "ProgramError",
    "RecoverableError",
]


class ErrorCode(StrEnum):
    """The error codes of the protocol, strings as they are on the wire."""

    PROTOCOL = "1000"
    INVALID_PID = "1001"
    IMAGE_LOAD_FAILED = "1002"
    ASSET_NOT_FOUND = "1003"
    GPU_OUT_OF_MEMORY = "1004"
    TIMEOUT = "1005"
    INVALID_PARAMS = "1006"
    COORDINATES_INVALID = "1007"
    CANCELLED = "1008"
    HOOK_PLUGIN_FAILED = "1009"
    CONFIGURATION_INVALID = "1010"
    INVALID_PACKAGE = "2001"
    MANIFEST_INVALID = "2002"
    INCOMPATIBLE_PYTHON = "2003"
    WHEELS_MISSING = "2004"
    INSTALL_FAILED = "2005"
    ACTIVATION_CONFLICT = "2006"
    UNSAFE_UNINSTALL = "2007"
    UNKNOWN = "9999"


class ProcVisionError(Exception):
    """The root of everything that ProcVision raises on purpose."""


class AlgorithmError(ProcVisionError):
    """An algorithm could not do what was asked.

    `code` is an `ErrorCode` or a vendor's own string, `detail` any JSON value that helps whoever reads it.
    """

    code: str = ErrorCode.UNKNOWN
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, code: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.detail = detail
        if code is not None:
            self.code = code


class RecoverableError(AlgorithmError):
    """Transient: the same call may well succeed if it is made again."""

    retryable = True


class GPUOutOfMemoryError(AlgorithmError):
    """The accelerator's memory ran out: worth another try in a fresh process."""

    code = ErrorCode.GPU_OUT_OF_MEMORY
    retryable = True


class FatalError(AlgorithmError):
    """This process can't go on: the host answers the call, drains and exits 70 to be replaced."""


class ProgramError(AlgorithmError):
    """A fault in the algorithm's own logic: the same call would fail again."""


class CallRefusedError(ProcVisionError):
    """A call, or what an algorithm returned, breaks a rule. Nothing of it may become a verdict.

    `kind` is a short machine-readable word (`invalid_pid`, `rect_outside`, …) which goes out as `data.kind`.
    """

    def __init__(self, code: str, kind: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.retryable = retryable


class ManifestError(ProcVisionError):
    """A manifest is missing, is not JSON or breaks the schema. The text says where and how to mend it."""

    code: ClassVar[str] = ErrorCode.MANIFEST_INVALID
