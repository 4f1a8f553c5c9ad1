"""Writes the generated regions of the hooks' reference: `python docs/hooks.py`, or `--check` to only compare.

Everything in them stands in `procvision_sdk.hookspecs` and in the plugins in the box.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from procvision_host import builtin
from procvision_host.hookchoice import COMMON_OPTIONS
from procvision_sdk import hookspecs
from procvision_sdk.hookspecs import HookOption

REFERENCE = Path(__file__).parent / "reference" / "hooks.md"
REGION = re.compile(r"(<!-- begin generated: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end generated -->)", re.DOTALL)
PARTS = ("When", "Thread", "May change", "Failure")


def specified() -> str:
    """Each hook under a heading of its own."""
    sections = []
    for name, sort in hookspecs.SORTS.items():
        function = getattr(hookspecs, name)
        arguments = ", ".join(inspect.signature(function).parameters)
        text, parts = _parts(inspect.getdoc(function) or "")
        rows = [f"| {part} | {parts[part]} |" for part in PARTS]
        sections.append(
            "\n".join([f"### `{name}({arguments})`", "", f"*{sort}*. {text}", "", "| | |", "|---|---|", *rows])
        )
    return "\n\n".join(sections)


def overview() -> str:
    """All hooks at a glance."""
    rows = [f"| `{name}` | {sort} | {_first_line(name)} |" for name, sort in hookspecs.SORTS.items()]
    return "\n".join(["| hook | sort | |", "|---|---|---|", *rows])


def in_the_box() -> str:
    """The plugins that ship with the host, and their options."""
    parts = []
    for name in builtin.PLUGINS:
        loaded = builtin.load(name)
        plugin = loaded() if inspect.isclass(loaded) else loaded
        implements = ", ".join(f"`{hook}`" for hook in hookspecs.SORTS if hasattr(plugin, hook))
        options = list(plugin.procvision_options()) if hasattr(plugin, "procvision_options") else []
        first = (inspect.getdoc(plugin) or "").split("\n", maxsplit=1)[0]
        table = f"\n\n{options_table(options)}" if options else ""
        parts.append(f"### `{name}`\n\n{first} Implements {implements}.{table}")
    return "\n\n".join(parts)


def options_table(options: Iterable[HookOption]) -> str:
    """Key, type, default, meaning."""
    rows = []
    for option in options:
        default = "required" if option.required else f"`{option.default}`"
        kind = " or ".join(f"`{choice}`" for choice in option.choices) or option.kind.__name__
        rows.append(f"| `{option.key}` | {kind} | {default} | {option.help} |")
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _first_line(name: str) -> str:
    return _parts(inspect.getdoc(getattr(hookspecs, name)) or "")[0].split(". ")[0].rstrip(".") + "."


def _parts(told: str) -> tuple[str, dict[str, str]]:
    found = re.split(rf"\b({'|'.join(PARTS)}): ", " ".join(told.split()))
    return found[0].strip(), {key: text.strip() for key, text in zip(found[1::2], found[2::2], strict=True)}


REGIONS: dict[str, Callable[[], str]] = {
    "overview": overview,
    "hooks": specified,
    "common-options": lambda: options_table(COMMON_OPTIONS),
    "in-the-box": in_the_box,
}


def generated(page: str) -> str:
    """The page with every region written anew."""
    return REGION.sub(lambda found: f"{found[1]}{REGIONS[found['name']]()}\n{found[4]}", page)


def main() -> int:
    """Writes the page, or with --check says whether it is up to date."""
    page = REFERENCE.read_text("utf-8")
    new = generated(page)
    if "--check" in sys.argv[1:]:
        return 0 if new == page else 1
    REFERENCE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
