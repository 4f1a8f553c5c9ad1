"""The types of a message's or a manifest's fields, in words."""

from __future__ import annotations

from typing import Any

import msgspec.inspect as mi

_SIMPLE: dict[Any, str] = {
    mi.StrType: "string",
    mi.IntType: "integer",
    mi.FloatType: "number",
    mi.BoolType: "boolean",
    mi.DictType: "object",
    mi.AnyType: "any JSON",
}


def in_words(kind: Any) -> str:
    """A field's type as a page names it; a KeyError for one that no page has had yet."""
    if isinstance(kind, mi.Metadata):
        return in_words(kind.type)
    if isinstance(kind, mi.UnionType):
        return " or ".join(in_words(part) for part in kind.types if not isinstance(part, mi.NoneType))
    if isinstance(kind, mi.ListType):
        return f"array of {in_words(kind.item_type)}"
    if isinstance(kind, mi.LiteralType):
        return " or ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, mi.StructType):
        return f"object `{kind.cls.__name__}`"
    bound = kind.max_length if isinstance(kind, mi.StrType) else None
    return _SIMPLE[type(kind)] + (f", at most {bound} characters" if bound else "")


def nullable(kind: Any) -> bool:
    """Whether null may stand for it."""
    return isinstance(kind, mi.UnionType) and any(isinstance(part, mi.NoneType) for part in kind.types)
