"""Does a frame look as a table says? A pattern is JSON; what it doesn't mention may be anything.

An object's fields must match each; a list must have as many items, each matching; anything else must be equal.
Instead of a value may stand `{"$any": true}`, `{"$absent": true}`, `{"$is": "string" | "integer" | "number" |
"boolean" | "object" | "array"}`, `{"$one_of": […]}`, `{"$none_of": […]}`
(absent fits, too), `{"$lacks": item}` (an array without it), `{"$matches": "regular expression"}`, `{"$at_least": n}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_ABSENT = object()
_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def mismatch(pattern: Any, value: Any, where: str = "frame") -> str | None:
    """Return why `value` doesn't match, naming the place; None if it does."""
    if isinstance(pattern, dict):
        special = [key for key in pattern if key.startswith("$")]
        if special:
            return _special(special[0], pattern[special[0]], value, where)
        if not isinstance(value, dict):
            return f"{where} is {_shown(value)}, expected an object"
        for key, inner in pattern.items():
            problem = mismatch(inner, value.get(key, _ABSENT), f"{where}.{key}")
            if problem:
                return problem
        return None
    if isinstance(pattern, list):
        if not isinstance(value, list) or len(value) != len(pattern):
            return f"{where} is {_shown(value)}, expected an array of {len(pattern)}"
        problems = (mismatch(inner, item, f"{where}[{i}]") for i, (inner, item) in enumerate(zip(pattern, value)))  # noqa: B905
        return next(filter(None, problems), None)
    if type(pattern) is not type(value) or pattern != value:
        return f"{where} is {_shown(value)}, expected {_shown(pattern)}"
    return None


def _special(name: str, argument: Any, value: Any, where: str) -> str | None:
    if name == "$none_of":
        unwanted = value is not _ABSENT and any(mismatch(choice, value) is None for choice in argument)
        return f"{where} is {_shown(value)}, expected none of {_shown(argument)}" if unwanted else None
    if name == "$absent":
        return None if value is _ABSENT else f"{where} is {_shown(value)}, expected none"
    if value is _ABSENT:
        return f"{where} is missing"
    fits: dict[str, Callable[[], bool]] = {
        "$any": lambda: True,
        "$is": lambda: isinstance(value, _TYPES[argument]) and (argument == "boolean") == isinstance(value, bool),
        "$one_of": lambda: any(mismatch(choice, value) is None for choice in argument),
        "$lacks": lambda: isinstance(value, list) and argument not in value,
        "$matches": lambda: isinstance(value, str) and re.search(argument, value) is not None,
        "$at_least": lambda: isinstance(value, (int, float)) and not isinstance(value, bool) and value >= argument,
    }
    if name not in fits:
        raise ValueError(f"a pattern knows no {name}")
    return None if fits[name]() else f"{where} is {_shown(value)}, expected {name[1:]} {_shown(argument)}"


def _shown(value: Any) -> str:
    return "missing" if value is _ABSENT else repr(value)[:200]
