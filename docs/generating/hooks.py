"""The tables of the hooks' reference: all in them stands in `procvision_sdk.hookspecs` and the plugins in the box."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from generating.markdown import Regions, table
from procvision_host import builtin
from procvision_host.hooks.selection import COMMON_OPTIONS
from procvision_sdk import hookspecs
from procvision_sdk.hookspecs import HookOption

PARTS = ("When", "Thread", "May change", "Failure")


def specified() -> str:
    """Each hook under a heading of its own."""
    sections = []
    for name, sort in hookspecs.SORTS.items():
        function = getattr(hookspecs, name)
        arguments = ", ".join(inspect.signature(function).parameters)
        text, parts = _parts(inspect.getdoc(function) or "")
        facts = table(("", ""), ((part, parts[part]) for part in PARTS))
        sections.append(f"### `{name}({arguments})`\n\n*{sort}*. {text}\n\n{facts}")
    return "\n\n".join(sections)


def overview() -> str:
    """All hooks at a glance."""
    return table(
        ("hook", "sort", ""), ((f"`{name}`", sort, _first_line(name)) for name, sort in hookspecs.SORTS.items())
    )


def in_the_box() -> str:
    """The plugins that ship with the host, and their options."""
    parts = []
    for name in builtin.PLUGINS:
        loaded = builtin.load(name)
        plugin = loaded() if inspect.isclass(loaded) else loaded
        implements = ", ".join(f"`{hook}`" for hook in hookspecs.SORTS if hasattr(plugin, hook))
        options = list(plugin.procvision_options()) if hasattr(plugin, "procvision_options") else []
        first = (inspect.getdoc(plugin) or "").split("\n", maxsplit=1)[0]
        its_options = f"\n\n{options_table(options)}" if options else ""
        parts.append(f"### `{name}`\n\n{first} Implements {implements}.{its_options}")
    return "\n\n".join(parts)


def options_table(options: Iterable[HookOption]) -> str:
    """Key, type, default, meaning."""
    rows = []
    for option in options:
        default = "required" if option.required else f"`{option.default}`"
        kind = " or ".join(f"`{choice}`" for choice in option.choices) or option.kind.__name__
        rows.append((f"`{option.key}`", kind, default, option.help))
    return table(("key", "type", "default", "meaning"), rows)


def _first_line(name: str) -> str:
    return _parts(inspect.getdoc(getattr(hookspecs, name)) or "")[0].split(". ")[0].rstrip(".") + "."


def _parts(told: str) -> tuple[str, dict[str, str]]:
    found = re.split(rf"\b({'|'.join(PARTS)}): ", " ".join(told.split()))
    return found[0].strip(), {key: text.strip() for key, text in zip(found[1::2], found[2::2], strict=True)}


REGIONS: Regions = {
    "overview": overview,
    "hooks": specified,
    "common-options": lambda: options_table(COMMON_OPTIONS),
    "in-the-box": in_the_box,
}
