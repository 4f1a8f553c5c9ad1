"""The tables of the supervision's reference.

Everything in them stands in the code: fields, defaults and causes, and in the docstrings what they mean. A field, a
member or an event without a docstring is a KeyError, and so a failing test.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import attrs

from generating.markdown import Regions, glossary, table
from procvision_runner import errors
from procvision_runner.exit_causes import EndKind
from procvision_runner.options import RunnerOptions
from procvision_runner.supervision import events
from procvision_runner.supervision.limits import EnvironmentPolicy, ResourceLimits
from procvision_runner.supervision.metrics import COUNTERS
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.spare import SpareState
from procvision_runner.supervision.state import SupervisorState
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

POLICIES = (
    SupervisorOptions,
    RestartPolicy,
    RetryPolicy,
    RunnerOptions,
    HeartbeatPolicy,
    ResourceLimits,
    EnvironmentPolicy,
)


def docstrings(cls: type[Any]) -> dict[str, str]:
    """What stands below each field of a class, or member of an enumeration."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, text in itertools.pairwise(definition.body):
        target = getattr(statement, "target", None) or next(iter(getattr(statement, "targets", [])), None)
        if isinstance(target, ast.Name) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[target.id] = str(text.value.value)
    return found


def _first(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0]


def policies() -> str:
    """Each policy under a heading of its own."""
    sections = []
    for cls in POLICIES:
        told = docstrings(cls)
        rows = [(f"`{field.name}`", _default(field), told[field.name]) for field in attrs.fields(cls)]
        sections.append(f"### {cls.__name__}\n\n{_first(cls)}\n\n{table(('field', 'default', 'what, and why'), rows)}")
    return "\n\n".join(sections)


def _default(field: Any) -> str:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        made = default.factory()
        return f"[`{type(made).__name__}()`](#{type(made).__name__.lower()})" if attrs.has(type(made)) else "`{}`"
    if isinstance(default, (frozenset, tuple)) and default:
        return ", ".join(f"`{name}`" for name in sorted(default))
    return f"`{default!r}`"


def event_table() -> str:
    """Every event with its fields."""
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]
    common = {field.name for field in attrs.fields(events.Event)}
    rows = []
    for kind in kinds:
        if kind not in {events.Event, events.HostEvent}:
            fields = ", ".join(f"`{field.name}`" for field in attrs.fields(kind) if field.name not in common)
            rows.append((f"`{kind.NAME}`", f"`{kind.__name__}`", fields, _first(kind)))
    return table(("event", "class", "fields", "meaning"), rows)


def error_table() -> str:
    """What a call, a launch or a swap can raise."""
    rows = []
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.RunnerError) and kind is not errors.RunnerError:
            if not issubclass(kind, errors.CallError):
                rows.append((f"`{kind.__name__}`", "", "", _first(kind)))
            elif kind is not errors.CallError:
                own = kind in {errors.CallFailedError, errors.HostDiedError}
                cause = "its `kind`" if kind is errors.CallFailedError else "the host's end, see below"
                retried = "as the host says" if kind is errors.CallFailedError else "yes" if kind.retryable else "no"
                if kind is errors.CallTimeoutError:
                    retried = "if the policy says so"
                rows.append((f"`{kind.__name__}`", cause if own else f"`{kind.cause}`", retried, _first(kind)))
    return table(("error", "`cause`", "tried again", "meaning"), rows)


def members(cls: type[StrEnum]) -> Callable[[], str]:
    """An enumeration's table."""
    return lambda: glossary("", {member: docstrings(cls)[member.name] for member in cls})


REGIONS: Regions = {
    "states": members(SupervisorState),
    "spare-states": members(SpareState),
    "events": event_table,
    "errors": error_table,
    "ends": members(EndKind),
    "policies": policies,
    "counters": lambda: glossary("counter", COUNTERS, "counts"),
}
