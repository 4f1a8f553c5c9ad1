"""Values that JSON can carry."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import Any

import numpy as np
import pytest

from procvision_sdk.plain import MAX_DEPTH, MAX_VALUE_DEPTH, PlainValueError, plain


class Colour(StrEnum):
    """A string that is more than a string."""

    RED = "red"


class Verdict(str, Enum):  # noqa: UP042 - the older spelling, whose str() is "Verdict.NG"
    """The same, as vendors spell it."""

    NG = "NG"


class Level(IntEnum):
    """A number that is more than a number."""

    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (2**70, 2**70),
        (0.1, 0.1),
        ("ü", "ü"),
        ((1, (2,)), [1, [2]]),
        ({"a": ({},)}, {"a": [{}]}),
        (np.int64(-3), -3),
        (np.uint8(255), 255),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (Colour.RED, "red"),
        (Verdict.NG, "NG"),
        (Level.HIGH, 3),
    ],
)
def test_value_becomes_builtins(value: Any, expected: Any) -> None:
    """And nothing but builtins."""
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "result is nan"),
        ({"a": [1, float("inf")]}, r"result\.a\[1\] is inf"),
        ({"a": np.float32("nan")}, r"result\.a is nan"),
        ({"a": {1: 2}}, r"result\.a has the key 1"),
        ({"a": b"x"}, r"result\.a is a bytes"),
        ([np.zeros(3)], r"result\[0\] is a ndarray"),
        (np.zeros(()), "result is a ndarray"),
        ({"a": {1}}, "result.a is a set"),
        (object(), "result is a object"),
        ({"a": 1j}, "result.a is a complex"),
        ({"a": np.datetime64("2020-01-01")}, "result.a is a datetime64"),
    ],
)
def test_refusal_names_the_place(value: Any, place: str) -> None:
    """A silent conversion is how a wrong verdict gets out."""
    with pytest.raises(PlainValueError, match=place):
        plain(value, "result")


def test_depth_is_exact() -> None:
    """The bound leaves room for what a message puts around the value."""
    value: Any = []
    for _ in range(MAX_VALUE_DEPTH - 1):
        value = [value]
    assert plain(value) == value
    with pytest.raises(PlainValueError, match=f"deeper than {MAX_VALUE_DEPTH}"):
        plain([value])
    assert MAX_VALUE_DEPTH + 3 < MAX_DEPTH


def test_cycle_is_refused() -> None:
    """It nests without end."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(PlainValueError, match="contains itself"):
        plain(cycle)


def test_what_is_given_is_not_changed() -> None:
    """The result is built anew."""
    value = {"a": [1, (2,)]}
    result = plain(value)
    result["a"].append(3)
    assert value == {"a": [1, (2,)]}
