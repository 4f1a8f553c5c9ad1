"""The reference of the station's REST interface, from its OpenAPI document."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from generating.markdown import Regions, table
from procvision_station.configuration.model import ProjectionSection, StationSection, WebSection
from procvision_station.configuration.page import PageConfiguration
from procvision_station.projection.database import Database
from procvision_station.projection.queries import ReadModel
from procvision_station.web.accounts import Accounts
from procvision_station.web.app import Page, described, make_app
from procvision_station.web.doors import Doors
from procvision_station.web.problems import ErrorBody

_METHODS = ("get", "post", "put", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    """The interface of a station that there is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        accounts = Accounts(folder)
        try:
            station = StationSection(name="station")
            configuration = PageConfiguration(folder, station, WebSection(), ProjectionSection(), ("main",))
            model = ReadModel(Database("sqlite", folder), configuration.shifts)
            return described(make_app(Page(accounts, Doors(accounts), model, configuration)))
        finally:
            accounts.close()


def operations() -> str:
    """A table of each tag's requests."""
    by_tag: dict[str, list[tuple[str, ...]]] = {}
    for path, methods in sorted(document()["paths"].items()):
        for method in _METHODS:
            operation = methods.get(method)
            if operation is None:
                continue
            asked = [
                f"`{each['name']}`{'' if each.get('required') else '?'}"
                for each in operation.get("parameters", ())
                if each["in"] == "query"
            ]
            body = _body(operation.get("requestBody"))
            takes = ", ".join([*asked, *([body] if body else [])])
            means = " ".join(operation["description"].split())
            row = (f"`{method.upper()} {path}`", operation["x-role"], takes, _answer(operation), means)
            by_tag.setdefault(operation["tags"][0], []).append(row)
    heads = ("request", "role", "takes", "answers", "meaning")
    return "\n\n".join(f"### {tag.capitalize()}\n\n{table(heads, rows)}" for tag, rows in sorted(by_tag.items()))


def bodies() -> str:
    """A table of each body's fields."""
    parts = []
    for name, schema in sorted(document()["components"]["schemas"].items()):
        if "properties" not in schema:
            continue
        needed = set(schema.get("required", ()))
        rows = [
            (f"`{field}`", _kind(kind), "required" if field in needed else "")
            for field, kind in schema["properties"].items()
        ]
        parts.append(f"### `{_short(name)}`\n\n{schema.get('description', '')}\n\n{table(('field', 'type', ''), rows)}")
    return "\n\n".join(parts)


def error() -> str:
    """The fields of an error."""
    meanings = {
        "code": "a fixed name for programs",
        "what": "what is wrong, in the language of `Accept-Language`",
        "where": "the path, or the field",
        "bound": "what would be allowed, where there is a bound",
        "value": "what came instead",
        "hint": "what to do",
        "fields": "of several values each one that is wrong: `step`, `key`, `problem`",
    }
    assert tuple(meanings) == ErrorBody.__struct_fields__
    return table(("field", "meaning"), ((f"`{name}`", text) for name, text in meanings.items()))


def _body(body: dict[str, Any] | None) -> str:
    content = (body or {}).get("content", {})
    return _kind(content["application/json"]["schema"]) if "application/json" in content else ""


def _answer(operation: dict[str, Any]) -> str:
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            for kind, content in (answer or {}).get("content", {}).items():
                return _kind(content["schema"]) if kind == "application/json" else kind
    return ""


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{_short(schema['$ref'].rpartition('/')[2])}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    parts = [each for key in ("oneOf", "anyOf", "allOf") for each in schema.get(key, ())]
    if parts:
        return " or ".join(_kind(each) for each in parts)
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    if schema.get("format") == "date-time":
        return "time"
    kind = schema.get("type", "any JSON")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _short(name: str) -> str:
    """A class's name without its module, and of a page of rows what stands in it."""
    parts = name.removesuffix("_").rpartition("_")[2].rpartition(".")[2]
    return f"Page of {parts}" if name.endswith("_") else parts


REGIONS: Regions = {"operations": operations, "bodies": bodies, "error": error}
