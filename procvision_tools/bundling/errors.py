"""What can be wrong with a bundle or its making, by the protocol's codes of packages."""

from __future__ import annotations

from procvision_sdk.errors import ErrorCode, ProcVisionError


class BundleError(ProcVisionError):
    """A bundle can't be made, or must not be used.

    ``error_code`` is one of 2001 to 2007. The text may end with a hint.
    """

    def __init__(self, error_code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
