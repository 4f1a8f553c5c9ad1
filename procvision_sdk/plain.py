"""Values that JSON can carry: what an algorithm returns, made of builtins only, or a clear refusal.

Numbers are finite, keys are strings, nesting is at most 60 deep (which also ends a cycle): whatever a message puts
around a value, the frame stays within the protocol's 64. NumPy scalars become the Python numbers they stand for,
tuples become lists; bytes, arrays and other objects are refused with the place where they stand, because a silent
conversion is how a wrong verdict gets out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from procvision_sdk.errors import ProcVisionError

MAX_DEPTH = 64
"""The protocol's bound on nesting; deeper JSON is neither sent nor accepted."""

MAX_VALUE_DEPTH = MAX_DEPTH - 4
"""The bound on one value; the most that stands around it are three objects, as in `data.debug.mean`."""

MAX_PLACE_CHARACTERS = 200
"""A place is for reading; that of a value which contains itself would be long."""

_ATOMS = frozenset((str, bool, int, type(None)))


class PlainValueError(ProcVisionError, ValueError):
    """A value that JSON can't carry; the text says where it stands."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.steps: list[str] = []
        """Keys and indexes from the value to the place, the innermost first."""


def plain(value: Any, where: str = "value", *, surrogates: bool = True) -> Any:
    """`value` rebuilt from dict, list, str, int, float, bool and None.

    `surrogates` says whether texts may hold lone ones, which no peer could read and an encoder replaces or refuses.
    Raises PlainValueError naming the place, such as `data.debug.mean`, for anything else.
    """
    try:
        rebuilt = _rebuilt_dict(value, 0) if type(value) is dict else _rebuilt(value, 0)
        if not surrogates:
            _without_surrogates(rebuilt)
    except PlainValueError as problem:
        raise PlainValueError(f"{_place(where, problem)} {problem}") from None
    return rebuilt


def refuse_surrogates(text: str, where: str) -> None:
    """Raise PlainValueError for a text with a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PlainValueError(f"{where} {_SURROGATE}") from None


_SURROGATE = "has a lone surrogate (U+D800 to U+DFFF), which is no character; hint: decode with errors='replace'"


def _without_surrogates(value: Any) -> None:
    """Look at every text of a value that was rebuilt."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            refuse_surrogates(value, "")
    elif kind is dict or kind is list:
        for step, item in value.items() if kind is dict else enumerate(value):
            try:
                if kind is dict:
                    _without_surrogates(step)
                _without_surrogates(item)
            except PlainValueError as problem:
                problem.steps.append(f".{step!a}" if kind is dict else f"[{step}]")
                raise


def _rebuilt(value: Any, depth: int) -> Any:
    """What `plain` gives. The place of what it refuses is gathered on the way out: an answer is refused rarely."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is float:
        if not isfinite(value):
            raise PlainValueError(f"is {value}: numbers are finite on the wire")
        return value
    if kind is dict or isinstance(value, dict):
        return _rebuilt_dict(value, depth)
    if kind is list or kind is tuple or isinstance(value, (list, tuple)):
        return _rebuilt_list(value, depth)
    return _converted(value)


def _rebuilt_dict(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if depth >= MAX_VALUE_DEPTH:
        raise _too_deep()
    out: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise PlainValueError(f"has the key {key!r:.80}: keys are strings")
        try:
            if type(item) in _ATOMS:
                out[key] = item
            else:
                out[key] = _rebuilt_dict(item, depth + 1) if type(item) is dict else _rebuilt(item, depth + 1)
        except PlainValueError as problem:
            problem.steps.append(f".{key}")
            raise
    return out


def _rebuilt_list(value: Iterable[Any], depth: int) -> list[Any]:
    if depth >= MAX_VALUE_DEPTH:
        raise _too_deep()
    out: list[Any] = []
    for item in value:
        try:
            out.append(_rebuilt(item, depth + 1))
        except PlainValueError as problem:
            problem.steps.append(f"[{len(out)}]")
            raise
    return out


def _too_deep() -> PlainValueError:
    return PlainValueError(f"nests deeper than {MAX_VALUE_DEPTH} levels, or contains itself")


def _place(where: str, problem: PlainValueError) -> str:
    return (where + "".join(reversed(problem.steps)))[:MAX_PLACE_CHARACTERS]


def _converted(value: Any) -> Any:
    # Subclasses of builtins (enums, numpy.float64) are what they are built on, whatever they call themselves.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _rebuilt(float(value), 0)
    # A NumPy scalar; an array is refused, whatever its size, one without dimensions included.
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ != "ndarray" and hasattr(value, "item"):
        item = value.item()
        if type(item) in _ATOMS or type(item) is float:
            return _rebuilt(item, 0)
    raise PlainValueError(f"is a {type(value).__qualname__}: JSON carries dict, list, str, int, float, bool and None")
