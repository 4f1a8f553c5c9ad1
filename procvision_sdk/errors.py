"""What can go wrong, as exceptions and as the codes that travel on the wire.

This is the tree of the whole project. What stands without a module is in this one.

ProcVisionError
├── AlgorithmError              raised by an algorithm; the host answers with an `error` frame
│   ├── RecoverableError            the same call may be tried again
│   ├── GPUOutOfMemoryError         may be tried again after a restart
│   ├── FatalError                  this process must be replaced: the host drains and exits 70
│   └── ProgramError                a fault in the algorithm's own logic
├── CallRefusedError            the host's checks refused the call, or what the algorithm returned
├── ManifestError               a manifest that is missing, unreadable or wrong
├── RunnerError                 raised by a runner: `procvision_sdk.call_errors`, `procvision_runner.errors`
│   ├── LaunchError                 the host never became ready
│   ├── SwapError                   the new version was not switched to; the old one serves on
│   ├── SlotsExhaustedError         every slot is leased, and none came back in time
│   └── CallError                   one call has no result, and won't get one
│       ├── CallFailedError             the host answered with an `error` frame
│       ├── CallTimeoutError            no answer within the call's timeout
│       ├── HostDiedError               the host ended, or was ended, before it answered
│       ├── ProtocolViolationError      the host answered with something that is no answer
│       ├── SessionLostError            the host that knew the session is gone
│       ├── SuspectPictureError         the picture ended two hosts: it is not tried again
│       ├── BrokenError                 the supervisor has given its algorithm up
│       └── RunnerStoppedError          the runner was stopped, or was not started
├── WireError                   `procvision_sdk.wire.errors`
│   ├── LocalProtocolError          our own side would break the protocol
│   └── RemoteProtocolError         the peer broke it
├── SessionStoreError           a session store failed: `procvision_sdk.session`
│   ├── SessionInUseError           another host has the session
│   └── ReadOnlyStoreError          the store answers, and takes no writes now
├── PlainValueError             a value that JSON can't carry: `procvision_sdk.plain`
├── HookOptionError             an option of a hook plugin is wrong: `procvision_sdk.hookspecs`
├── AmbiguousNameError          a plugin's name is not that of one distribution: `procvision_sdk.distributions`
└── TrainingError               a trainer can't learn from what it was given: `procvision_sdk.training`

Host and command have errors of their own below ProcVisionError, each beside what raises it.
An error that has a code of the protocol has it in `error_code`.
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

    `error_code` is an `ErrorCode` or a vendor's own string, `detail` any JSON value that helps the reader.
    """

    error_code: str = ErrorCode.UNKNOWN
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, error_code: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.detail = detail
        if error_code is not None:
            self.error_code = error_code


class RecoverableError(AlgorithmError):
    """Transient: the same call may well succeed if it is made again."""

    retryable = True


class GPUOutOfMemoryError(AlgorithmError):
    """The accelerator's memory ran out: worth another try in a fresh process."""

    error_code = ErrorCode.GPU_OUT_OF_MEMORY
    retryable = True


class FatalError(AlgorithmError):
    """This process can't go on: the host answers the call, drains and exits 70 to be replaced."""


class ProgramError(AlgorithmError):
    """A fault in the algorithm's own logic: the same call would fail again."""


class CallRefusedError(ProcVisionError):
    """A call, or what an algorithm returned, breaks a rule. Nothing of it may become a verdict.

    `kind` is a short machine-readable word (`invalid_pid`, `rect_outside`, …) which goes out as `data.kind`.
    """

    def __init__(self, error_code: str, kind: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.kind = kind
        self.retryable = retryable


class ManifestError(ProcVisionError):
    """A manifest is missing, is not JSON or breaks the schema. The text says where and how to mend it."""

    error_code: ClassVar[str] = ErrorCode.MANIFEST_INVALID
