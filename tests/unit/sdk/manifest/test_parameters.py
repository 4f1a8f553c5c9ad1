"""A call's `user_params` against a step's declaration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from procvision_sdk.errors import CallRefusedError, ManifestError
from procvision_sdk.manifest.parameters import (
    BoolParameter,
    EnumParameter,
    FloatParameter,
    IntParameter,
    ListParameter,
    ObjectParameter,
    ParameterSchema,
    RectParameter,
    StringParameter,
    own_problems,
)
from procvision_sdk.manifest.reading import parse_manifest

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


LISTS = ParameterSchema(
    1,
    [
        ListParameter(key="points", of="int", min=0, max=9, min_items=1, max_items=3, default=[1, 2]),
        ListParameter(key="limits", of="float", min=0.5),
        ListParameter(key="names", of="string", pattern="[a-z]+", max_length=3),
        ListParameter(key="sides", of="enum", choices=["top", "left"]),
        ListParameter(key="flags", of="bool"),
        ObjectParameter(key="free", default={"a": [1]}),
    ],
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("points", [0]),
        ("points", [9, 0, 5]),
        ("limits", []),
        ("limits", [0.5, 7]),
        ("names", ["abc", "x"]),
        ("sides", ["left", "left"]),
        ("flags", [True, False]),
        ("free", {}),
        ("free", {"deep": [{"x": None}]}),
    ],
)
def test_a_list_and_an_object_are_taken(key: str, value: Any) -> None:
    """Each value of a list within its kind's bounds; of an object, whatever it holds."""
    assert LISTS.completed({key: value}, None)[key] == value


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("points", [], "has 0 values, allowed are 1..3"),
        ("points", [1, 2, 3, 4], "has 4 values"),
        ("points", [1, 10], "at place 2 what is 10, allowed is 0..9"),
        ("points", [1.5], "a whole number is asked for"),
        ("points", [True], "a whole number is asked for"),
        ("points", "12", "a list is asked for"),
        ("points", {"0": 1}, "a list is asked for"),
        ("limits", [0.4], "allowed is 0.5..inf"),
        ("names", ["abcd"], "has 4 characters"),
        ("names", ["A"], "doesn't match"),
        ("sides", ["right"], "allowed are top, left"),
        ("flags", [1], "true or false is asked for"),
        ("free", [], "an object is asked for"),
        ("free", None, "an object is asked for"),
    ],
)
def test_a_list_or_an_object_out_of_bounds_is_refused_with_its_place(key: str, value: Any, text: str) -> None:
    """As 1006, naming the parameter, the bound and the value."""
    with pytest.raises(CallRefusedError, match=key) as caught:
        LISTS.completed({key: value}, None)
    assert text in str(caught.value)
    assert caught.value.error_code == "1006"


def test_a_default_that_is_changed_at_any_depth_is_the_next_calls_default_all_the_same() -> None:
    """Lists and objects are made anew for each call."""
    LISTS.completed(None, None)["free"]["a"].append(2)
    LISTS.completed(None, None)["points"].clear()
    assert LISTS.completed(None, None) == {"points": [1, 2], "free": {"a": [1]}}


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (ListParameter(key="a", of="int", pattern="x"), "pattern is not for a list of int"),
        (ListParameter(key="a", of="string", min=1), "min is not for a list of string"),
        (ListParameter(key="a", of="enum"), "needs choices"),
        (ListParameter(key="a", of="float", min_items=3, max_items=2), "min_items 3 is above max_items 2"),
        (ListParameter(key="a", of="int", min=3, max=2), "min 3 is above max 2"),
        (ListParameter(key="a", of="int", max=2, default=[3]), "its default has at place 1 what is 3"),
        (StringParameter(key="a", pattern="("), "no regular expression of RE2"),
        (StringParameter(key="a", pattern="(?=a)b"), "look-around"),
        (StringParameter(key="a", pattern=r"(a)\1"), "back references"),
        (StringParameter(key="a", pattern="((a{1000}){1000}){1000}"), "counts over 1000"),
        (ListParameter(key="a", of="string", pattern="["), "no regular expression of RE2"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_told(parameter: Any, text: str) -> None:
    """When the manifest is read, not at the first call."""
    assert any(text in problem for problem in own_problems(parameter))


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){20}", "(a|a?)+$", "([a-z]+)*!"])
def test_a_pattern_takes_time_in_proportion_to_the_text(pattern: str) -> None:
    """Texts of a size at which a matcher that tries out every way would take longer than there is time."""
    parameter = StringParameter(key="a", pattern=pattern)
    assert parameter.problem("a" * 100_000 + "#", None) is not None


def test_a_large_manifest_is_checked_in_proportion_to_its_size() -> None:
    """A check that compares each with each would take minutes for so many."""
    steps = [{"index": 1, "name": "x", "params": [{"type": "int", "key": f"k{number}"} for number in range(15_000)]}]
    assets = {f"p{number}": [] for number in range(15_000)}
    facts = {"name": "a", "version": "1.0", "entry_point": "a:A", "steps": steps, "required_assets": assets}
    data = json.dumps(facts | {"supported_pids": list(assets)}).encode()
    assert len(parse_manifest(data).steps[0].params) == 15_000
    facts |= {"supported_pids": ["*"]}
    strange = [{"type": "x" * 500_000, "key": "k"}]
    with pytest.raises(ManifestError, match="its type is"):
        parse_manifest(
            json.dumps(facts | {"supported_pids": ["*"], "steps": [steps[0] | {"params": strange}]}).encode()
        )
