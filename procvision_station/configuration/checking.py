"""Plain values held against msgspec's classes: every error of a file at once, each with its key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

import msgspec
import msgspec.inspect as mi
from attrs import frozen

from procvision_station.configuration.places import Path, Place

_T = TypeVar("_T")


@frozen
class Problem:
    """What is wrong in a file, at a key."""

    path: Path
    message: str
    hint: str = ""


@frozen
class Located:
    """A problem with its file and its place, where there is one."""

    file: str
    place: Place | None
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.place.line}:{self.place.column}" if self.place is not None else self.file
        return f"{where}: {self.message}" + (f"\nhint: {self.hint}" if self.hint else "")


def dotted(path: Path) -> str:
    """Return a path as a person writes it, `lines.main.outputs[0].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def check(value: Any, kind: Any, path: Path, problems: list[Problem]) -> Any:
    """Return the value as its class; add what is wrong to `problems`, and return None then."""
    before = len(problems)
    plain = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if value is not None and type(None) in get_args(plain):
        plain = next(each for each in get_args(plain) if each is not type(None))
    origin = get_origin(plain)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return _check_struct(value, plain, path, problems)
    if origin is dict and isinstance(value, dict):
        of_items = get_args(plain)[1]
        found: Any = {key: check(item, of_items, (*path, key), problems) for key, item in value.items()}
    elif origin in (list, tuple) and isinstance(value, list):
        of_items = get_args(plain)[0]
        found = [check(item, of_items, (*path, place), problems) for place, item in enumerate(value)]
    else:
        found = value
        _finite(value, path, problems)
    if len(problems) > before:
        return None
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(Problem(path, f"{dotted(path)}: {_in_words(error)}, this is {_shown(value)}", _meaning(kind)))
        return None
    return found if origin in (dict, list) else converted


def _check_struct(value: Any, kind: type[msgspec.Struct], path: Path, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        names = ", ".join(field.name for field in msgspec.structs.fields(kind))
        problems.append(Problem(path, f"{dotted(path)} is a table, this is {_shown(value)}", f"its keys are {names}"))
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in value.keys() - fields.keys():
        close = difflib.get_close_matches(key, fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(fields)}"
        problems.append(Problem((*path, key), f"{dotted((*path, key))}: there is no such key", hint))
    given = {}
    for key, field in fields.items():
        if key in value:
            given[field.name] = check(value[key], field.type, (*path, key), problems)
        elif field.required:
            problems.append(Problem(path, f"{dotted((*path, key))} is missing", _meaning(field.type)))
    return kind(**given) if len(problems) == before else None


def _finite(value: Any, path: Path, problems: list[Problem]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(path, f"{dotted(path)} is {value}, which is no number to count with"))


def description(kind: Any) -> str:
    """Return what a field's annotation says of it."""
    found = mi.type_info(kind)
    while isinstance(found, mi.Metadata):
        schema = found.extra_json_schema or {}
        if "description" in schema:
            return str(schema["description"])
        found = found.type
    return ""


def _meaning(kind: Any) -> str:
    return description(kind)


def _in_words(error: msgspec.ValidationError) -> str:
    text = str(error).partition(" - at `$")[0].replace("`", "")
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
