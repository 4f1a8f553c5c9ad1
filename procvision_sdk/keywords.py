"""A misspelt argument is an error of the method that its caller used, not of what lies below it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any


def only(allowed: AbstractSet[str], method: str, given: dict[str, Any]) -> dict[str, Any]:
    """Gives the keyword arguments back. Raises TypeError, in the method's name, for one that it doesn't take."""
    if given.keys() <= allowed:
        return given
    import difflib

    name = min(given.keys() - allowed)
    close = difflib.get_close_matches(name, allowed, n=1)
    raise TypeError(
        f"{method}() got an unexpected keyword argument {name!r}; hint: "
        + (f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(sorted(allowed))}")
    )
