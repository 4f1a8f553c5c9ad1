"""`manifest.json`: what is declared, and every mistake told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.model import manifest_schema
from procvision_sdk.manifest.reading import MAX_MANIFEST_BYTES, parse_manifest, read_manifest

WHOLE: dict[str, Any] = {
    "name": "weld-check",
    "version": "1.0.0",
    "entry_point": "weld_check.algorithm:WeldCheck",
    "supported_pids": ["A", "B"],
    "steps": [
        {"index": 1, "name": "position", "params": [{"type": "int", "key": "threshold", "min": 0, "max": 255}]},
        {"index": 2, "name": "inspect"},
    ],
    "required_assets": {"A": ["models/a.onnx"]},
    "default_config": {"anything": [1]},
    "of_a_later_release": True,
}


def parsed(**changes: Any) -> Any:
    """The manifest with these fields changed; None takes one away."""
    fields = {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}
    return parse_manifest(json.dumps(fields).encode())


def with_parameter(**parameter: Any) -> Any:
    """The manifest with one parameter."""
    return parsed(steps=[{"index": 1, "name": "only", "params": [parameter]}])


def test_whole_manifest_is_read() -> None:
    """Fields of a later release are ignored."""
    manifest = parsed()
    assert [step.index for step in manifest.steps] == [1, 2]
    assert manifest.step(1).params[0].max == 255
    assert manifest.step(3) is None
    assert manifest.supports("A")
    assert not manifest.supports("C")
    assert parsed(supported_pids=["*"], required_assets=None).supports("C")


@pytest.mark.parametrize("field", ["name", "version", "entry_point", "supported_pids", "steps"])
def test_missing_field_is_named(field: str) -> None:
    """What cannot be guessed is asked for."""
    with pytest.raises(ManifestError, match=field):
        parsed(**{field: None})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "Weld Check"}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"version": ""}, "version"),
        ({"version": "1/2"}, "version"),
        ({"entry_point": "weld_check"}, "entry_point"),
        ({"entry_point": "a:b:c"}, "entry_point"),
        ({"supported_pids": []}, "supported_pids"),
        ({"supported_pids": "A"}, "supported_pids"),
        ({"steps": []}, "steps"),
        ({"steps": [{"index": 2, "name": "x"}]}, "count from 1 without gaps"),
        ({"steps": [{"index": 1, "name": "x"}, {"index": 1, "name": "y"}]}, "count from 1 without gaps"),
        ({"steps": [{"index": 0, "name": "x"}]}, "index"),
        ({"steps": [{"index": 1, "name": "x", "parms": []}]}, "parms"),
        ({"required_assets": {"C": ["x"]}}, "'C'"),
        ({"required_assets": {"A": ["../x"]}}, "not a path below the package"),
        ({"required_assets": {"A": ["/etc/passwd"]}}, "not a path below the package"),
        ({"required_assets": {"A": [""]}}, "not a path below the package"),
    ],
    ids=str,
)
def test_mistake_is_told_with_its_place(changes: dict[str, Any], text: str) -> None:
    """So that it can be mended without this source."""
    with pytest.raises(ManifestError, match=text):
        parsed(**changes)


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        ({"type": "int", "key": "a", "min": 5, "max": 1}, "min 5 is above max 1"),
        ({"type": "int", "key": "a", "max": 5, "default": 6}, "default"),
        ({"type": "int", "key": "a", "default": 1.5}, "default"),
        ({"type": "enum", "key": "a", "choices": []}, "choices"),
        ({"type": "enum", "key": "a", "choices": ["x"], "default": "y"}, "default"),
        ({"type": "string", "key": "a", "pattern": "("}, "pattern"),
        ({"type": "string", "key": "a", "pattern": "[A-Z]", "default": "x"}, "default"),
        ({"type": "rect", "key": "a", "default": {"x": 1}}, "default"),
        ({"type": "colour", "key": "a"}, "colour"),
        ({"type": "int", "key": "a b"}, "key"),
        ({"type": "int", "key": "a", "minimum": 1}, "minimum"),
        ({"key": "a"}, "type"),
    ],
    ids=str,
)
def test_parameter_that_contradicts_itself_is_told(parameter: dict[str, Any], text: str) -> None:
    """When it is declared, not when a line runs."""
    with pytest.raises(ManifestError, match=text):
        with_parameter(**parameter)


def test_parameter_that_is_declared_twice_is_told() -> None:
    """One of the two would be lost."""
    twice = [{"type": "int", "key": "a"}, {"type": "bool", "key": "a"}]
    with pytest.raises(ManifestError, match="'a' is declared twice"):
        parsed(steps=[{"index": 1, "name": "only", "params": twice}])


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"null"], ids=lambda data: repr(data[:9]))
def test_file_that_is_no_manifest_is_an_error_of_one_kind(data: bytes) -> None:
    """Whatever it holds."""
    with pytest.raises(ManifestError):
        parse_manifest(data)


def test_file_that_is_missing_or_too_large_is_told(tmp_path: Path) -> None:
    """With its path, and unread."""
    with pytest.raises(ManifestError, match="can't be read"):
        read_manifest(tmp_path / "manifest.json")
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ManifestError, match="at most"):
        read_manifest(large)


def test_schema_names_every_field() -> None:
    """It is made from the classes."""
    schema = manifest_schema()
    text = json.dumps(schema)
    for field in (*WHOLE, "threshold", "choices", "min_length"):
        if field not in {"of_a_later_release", "threshold"}:
            assert f'"{field}"' in text


@pytest.mark.parametrize(
    ("given", "meant"),
    [("integer", "int"), ("number", "float"), ("Boolean", "bool"), ("str", "string"), ("rectangle", "rect")],
)
def test_wrong_parameter_type_names_those_there_are_and_the_one_that_was_meant(given: str, meant: str) -> None:
    """Also where another language or JSON Schema calls it so."""
    with pytest.raises(ManifestError) as caught:
        with_parameter(key="level", type=given)
    assert str(caught.value) == (
        f"manifest.json: step 1, parameter 'level': its type is {given!r}; "
        f"hint: did you mean {meant} for {given!r}? allowed are int, float, bool, string, enum, rect, list, object"
    )


@pytest.mark.parametrize("given", ["date", 5, None, ["int"]])
def test_parameter_type_that_is_near_none_names_those_there_are(given: Any) -> None:
    """Nothing is guessed; one that is left out is missing."""
    with pytest.raises(ManifestError, match=r"level': its type is .*; hint: allowed are int, float, bool, string,"):
        with_parameter(key="level", type=given)
    with pytest.raises(ManifestError, match="level': its type is missing"):
        with_parameter(key="level")


def test_every_wrong_type_is_told_at_once() -> None:
    """After one was mended, its author would only meet the next."""
    with pytest.raises(ManifestError) as caught:
        parsed(
            steps=[
                {"index": 1, "name": "first", "params": [{"key": "a", "type": "integer"}, {"key": "b", "type": "int"}]},
                {"index": 2, "name": "second", "params": [{"key": "c", "type": "integer"}]},
            ]
        )
    assert "step 1, parameter 'a'" in str(caught.value)
    assert "step 2, parameter 'c'" in str(caught.value)
    assert "parameter 'b'" not in str(caught.value)
    assert str(caught.value).count("did you mean") == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{\n  "name": "a",\n  "version" "1.0"\n}', "line 3, column 13"),
        (b'{\n  "name": "a",\n}', "line 3, column 1"),
        (b'{"name": "a"\n', "line 2, column 1"),
        (b'{\n  "name": NaN\n}', "line 2, column 11"),
        (b'{\n  "name": "\xff"\n}', "line 2, column 12"),
        ('{\n  "名": "零件", "name" 3}'.encode(), "line 2, column 21"),
        (b"", "line 1, column 1"),
        (b'{"name": "a"} x', "line 1, column 15"),
    ],
)
def test_what_is_no_json_is_told_with_line_and_column(text: bytes, place: str) -> None:
    """As an editor counts them: from 1, in characters."""
    with pytest.raises(ManifestError, match=f"m.json: {place}: "):
        parse_manifest(text, "m.json")


def test_a_byte_order_mark_is_no_part_of_a_manifest() -> None:
    """Editors on Windows write one."""
    facts = {"name": "a", "version": "1.0", "entry_point": "a:A", "supported_pids": ["*"]}
    text = json.dumps(facts | {"steps": [{"index": 1, "name": "x"}]})
    assert parse_manifest(b"\xef\xbb\xbf" + text.encode()).name == "a"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"supported_pids": None, "suported_pids": ["A"]}, "'suported_pids' is there: did you mean it?"),
        ({"steps": [{"index": 1, "name": "x", "parms": []}]}, r"steps\[0\]: .*`parms`; hint: did you mean 'params'"),
        ({"name": "Weld Check"}, 'name: .*this is "Weld Check"; hint: a-z'),
        ({"version": 1.5}, 'version: .*this is 1.5; hint: a text, such as "1.0.0"'),
        ({"steps": [{"index": 0, "name": "x"}]}, r"steps\[0\].index: .*>= 1, this is 0"),
        ({"reads_picture": "no"}, 'reads_picture: .*this is "no"'),
        ({"required_assets": {"A": "models/a.onnx"}}, r"required_assets.*hint: .*\[\"model.onnx\"\]"),
        ({"diagnostics": {"a.b[0]": {"mim": 1}}}, "`mim`; hint: did you mean 'min'"),
    ],
    ids=str,
)
def test_a_mistake_is_told_with_its_place_value_and_what_was_meant(changes: dict[str, Any], text: str) -> None:
    """What vendors write wrong: keys and forms."""
    with pytest.raises(ManifestError, match=text):
        parsed(**changes)


def test_another_word_for_a_parameters_key_is_answered_with_ours() -> None:
    """`minimum` is not near `min` for a comparison of letters."""
    with pytest.raises(ManifestError, match=r"steps\[0\].params\[0\]: .*`minimum`; hint: did you mean 'min'"):
        with_parameter(type="int", key="level", minimum=0)
