"""What can be wrong with a field package once it is imported."""

from __future__ import annotations

from procvision_sdk.errors import ErrorCode, ProgramError


class FieldPackageError(ProgramError):
    """The package's entry point can't be used as an algorithm. The text says what is there and what is asked for."""

    code = ErrorCode.INVALID_PACKAGE
