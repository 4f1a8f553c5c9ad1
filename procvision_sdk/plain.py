"""Values that JSON can carry: what an algorithm returns, made of builtins only, or a clear refusal.

Numbers are finite, keys are strings, nesting is at most 60 deep (which also ends a cycle): whatever a message puts
around a value, the frame stays within the protocol's 64. NumPy scalars become the Python numbers they stand for,
tuples become lists; bytes, arrays and other objects are refused with the place where they stand, because a silent
conversion is how a wrong verdict gets out.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from procvision_sdk.errors import ProcVisionError

MAX_DEPTH = 64
"""The protocol's bound on nesting; deeper JSON is neither sent nor accepted."""

MAX_VALUE_DEPTH = MAX_DEPTH - 4
"""The bound on one value; the most that stands around it are three objects, as in `data.debug.mean`."""

_ATOMS = frozenset((str, bool, int, type(None)))


class PlainValueError(ProcVisionError, ValueError):
    """A value that JSON can't carry; the text says where it stands."""


def plain(value: Any, where: str = "value", depth: int = 0) -> Any:
    """`value` rebuilt from dict, list, str, int, float, bool and None.

    Raises PlainValueError naming the place, such as `data.debug.mean`, for anything else.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is float:
        if not isfinite(value):
            raise PlainValueError(f"{where} is {value}: numbers are finite on the wire")
        return value
    if kind is dict or isinstance(value, dict):
        if depth >= MAX_VALUE_DEPTH:
            raise PlainValueError(f"{where[:200]} nests deeper than {MAX_VALUE_DEPTH} levels, or contains itself")
        out: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str:
                raise PlainValueError(f"{where} has the key {key!r:.80}: keys are strings")
            item_kind = type(item)
            out[key] = item if item_kind in _ATOMS else plain(item, f"{where}.{key}", depth + 1)
        return out
    if kind is list or kind is tuple or isinstance(value, (list, tuple)):
        if depth >= MAX_VALUE_DEPTH:
            raise PlainValueError(f"{where[:200]} nests deeper than {MAX_VALUE_DEPTH} levels, or contains itself")
        return [plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _converted(value, where)


def _converted(value: Any, where: str) -> Any:
    # Subclasses of builtins (enums, numpy.float64) are what they are built on, whatever they call themselves.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return plain(float(value), where)
    # A NumPy scalar; an array is refused, whatever its size, one without dimensions included.
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ != "ndarray" and hasattr(value, "item"):
        item = value.item()
        if type(item) in _ATOMS or type(item) is float:
            return plain(item, where)
    raise PlainValueError(
        f"{where} is a {type(value).__qualname__}: JSON carries dict, list, str, int, float, bool and None"
    )
