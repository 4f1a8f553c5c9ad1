"""The steps of a field package in the host's terms.

On the wire steps count from 1; the field's templates number from 0, and its adapter makes 1 of a 0. So steps are taken
in their order and numbered from 1. What can't be expressed is left out, and the step's description says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from procvision_sdk.manifest.model import Step
from procvision_sdk.manifest.parameters import AnyParameter, StringParameter, own_problems

UNDECLARED_STEPS = 32
"""How many steps a package has that declares none: the field's SDK takes any number, a host wants to know which."""

STEP_DESC = "step_desc"
GUIDE_INFO = "guide_info"

_KINDS = {
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "str": "string",
    "text": "string",
    "select": "enum",
}
"""Spellings seen in the field, beside the host's own."""


def steps(declared: Iterable[Any], *, guided: bool) -> list[Step]:
    """The declared steps; `guided` ones have the arguments that `execute` of 0.3.x takes as parameters."""
    entries = [entry for entry in declared if isinstance(entry, Mapping)]
    if not entries:
        entries = [{"name": f"step {index}"} for index in range(1, UNDECLARED_STEPS + 1)]
    entries.sort(key=_number)
    return [_step(index, entry, guided=guided) for index, entry in enumerate(entries, 1)]


def _number(entry: Mapping[str, Any]) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) else 0


def _step(index: int, entry: Mapping[str, Any], *, guided: bool) -> Step:
    name = str(entry.get("name") or f"step {index}")
    params: list[AnyParameter] = _guided(name) if guided else []
    left_out = []
    given = entry.get("params")
    for one in given if isinstance(given, (list, tuple)) else ():
        parameter = _parameter(one)
        if parameter is None or parameter.key in {known.key for known in params}:
            left_out.append(str(one.get("key", "?")) if isinstance(one, Mapping) else repr(one)[:40])
        else:
            params.append(parameter)
    description = str(entry.get("description") or "")
    if left_out:
        description = f"{description} (parameters that a host can't express: {', '.join(left_out)})".strip()
    return Step(index=index, name=name, description=description, params=params)


def _guided(name: str) -> list[AnyParameter]:
    return [
        StringParameter(key=STEP_DESC, description="What the algorithm does in this step", default=name),
        StringParameter(
            key=GUIDE_INFO,
            description="Where to look in the guide picture, as JSON: [{label, posList: [{x, y, width, height}]}]",
            default="[]",
        ),
    ]


def _parameter(given: Any) -> AnyParameter | None:
    """One declared parameter; None where it has no kind, key or bounds that hold."""
    if not isinstance(given, Mapping):
        return None
    fields = {key: value for key, value in given.items() if value is not None}
    kind = fields.get("type")
    fields["type"] = _KINDS.get(kind, kind) if isinstance(kind, str) else kind
    for spelling in ("options", "values", "enum"):
        if spelling in fields:
            fields.setdefault("choices", fields.pop(spelling))
    known = {"type", "key", "description", "required", "default", "min", "max", "unit", "choices"} | {
        "min_length",
        "max_length",
        "pattern",
    }
    fields.setdefault("description", str(fields.get("name") or fields.get("label") or ""))
    try:
        parameter: AnyParameter = msgspec.convert({k: v for k, v in fields.items() if k in known}, AnyParameter)
    except msgspec.ValidationError:
        return None
    return parameter if not own_problems(parameter) else None
