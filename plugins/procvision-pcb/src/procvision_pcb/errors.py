"""What can go wrong without being a defect.

NotComparableError      the reference or the picture can't be compared: never an OK, never an NG
"""

from __future__ import annotations


class NotComparableError(Exception):
    """Nothing was compared, so there is no verdict. The text says what, the bound and the value.

    Attributes:
        hint: what to do about it.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}; hint: {self.hint}"
