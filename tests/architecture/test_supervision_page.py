"""The reference of supervision leaves nothing out of what the code counts, tells and decides by."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs

from procvision_runner.exit_causes import EndKind
from procvision_runner.options import RunnerOptions
from procvision_runner.supervision import events
from procvision_runner.supervision.metrics import COUNTERS
from procvision_runner.supervision.options import SupervisorOptions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "supervision.md").read_text("utf-8")


def counted() -> set[str]:
    """What the code counts under a literal name; the varying part of one as a capital word."""
    found = set()
    for path in (ROOT / "procvision_runner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "count" and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.isidentifier():
                    found.add(name.value)
                elif isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
                    varying = name.values[1].value if isinstance(name.values[1], ast.FormattedValue) else None
                    word = "VERDICT" if isinstance(varying, ast.Name) and varying.id == "verdict" else "CAUSE"
                    found.add(f"{name.values[0].value}{word}")
    return found


def test_every_counter_is_described() -> None:
    """And none that is counted no more."""
    assert counted() | {"calls", "calls_OUTCOME", "products"} == set(COUNTERS)
    assert all(f"| `{name}` |" in PAGE for name in COUNTERS)


def test_every_event_end_and_option_is_on_the_page() -> None:
    """Whatever the generator finds."""
    for kind in vars(events).values():
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind not in {events.Event, events.HostEvent}:
            assert f"| `{kind.NAME}` |" in PAGE
    for end in EndKind:
        assert f"| `{end}` |" in PAGE
    for cls in (SupervisorOptions, RunnerOptions):
        assert re.search(rf"^### {cls.__name__}$", PAGE, re.MULTILINE)
        assert all(f"| `{field.name}` |" in PAGE for field in attrs.fields(cls))
