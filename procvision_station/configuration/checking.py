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
MAX_TEXT = 4096
"""Characters of a text: a path has at most so many bytes."""
MAX_NUMBER = 2**53
"""What a number's amount stays below: up to here JSON and its readers have each integer."""
_CONTROLS = "".join(map(chr, [*range(32), 127]))
MAX_NESTED = 32
"""Tables and arrays in one another."""


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
        _hold_value(value, path, problems, _form(kind, plain))
    if len(problems) > before:
        return None
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(Problem(path, f"{dotted(path)}: {_in_words(error)}, this is {_shown(value)}", meaning(kind)))
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
            problems.append(Problem(path, f"{dotted((*path, key))} is missing", meaning(field.type)))
    return kind(**given) if len(problems) == before else None


def _form(kind: Any, plain: Any) -> str:
    """Return what form a value has: `free`, where anything may stand in it, `patterned`, or `typed`."""
    if plain is Any:
        return "free"
    found = mi.type_info(kind)
    left = [found]
    while left:
        each = left.pop()
        if isinstance(each, mi.Metadata):
            left.append(each.type)
        elif isinstance(each, mi.UnionType):
            left += each.types
        elif isinstance(each, mi.StrType) and each.pattern is not None:
            return "patterned"  # its $ lets a line feed pass behind it
    return "typed"


def _hold_value(value: Any, path: Path, problems: list[Problem], form: str) -> None:
    """Hold a value to what no file needs more of. In one of a free form the values within are held to it, too."""
    free = form == "free"
    if isinstance(value, float) and not math.isfinite(value):
        text = f"{dotted(path)} is {value}, which is no number to count with"
        problems.append(Problem(path, text, "a finite number"))
    elif isinstance(value, (int, float)) and not -MAX_NUMBER < value < MAX_NUMBER:
        text = f"{dotted(path)}: a number is below 2^53, this has {math.floor(math.log10(abs(value))) + 1} digits"
        problems.append(Problem(path, text, "a smaller number"))
    elif isinstance(value, str) and not free and len(value) > MAX_TEXT:
        text = f"{dotted(path)}: a text has at most {MAX_TEXT} characters, this has {len(value)}"
        problems.append(Problem(path, text, "a shorter text"))
    elif isinstance(value, str) and (control := next((each for each in value if _is_control(each, form)), None)):
        text = f"{dotted(path)}: the text has a control character, U+{ord(control):04X}"
        problems.append(Problem(path, text, "write it without"))
    elif free and isinstance(value, dict):
        for key, item in value.items():
            _hold_value(item, (*path, key), problems, "free")
    elif free and isinstance(value, list):
        for place, item in enumerate(value):
            _hold_value(item, (*path, place), problems, "free")


def _is_control(character: str, form: str) -> bool:
    """Return whether it is one that a text of this form doesn't have: a program's text has lines, a name has none."""
    return character in {"free": "\x00", "patterned": _CONTROLS}.get(
        form, _CONTROLS.replace("\n", "").replace("\t", "")
    )


def nested_too_deep(value: Any) -> Path | None:
    """Return where tables and arrays stand in one another more than `MAX_NESTED` times; None where they don't."""
    left: list[tuple[Path, Any]] = [((), value)]
    while left:
        path, found = left.pop()
        if len(path) > MAX_NESTED:
            return path
        if isinstance(found, dict):
            left += [((*path, key), item) for key, item in found.items()]
        elif isinstance(found, list):
            left += [((*path, place), item) for place, item in enumerate(found)]
    return None


def description(kind: Any) -> str:
    """Return what a field's annotation says of it."""
    found = mi.type_info(kind)
    while isinstance(found, mi.Metadata):
        schema = found.extra_json_schema or {}
        if "description" in schema:
            return str(schema["description"])
        found = found.type
    return ""


_FORMS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


def meaning(kind: Any) -> str:
    """Return what a field is, for a hint: what its annotation says, or its form."""
    told = description(kind)
    if told:
        return told
    plain = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    plain = next((each for each in get_args(plain) if each in _FORMS), plain)
    return _FORMS.get(plain, "the reference page of a station's files has its form")


def _in_words(error: msgspec.ValidationError) -> str:
    text = str(error).partition(" - at `$")[0].replace("`", "")
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    text = repr(value if not isinstance(value, str) else value[:100])
    return text if len(text) <= 60 else f"{text[:57]}..."
