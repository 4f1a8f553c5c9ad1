"""What can go wrong without being a defect.

NotComparableError      the reference or the picture can't be compared: never an OK, never an NG
"""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "format", "contrast", "size", "agreement", "shift", "part shown", "noise", "blur", "edges", "area", "astray"
]
"""What differs: the picture's format, its contrast, its size, the two coppers' correlation, where the board lies, how
much of it is shown, the noise, the blur, where edges lie all over, how
much of the area differs, how many edges aren't where they should be."""


class NotComparableError(Exception):
    """Nothing was compared, so there is no verdict. The text says what, the bound and the value.

    Attributes:
        reason: what differs, in a word or two.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, reason: Reason, hint: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}; hint: {self.hint}"
