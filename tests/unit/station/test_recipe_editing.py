"""A recipe's parameters are set by values: nothing else in its text changes, and what can't be written is refused."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

pytest.importorskip("tomlkit", reason="the extra station edits recipes")

from hypothesis import given, settings
from hypothesis import strategies as st

from procvision_station.configuration.editing import EditError, with_parameters

TEXT = """\
# A product, and the steps of its inspection.

product = "board"   # as the order has it

[[steps]]
camera = "top"
algorithm = "pcb-compare"

[steps.parameters]
min_score = 0.5   # found with 400 boards
# below: not yet tried
box_margin = 10

[[steps]]
camera = "side"
algorithm = "other"
parameters = { a = 1, b = [1, 2] }

[[steps]]
camera = "back"
algorithm = "third"
parameters.k = "v"

[[steps]]
camera = "front"
algorithm = "third"
"""
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text(),
    st.lists(st.one_of(st.integers(-9, 9), st.text()), max_size=3),
    st.dictionaries(st.text(), st.integers(-9, 9) | st.dictionaries(st.text(), st.booleans(), max_size=2), max_size=3),
)  # fmt: skip
KEYS = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z")
CHANGES = st.dictionaries(KEYS, st.none() | VALUES, max_size=4)


def test_comments_and_order_stay_and_only_named_values_change() -> None:
    edited = with_parameters(
        TEXT, [{"min_score": 0.7, "copper": "dark"}, {"a": None, "b": [3]}, {"k": "w"}, {"q": True}]
    )
    assert "min_score = 0.7   # found with 400 boards\n# below: not yet tried\nbox_margin = 10\n" in edited
    assert edited.startswith(TEXT[: TEXT.index("min_score")])
    parameters = [step["parameters"] for step in tomllib.loads(edited)["steps"]]
    assert parameters[0] == {"min_score": 0.7, "box_margin": 10, "copper": "dark"}
    assert parameters[1:] == [{"b": [3]}, {"k": "w"}, {"q": True}]


@settings(max_examples=30, deadline=None)
@given(st.tuples(CHANGES, CHANGES, CHANGES, CHANGES))
def test_what_comes_out_has_these_values_or_nothing_comes_out(changes: tuple[dict[str, Any], ...]) -> None:
    try:
        edited = tomllib.loads(with_parameters(TEXT, changes))
    except EditError:
        return
    for before, after, wanted in zip(tomllib.loads(TEXT)["steps"], edited["steps"], changes, strict=True):
        merged = {**before.get("parameters", {}), **wanted}
        assert after.get("parameters", {}) == {key: value for key, value in merged.items() if value is not None}
        assert {**after, "parameters": 0} == {**before, "parameters": 0}


@pytest.mark.parametrize(
    "text", ["", "steps = 3", "[[steps]", "[[steps]]\nparameters = 7", "[[steps]]\n[[steps]]", "steps = [1]"]
)
def test_what_is_no_recipe_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(EditError, match="\nhint: "):
        with_parameters(text, [{"a": 1}])


@pytest.mark.parametrize("value", [[1, None], {"a": None}, {"a": [{"b": None}]}])
def test_what_toml_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(EditError, match="\nhint: "):
        with_parameters(TEXT, [{}, {}, {}, {"a": value}])
