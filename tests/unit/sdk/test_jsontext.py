"""JSON that a person can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from procvision_sdk.jsontext import json_text

ODD = [
    "划痕 Kratzer größer é 😀",
    'quotes " \\ / </script>',
    "\x00\x1b[31m\x7f\x9b31m\u0085",
    "\u2028\u2029\u202e\u200b\ufeff",
    "\ud800 \udfff x",
    "\U000e0001 \U0001f9ea",
    "line\nbreak\ttab",
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "gb18030", "cp1252"])
@pytest.mark.parametrize("text", ODD)
def test_a_reader_gets_the_value_and_the_stream_can_carry_it(text: str, encoding: str, indent: int | None) -> None:
    """Each character is itself or an escape that means it; no stream's encoding refuses it."""
    value = {text: [text, 1.5, None, True], "n": {"k": text}}
    written = json_text(value, indent=indent, encoding=encoding)
    assert json.loads(written.encode(encoding).decode(encoding)) == value
    assert written.replace("\n", "").isprintable()
    assert indent is not None or len(written.splitlines()) == 1


def test_letters_stay_letters() -> None:
    assert json_text({"label": "划痕"}) == '{"label": "划痕"}'
    assert json_text("größer", encoding="ascii") == '"gr\\u00f6\\u00dfer"'


def test_what_json_does_not_know_becomes_text() -> None:
    assert json_text({"k": {1}}) == '{"k": "{1}"}'


@pytest.mark.parametrize(
    "value",
    [
        {"a": [], "b": {}, "c": [1, 2.5, None, True, "é"], "d": {"x": {"y": [[]]}}, 1: 2}, [], {}, "x",
        {"nan": float("nan")}, {"big": 10**30, "small": 1e-7, "zero": -0.0}, {"path": Path("/x")},
    ],
)  # fmt: skip
def test_an_indented_text_is_that_of_the_standard_library(value: object) -> None:
    assert json_text(value, indent=2) == json.dumps(value, indent=2, default=str, ensure_ascii=False)
