"""Writes parameters into a recipe's text: comments, order and what else stands there stay as they are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from procvision_sdk.errors import ProcVisionError

HINT = "change the recipe's file instead"


class EditError(ProcVisionError):
    """A recipe's text can't be changed by values: it is no recipe, or a value has no place in it."""


def with_parameters(text: str, steps: Sequence[Mapping[str, Any]]) -> str:
    """Return a recipe's text with parameters set, by step; None takes one out, which leaves it to its default.

    A parameter that isn't named stays. The result is read again, and has these values and no other difference.
    Raises EditError and `MissingExtraError`.
    """
    from procvision_tools.extras import need

    tomlkit = need("tomlkit", "tomlkit", "a change of a recipe", "station")
    try:
        before = tomllib.loads(text)
        document = tomlkit.parse(text)
        for step, values in zip(document["steps"], steps, strict=True):
            _set(step, values, tomlkit)
        edited: str = tomlkit.dumps(document)
        after = tomllib.loads(edited)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise EditError(f"steps: the values can't be written: {error}\nhint: {HINT}") from error
    wanted = _wanted(before, steps)
    if msgspec.json.encode(after, order="deterministic") != msgspec.json.encode(wanted, order="deterministic"):
        raise EditError(f"steps: the values can't be written without another change\nhint: {HINT}")
    return edited


def _set(step: Any, values: Mapping[str, Any], tomlkit: Any) -> None:
    for key, value in values.items():
        if value is None:
            step.get("parameters", {}).pop(key, None)
        else:
            if "parameters" not in step:
                step["parameters"] = tomlkit.table()
            step["parameters"][key] = tomlkit.item(value) if not isinstance(value, dict) else _inline(value, tomlkit)


def _inline(value: Mapping[str, Any], tomlkit: Any) -> Any:
    """Return an object as a value: as a table it would stand below a heading, apart from its step."""
    table = tomlkit.inline_table()
    for key, each in value.items():
        table[key] = _inline(each, tomlkit) if isinstance(each, dict) else each
    return table


def _wanted(before: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the data that the edited text has to have."""
    wanted = []
    for step, values in zip(before["steps"], steps, strict=True):
        merged = {**step.get("parameters", {}), **values}
        parameters = {key: value for key, value in merged.items() if value is not None}
        made = "parameters" in step or any(value is not None for value in values.values())
        wanted.append({**step, **({"parameters": parameters} if made else {})})
    return {**before, "steps": wanted}
