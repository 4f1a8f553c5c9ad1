"""What can go wrong.

SettingsError       the parameters contradict one another or the context lacks a key: never a verdict
ContentError        what a code says breaks the syntax it is to have: an NG
"""

from __future__ import annotations


class SettingsError(Exception):
    """The call can't be done as it was asked for. The text names the parameter and the value."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}; hint: {self.hint}"


class ContentError(ValueError):
    """A code's content breaks its syntax.

    Attributes:
        at: where, as an index into the content, from 0. The text counts from 1, as people do.
    """

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at

    def __str__(self) -> str:
        return f"character {self.at + 1}: {self.args[0]}"
