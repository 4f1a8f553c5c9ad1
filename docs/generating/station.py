"""The tables of the station's reference: states and transitions, keys of its files, records, bytes of the journal."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import click
import msgspec
import msgspec.inspect as mi

from generating.commands import subcommands
from generating.markdown import Regions, glossary, table
from generating.protocol import diagram
from generating.supervision import docstrings
from procvision_station.commands import station
from procvision_station.configuration import model
from procvision_station.configuration.checking import description
from procvision_station.journal import layout
from procvision_station.kinds import BUILT_IN, GROUPS, Kinds
from procvision_station.line.messages import RecordKind
from procvision_station.line.tables import TRANSITIONS, Act, Deed, ProductState
from procvision_station.recorder import EVENTS


def members(cls: type[StrEnum]) -> Callable[[], str]:
    """An enumeration's table."""
    return lambda: glossary("", {member: docstrings(cls)[member.name] for member in cls})


def transitions() -> str:
    """Every cell of the table, and the diagram."""
    rows, arrows = [], []
    for state, acts in TRANSITIONS.items():
        for act, (target, deeds) in acts.items():
            rows.append((f"**{state}**", act, f"*{target}*", ", ".join(deeds) or "nothing"))
            arrows.append(f"{state} --> {target}: {act}")
    shown = table(("state", "what comes", "then it is", "and is commanded"), rows)
    return f"{shown}\n\n{diagram([*arrows, f'{ProductState.DONE} --> [*]'], ProductState.NEW)}"


def keys(cls: type[msgspec.Struct]) -> str:
    """The keys of a table of a file."""
    rows = []
    for field in msgspec.structs.fields(cls):
        default = "required" if field.required else _default(field)
        rows.append((f"`{field.encode_name}`", _kind(mi.type_info(field.type)), default, description(field.type)))
    return table(("key", "type", "default", "meaning"), rows) if rows else "No keys but `kind`."


def _default(field: Any) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "none" if value is None or value in ([], {}) else f"`{msgspec.json.encode(value).decode()}`"


def _kind(kind: Any) -> str:
    if isinstance(kind, mi.Metadata):
        return _kind(kind.type)
    if isinstance(kind, mi.UnionType):
        return " or ".join(_kind(each) for each in kind.types if not isinstance(each, mi.NoneType))
    if isinstance(kind, mi.LiteralType):
        return " or ".join(f"`{value}`" for value in kind.values)
    bounds = [
        f"{words} {value:g}"
        for words, value in (
            ("above", getattr(kind, "gt", None)),
            ("from", getattr(kind, "ge", None)),
            ("to", getattr(kind, "le", None)),
        )
        if value is not None
    ]
    words: dict[type, str] = {
        mi.StrType: "string",
        mi.IntType: "integer",
        mi.FloatType: "number",
        mi.BoolType: "boolean",
        mi.DictType: "table",
        mi.StructType: "table",
        mi.ListType: "array",
        mi.VarTupleType: "array",
    }
    return " ".join([words[type(kind)], *bounds])


def file_keys() -> str:
    """The tables of both files."""
    tables = (
        model.StationFile,
        model.StationSection,
        model.PicturesSection,
        model.ProjectionSection,
        model.HeadsSection,
        model.DeploymentsSection,
        model.LineSection,
        model.AlgorithmSection,
        model.WebSection,
    )
    return "\n\n".join(f"{cls.__doc__}\n\n{keys(cls)}" for cls in tables)


def recipe_keys() -> str:
    """The tables of a recipe."""
    return "\n\n".join(f"{cls.__doc__}\n\n{keys(cls)}" for cls in (model.RecipeFile, model.RecipeStep))


def kinds() -> str:
    """The triggers, cameras and outputs in the box."""
    parts = []
    for sort, known in BUILT_IN.items():
        parts.append(f"### {sort.capitalize()}s\n\nOf other distributions: entry points of the group `{GROUPS[sort]}`.")
        for kind in known:
            loaded = Kinds().load(sort, kind)
            meaning = " ".join((loaded.__doc__ or "").split())
            parts.append(f"**`{kind}`**: {meaning}\n\n{keys(loaded.options)}")
    return "\n\n".join(parts)


def commands() -> str:
    """The usage and the options of each command."""
    with click.Context(station, info_name="procvision station") as group:
        return "\n\n".join(subcommands(station, group))


def layout_table(place: int) -> Callable[[], str]:
    """One of the tables of bytes in the module's docstring."""

    def write() -> str:
        lines = (layout.__doc__ or "").splitlines()
        begin = [number for number, line in enumerate(lines) if line.split()[:2] == ["offset", "bytes"]][place]
        rows = itertools.takewhile(str.strip, lines[begin + 1 :])
        return table(("offset", "bytes", "what"), (line.split(None, 2) for line in rows))

    return write


REGIONS: Regions = {
    "states": members(ProductState),
    "acts": members(Act),
    "deeds": members(Deed),
    "transitions": transitions,
    "station-keys": file_keys,
    "recipe-keys": recipe_keys,
    "kinds": kinds,
    "records": members(RecordKind),
    "events": lambda: glossary("event", EVENTS),
    "segment-head": layout_table(0),
    "record-header": layout_table(1),
    "commands": commands,
}
