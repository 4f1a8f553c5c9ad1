"""`--param key=value` by the manifest's types."""

from __future__ import annotations

import msgspec
import pytest

from procvision_sdk.manifest.model import Manifest
from procvision_tools.params import ParamTextError, parse_params

MANIFEST = msgspec.convert(
    {
        "name": "weld-check", "version": "1.0", "entry_point": "weld:Check", "supported_pids": ["A"],
        "steps": [
            {"index": 1, "name": "empty"},
            {"index": 2, "name": "full", "params": [
                {"type": "int", "key": "count", "min": 1, "max": 9, "description": "how many seams"},
                {"type": "float", "key": "threshold", "min": 0, "max": 1},
                {"type": "bool", "key": "strict"},
                {"type": "string", "key": "lot", "max_length": 5},
                {"type": "enum", "key": "side", "choices": ["top", "bottom"]},
                {"type": "rect", "key": "roi"},
            ]},
        ],
    },
    Manifest,
)  # fmt: skip
SIZE = (100, 80)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("count=3", 3),
        ("threshold=0.25", 0.25),
        ("threshold=1", 1.0),
        ("strict=Yes", True),
        ("strict=off", False),
        ("lot=a=b", "a=b"),
        ("lot=", ""),
        ("lot=12", "12"),
        ("side=top", "top"),
        ("roi=1,2,30,40.5", {"x": 1, "y": 2, "width": 30, "height": 40.5}),
        ('roi={"x": 1, "y": 2, "width": 3, "height": 4}', {"x": 1, "y": 2, "width": 3, "height": 4}),
    ],
)
def test_a_value_is_read_as_its_type(pair, value):
    params = parse_params(MANIFEST, 2, [pair], SIZE)
    assert params == {pair.partition("=")[0]: value}
    assert type(next(iter(params.values()))) is type(value)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("count=ten", r"--param count is 'ten', a whole number"),
        ("count=1.5", "whole number"),
        ("count=10", r"count is 10, allowed is 1\.\.9"),
        ("threshold=nan", "a number is asked for"),
        ("threshold=2", r"allowed is 0\.?0?\.\.1"),
        ("strict=perhaps", "true or false"),
        ("lot=123456", "has 6 characters"),
        ("side=left", "allowed are top, bottom"),
        ("roi=1,2,3", "a rect"),
        ("roi=1,2,300,4", "the picture is 100 x 80"),
        ("roi={", "a rect"),
        ("speed=1", "weld-check has no such parameter in step 2"),
        ("count", "has no value"),
    ],
)
def test_a_wrong_value_is_an_error_with_bound_and_value(pair, message):
    with pytest.raises(ParamTextError, match=message):
        parse_params(MANIFEST, 2, [pair], SIZE)


def test_the_hint_is_the_parameters_description():
    with pytest.raises(ParamTextError, match=r"\nhint: how many seams$"):
        parse_params(MANIFEST, 2, ["count=99"], SIZE)
    with pytest.raises(ParamTextError, match=r"allowed is 0\.0\.\.1\.0$"):
        parse_params(MANIFEST, 2, ["threshold=2"], SIZE)


def test_a_later_value_replaces_an_earlier_one():
    assert parse_params(MANIFEST, 2, ["count=3", "count=4"], SIZE) == {"count": 4}


def test_a_step_that_there_is_not_is_an_error():
    with pytest.raises(ParamTextError, match="has no step 3\nhint: it has 1, 2"):
        parse_params(MANIFEST, 3, [], SIZE)
    assert parse_params(MANIFEST, 1, [], SIZE) == {}
