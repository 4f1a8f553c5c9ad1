"""A call's `user_params` against a step's declaration."""

from __future__ import annotations

from typing import Any

import pytest

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.manifest.parameters import (
    BoolParameter,
    EnumParameter,
    FloatParameter,
    IntParameter,
    ParameterSchema,
    RectParameter,
    StringParameter,
)

RECT = {"x": 1, "y": 2, "width": 3, "height": 4}
SCHEMA = ParameterSchema(
    1,
    [
        IntParameter(key="whole", min=0, max=10, default=5),
        FloatParameter(key="real", min=0.5, max=1.5),
        BoolParameter(key="flag", default=False),
        StringParameter(key="text", min_length=2, max_length=4, pattern="[a-z]+"),
        EnumParameter(key="choice", choices=["a", "b"]),
        RectParameter(key="region", default=RECT),
    ],
)


def test_what_is_left_out_has_its_default() -> None:
    """And what has none stays out."""
    assert SCHEMA.completed(None, None) == {"whole": 5, "flag": False, "region": RECT}
    assert SCHEMA.completed({"whole": 6, "choice": "a"}, None)["choice"] == "a"


def test_default_that_an_algorithm_changes_is_the_next_calls_default_all_the_same() -> None:
    """Each call has its own."""
    SCHEMA.completed(None, None)["region"]["x"] = 99
    SCHEMA.completed(None, None)["flag"] = True
    assert SCHEMA.completed(None, None) == {"whole": 5, "flag": False, "region": RECT}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("whole", 0),
        ("whole", 10),
        ("real", 0.5),
        ("real", 1),
        ("flag", True),
        ("text", "ab"),
        ("text", "abcd"),
        ("choice", "b"),
        ("region", {"x": 0, "y": 0, "width": 20, "height": 10}),
    ],
)
def test_value_at_the_bound_is_allowed(key: str, value: Any) -> None:
    """Bounds are included."""
    assert SCHEMA.completed({key: value}, (20, 10))[key] == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("whole", -1),
        ("whole", 11),
        ("whole", 5.0),
        ("whole", "5"),
        ("whole", True),
        ("whole", None),
        ("real", 0.49),
        ("real", 2),
        ("real", float("nan")),
        ("real", float("inf")),
        ("real", 10**400),
        ("real", True),
        ("real", "1"),
        ("flag", 1),
        ("flag", "true"),
        ("flag", None),
        ("text", "a"),
        ("text", "abcde"),
        ("text", "ab1"),
        ("text", "ab\n"),
        ("text", 7),
        ("choice", "c"),
        ("choice", None),
        ("choice", ["a"]),
        ("region", None),
        ("region", [1, 2, 3, 4]),
        ("region", {"x": 1}),
        ("region", {**RECT, "z": 1}),
        ("region", {**RECT, "x": "1"}),
        ("region", {**RECT, "x": float("nan")}),
        ("region", {**RECT, "x": 10**400}),
        ("region", {**RECT, "x": -1}),
        ("region", {**RECT, "width": 0}),
        ("region", {**RECT, "width": 20}),
        ("unheard_of", 1),
    ],
    ids=lambda value: str(value)[:40],
)
def test_value_that_is_not_allowed_is_refused_by_name(key: str, value: Any) -> None:
    """1006, with the parameter, and a text of a readable length."""
    with pytest.raises(CallRefusedError, match=key) as caught:
        SCHEMA.completed({key: value}, (20, 10))
    assert (caught.value.error_code, caught.value.kind) == ("1006", "bad_parameter")
    assert len(str(caught.value)) < 600


def test_required_parameter_is_asked_for() -> None:
    """By name."""
    schema = ParameterSchema(2, [StringParameter(key="serial", required=True)])
    with pytest.raises(CallRefusedError, match="step 2: parameter 'serial' is required and missing"):
        schema.completed({}, None)
    assert schema.completed({"serial": ""}, None) == {"serial": ""}
