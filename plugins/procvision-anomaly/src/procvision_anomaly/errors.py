"""What keeps a picture from being inspected, or a model from being used or made.

AnomalyError
├── ModelError          the model file is missing, damaged, of another version or for another product
└── NotInspectableError the picture is none that the model can judge: never an OK, never an NG
"""

from __future__ import annotations


class AnomalyError(Exception):
    """The root. The text says what, the bound and the value; `hint` what to do about it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}; hint: {self.hint}"


class ModelError(AnomalyError):
    """There is no model to inspect with."""


class NotInspectableError(AnomalyError):
    """Nothing was inspected, so there is no verdict."""
