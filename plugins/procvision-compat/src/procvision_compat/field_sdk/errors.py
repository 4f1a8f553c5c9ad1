"""The field's four exceptions, as the ones that a host knows. Theirs are plain exceptions and take any arguments."""

from __future__ import annotations

from typing import Any

from procvision_sdk import errors


class RecoverableError(errors.RecoverableError):
    """Transient."""

    def __init__(self, *told: Any) -> None:
        super().__init__(_text(told))


class FatalError(errors.FatalError):
    """The process must be replaced."""

    def __init__(self, *told: Any) -> None:
        super().__init__(_text(told))


class GPUOutOfMemoryError(errors.GPUOutOfMemoryError):
    """The accelerator's memory ran out."""

    def __init__(self, *told: Any) -> None:
        super().__init__(_text(told))


class ProgramError(errors.ProgramError):
    """A fault in the algorithm."""

    def __init__(self, *told: Any) -> None:
        super().__init__(_text(told))


def _text(told: tuple[Any, ...]) -> str:
    return ", ".join(map(str, told))
