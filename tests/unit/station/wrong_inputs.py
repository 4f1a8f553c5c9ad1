"""Every key of a station's files, wrong in each way: generated from the schema, so that a new key is tried, too."""

from __future__ import annotations

import copy
import datetime
import importlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import msgspec.inspect as mi
from attrs import frozen

from procvision_station.configuration.model import AlgorithmSection, RecipeFile, StationFile
from procvision_station.kinds import BUILT_IN

EXAMPLES: dict[str, Any] = {
    "path": "here", "url": "http://127.0.0.1/", "topic": "verdicts", "command": ["true"], "port": 0, "every_s": 1.0,
    "camera": {"kind": "simulated"},
}  # fmt: skip
"""Of a kind's required options, right values."""
NOTHING = "nowhere"
REFERENCES = {
    ("lines", "main", "recipe"), ("heads", "key"), ("deployments", "keys"), ("deployments", "golden"),
    ("deployments", "bundles"), ("web", "certificate"), ("web", "key"), ("steps", 0, "camera"),
    ("steps", 0, "algorithm"), ("steps", 0, "reference"), ("lines", "main", "algorithms", "pcb-compare", "readable", 0),
    ("lines", "main", "algorithms", "pcb-compare", "grants", 0),
}  # fmt: skip
"""Keys whose value names something that has to be there."""


@frozen
class Wrong:
    """A file that must be refused."""

    file: str
    path: tuple[str | int, ...]
    """Of the key."""
    way: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {'.'.join(map(str, self.path))}: {self.way}"


def wrong_inputs(station: dict[str, Any], recipe: dict[str, Any]) -> Iterator[Wrong]:
    """Yield every wrong input, from right data of `station.toml` and of a recipe."""
    whole = {
        "heads": {"key": "golden/board.png", "file": "heads.jsonl"},
        "projection": {"database": "sqlite"},
        "web": {"port": 0},
        **station,
    }
    line = whole["lines"]["main"]
    line = {**line, "algorithms": {"pcb-compare": {"readable": ["station.toml"]}}}
    whole["lines"] = {"main": line}
    yield from _of_table("station.toml", whole, (), StationFile)
    of_algorithm = ("lines", "main", "algorithms", "pcb-compare")
    yield from _of_table("station.toml", whole, of_algorithm, AlgorithmSection)
    for sort, kinds in BUILT_IN.items():
        for kind, where in kinds.items():
            module, _, name = where.partition(":")
            options = getattr(importlib.import_module(module), name).options
            table = {"kind": kind} | {
                each.name: EXAMPLES[each.name] for each in mi.type_info(options).fields if each.required
            }
            path = {
                "trigger": ("trigger",), "camera": ("cameras", "top"), "output": ("outputs", 0),
            }[sort]  # fmt: skip
            data = copy.deepcopy(whole)
            _put(data, ("lines", "main", *path), table)
            yield from _of_table("station.toml", data, ("lines", "main", *path), options, also=("kind",))
    yield from _of_table("recipes/board.toml", recipe, (), RecipeFile)
    for key in recipe["steps"][0]["parameters"]:
        for way, value in (("wrong type", [1]), ("not finite", float("nan")), ("huge", 10**30), ("nested", {"a": 1})):
            yield _changed("recipes/board.toml", recipe, ("steps", 0, "parameters", key), way, value)
    for file, data in (("station.toml", whole), ("recipes/board.toml", recipe)):
        yield Wrong(file, (), "nothing in it", "")
        yield Wrong(file, (), "arrays without an end", f"a = {'[' * 400}{']' * 400}\n{as_toml(data)}")
        yield Wrong(file, (), "many digits", f"a = {'9' * 5000}\n{as_toml(data)}")
        yield Wrong(file, (), "too large", as_toml(data) + "#" * 300_000)
        yield Wrong(file, (), "cut off", as_toml(data)[:-2] + '"')


def _of_table(
    file: str, data: dict[str, Any], path: tuple[str | int, ...], kind: type[msgspec.Struct], also: tuple[str, ...] = ()
) -> Iterator[Wrong]:
    """Yield what is wrong with each key of a table, and of those below it."""
    info = mi.type_info(kind)
    yield _changed(file, data, (*path, "no_such_key"), "unknown key", 1)
    for name in also:
        yield from _of_value(file, data, (*path, name), mi.StrType(pattern="^$"), required=True)
    for each in info.fields:
        yield from _of_value(file, data, (*path, each.encode_name), each.type, required=each.required)


def _of_value(
    file: str, data: dict[str, Any], path: tuple[str | int, ...], kind: mi.Type, *, required: bool
) -> Iterator[Wrong]:
    """Yield what is wrong with a key, and with what stands below it."""
    if required:
        yield _without(file, data, path)
    if not isinstance(path[-1], int):
        yield _twice(file, data, path)
    plain = _plain(kind)
    for way, value in _values(plain):
        yield _changed(file, data, path, way, value)
    if path in REFERENCES:
        yield _changed(file, data, path, "names nothing", NOTHING)
    yield from _below(file, data, path, plain)


def _below(file: str, data: dict[str, Any], path: tuple[str | int, ...], kind: mi.Type) -> Iterator[Wrong]:
    there = _at(data, path)
    if isinstance(kind, mi.StructType):
        if there is not None or path[-1] == "deployments":
            yield from _of_table(file, data if there is not None else _with(data, path, {}), path, kind.cls)
    elif isinstance(kind, mi.ListType | mi.VarTupleType):
        item = _plain(kind.item_type)
        if isinstance(item, mi.StructType) and there:
            yield from _of_table(file, data, (*path, 0), item.cls)
        elif isinstance(item, mi.StrType) and there:
            yield from _of_value(file, data, (*path, 0), item, required=False)
        elif isinstance(item, mi.StrType):  # an empty list has no item to change: one is put in
            for way, value in _values(item):
                yield _changed(file, data, path, f"an item: {way}", [value])
    elif isinstance(kind, mi.DictType) and isinstance(there, dict) and isinstance(kind.value_type, mi.StructType):
        for key in there:
            yield from _of_table(file, data, (*path, key), kind.value_type.cls)
        yield _changed(file, data, (*path, "not a name!"), "a name with a blank", next(iter(there.values())))


def _plain(kind: mi.Type) -> mi.Type:
    """Return a type without what is said of it, and without None."""
    while isinstance(kind, mi.Metadata | mi.UnionType):
        if isinstance(kind, mi.UnionType):
            kind = next(each for each in kind.types if not isinstance(each, mi.NoneType))
        else:
            kind = kind.type
    return kind


FORMS: dict[str, Any] = {
    "text": "x", "integer": 3, "float": 0.5, "boolean": True, "array": [1], "table": {"no_such_key": 1},
    "date": datetime.date(2026, 1, 1), "time": datetime.time(12), "moment": datetime.datetime(2026, 1, 1),
}  # fmt: skip
"""A value of each of TOML's forms."""
TAKEN: dict[type[mi.Type], set[str]] = {
    mi.StrType: {"text"}, mi.LiteralType: set(), mi.IntType: {"integer"}, mi.FloatType: {"integer", "float"},
    mi.BoolType: {"boolean"}, mi.ListType: {"array"}, mi.VarTupleType: {"array"}, mi.DictType: {"table"},
    mi.StructType: {"table"},
}  # fmt: skip
"""The forms that a type takes."""


def _values(kind: mi.Type) -> Iterator[tuple[str, Any]]:
    """Yield values that a type doesn't take, and what is wrong with them."""
    for form, value in FORMS.items():
        if form not in TAKEN[type(kind)]:
            yield f"{form} in its place", value
    if isinstance(kind, mi.IntType | mi.FloatType):
        yield from _numbers(kind)
    elif isinstance(kind, mi.StrType):
        yield from _texts(kind)
    elif isinstance(kind, mi.LiteralType):
        for value in ("", "nothing of it", str(kind.values[0]).upper(), f" {kind.values[0]}"):
            yield f"no choice: {value!r}", value
    elif isinstance(kind, mi.ListType | mi.VarTupleType | mi.DictType):
        if kind.min_length:
            yield "empty", {} if isinstance(kind, mi.DictType) else []
        if isinstance(kind, mi.VarTupleType) and kind.max_length:
            yield "too many", ["00:00"] * (kind.max_length + 1)
    yield "nested", [[["x"]]]


def _numbers(kind: mi.IntType | mi.FloatType) -> Iterator[tuple[str, Any]]:
    for text in ("2 s", "5ms", "10 MB", "50 %", "1,5", "0x10", ""):
        yield f"unit: {text!r}", text
    for value in (float("nan"), float("inf"), float("-inf")):
        yield str(value), value
    yield "huge", 10**30
    yield "huge below", -(10**30)
    step = 1 if isinstance(kind, mi.IntType) else 1e-6
    for bound, value in (("ge", -step), ("gt", 0), ("le", step), ("lt", 0)):
        given = getattr(kind, bound)
        if given is not None:
            yield f"beyond {bound} {given}", given + value


def _texts(kind: mi.StrType) -> Iterator[tuple[str, Any]]:
    if kind.min_length or kind.pattern is not None:
        yield "empty", ""
    for name, character in (("NUL", "\0"), ("escape", "\x1b"), ("delete", "\x7f")):
        yield name, f"a{character}b"
    yield "huge", "x" * 5000
    yield "surrogate", Raw('"\\ud800"')
    yield "no UTF-8", Raw('"\udcff"')
    if kind.pattern is not None:
        yield "a line feed behind it", "board\n"
        for text in ("\u00a0!", "#", "-"):
            if not re.search(kind.pattern, text):
                yield f"another form: {text!r}", text


class Raw(str):
    """A value as it stands in the file."""


def _changed(file: str, data: dict[str, Any], path: tuple[str | int, ...], way: str, value: Any) -> Wrong:
    return Wrong(file, path, way, as_toml(_with(data, path, value)))


def _without(file: str, data: dict[str, Any], path: tuple[str | int, ...]) -> Wrong:
    changed = copy.deepcopy(data)
    del _at(changed, path[:-1])[path[-1]]
    return Wrong(file, path, "missing", as_toml(changed))


def _twice(file: str, data: dict[str, Any], path: tuple[str | int, ...]) -> Wrong:
    """The key stands twice in its table."""
    value = _at(data, path)
    changed = _with(data, path, "MARK")
    once = f"{_key(str(path[-1]))} = {_inline(value if value is not None else 1)}"
    text = as_toml(changed).replace(f'{_key(str(path[-1]))} = "MARK"', f"{once}\n{once}", 1)
    return Wrong(file, path, "twice", text)


def _with(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    _put(changed, path, value)
    return changed


def _put(data: Any, path: tuple[str | int, ...], value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return None
    return data


def as_toml(data: dict[str, Any]) -> str:
    """Write data as a person does: tables below headings, what is in arrays inline."""
    lines: list[str] = []
    _table(data, (), lines)
    return "\n".join(lines) + "\n"


def _table(table: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    below = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines += [f"{_key(key)} = {_inline(value)}" for key, value in table.items() if key not in below]
    for key, value in below.items():
        lines.append(f"[{'.'.join(map(_key, (*path, key)))}]")
        _table(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _inline(key)


def _inline(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(c):04X}" if c < " " or c in '"\\\x7f' else c for c in value) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)
