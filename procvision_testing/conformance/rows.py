"""The tables as objects: read, checked for spelling, found by glob.

A table is `{"about": …, "rows": […]}`; a row has `id`, `title`, `paragraph` (a heading of the reference), `steps`,
and may have `roles` (default: host), `start` (default: open), `options` (of the target), `kinds` (default: both),
`capability` (only hosts whose hello shows it are held to the row), `tells` (only hosts whose hello has this field are)
and `arena` (what the host is handed).
A table whose `about` is followed by something else than `rows` is not for the interpreter, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

TABLES = Path(__file__).parent / "tables"

STARTS = ("starting", "handshaking", "open")
KINDS = ("connection", "process")
ARENAS = ("sealed", "none", "another", "closed", "misspelt")
ROLES = ("host", "runner")
STEPS: dict[str, frozenset[str]] = {
    "send": frozenset({"chunk_bytes"}),
    "segment": frozenset(),
    "slot": frozenset(),
    "ask": frozenset(),
    "ask_refused": frozenset(),
    "end": frozenset(),
    "signal": frozenset(),
    "wait_ms": frozenset(),
    "expect": frozenset({"times"}),
    "expect_all": frozenset({"beside"}),
    "expect_either": frozenset(),
    "expect_nothing_for_ms": frozenset(),
    "expect_event": frozenset(),
    "expect_state": frozenset(),
    "expect_end": frozenset(),
    "expect_exit": frozenset(),
}
"""The steps, and what may stand beside each; `only` (a role) may stand beside all.

`beside` an `expect_all` is a list of patterns of frames that may come meanwhile, each once, and need not.
`expect_either` is a list of lists of patterns: the frames come as one of the lists says, in its order and all of it.
"""


class TableError(ValueError):
    """A table that can't be played: the text says which row and why."""


@attrs.frozen(kw_only=True)
class Row:
    """One claim about the protocol, and the steps that show it."""

    id: str
    title: str
    paragraph: str
    steps: tuple[dict[str, Any], ...]
    roles: tuple[str, ...] = ("host",)
    kinds: tuple[str, ...] = KINDS
    start: str = "open"
    options: dict[str, Any] = attrs.field(factory=dict)
    capability: str | None = None
    arena: str = "sealed"
    tells: str | None = None
    table: str = ""
    inapplicable: str | None = None
    """Why it is not for the host at hand, as `fitting` found out; never in a table."""

    def steps_for(self, role: str) -> list[dict[str, Any]]:
        """Return the steps of one role, in order."""
        return [step for step in self.steps if step.get("only", role) == role]


def read_table(path: Path) -> dict[str, Any]:
    """Return a table's JSON. Raises TableError."""
    try:
        table = msgspec.json.decode(path.read_bytes())
    except ValueError as error:
        raise TableError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(table, dict) or "about" not in table:
        raise TableError(f"{path.name} is not a table: an object with `about`")
    return table


def table_files(tables: Path = TABLES) -> list[Path]:
    """Return every table there is, by name."""
    return sorted(tables.glob("*.json"))


def load_rows(*, role: str | None = None, kind: str | None = None, tables: Path = TABLES) -> list[Row]:
    """Return the rows of all tables, those for `role` and for a target of `kind` alone if they are given."""
    rows = [_row(raw, path.stem) for path in table_files(tables) for raw in read_table(path).get("rows", ())]
    ids = [row.id for row in rows]
    doubled = sorted({name for name in ids if ids.count(name) > 1})
    if doubled:
        raise TableError(f"row ids must be unique, these are not: {', '.join(doubled)}")
    return [row for row in rows if (role is None or role in row.roles) and (kind is None or kind in row.kinds)]


def _row(raw: dict[str, Any], table: str) -> Row:
    name = f"{table}/{raw.get('id', '?')}"
    fields = {field.name for field in attrs.fields(Row)} - {"table", "inapplicable"}
    if unknown := set(raw) - fields:
        raise TableError(f"{name} has unknown fields: {', '.join(sorted(unknown))}")
    if missing := {"id", "title", "paragraph", "steps"} - set(raw):
        raise TableError(f"{name} lacks {', '.join(sorted(missing))}")
    fields_as_read: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
    }
    row = Row(table=table, **fields_as_read)
    _check_known(name, "role", row.roles, ROLES)
    _check_known(name, "kind", row.kinds, KINDS)
    _check_known(name, "start", [row.start], STARTS)
    _check_known(name, "arena", [row.arena], ARENAS)
    for number, step in enumerate(row.steps, 1):
        verbs = [key for key in step if key in STEPS]
        if len(verbs) != 1:
            raise TableError(f"{name}, step {number}: exactly one of {', '.join(STEPS)}; has {', '.join(step)}")
        if unknown := set(step) - {verbs[0], "only"} - STEPS[verbs[0]]:
            raise TableError(f"{name}, step {number}: {verbs[0]} takes no {', '.join(sorted(unknown))}")
    return row


def needed_capabilities(row: Row) -> list[str]:
    """Return the capabilities without which a runner would send a host nothing of the row, or not expect its answer."""
    sent = [message for step in row.steps for message in _messages(step.get("send"))]
    needed = {row.capability} if row.capability is not None else set()
    if any(message.get("type") == "cancel" for message in sent):
        needed.add("cancel")
    needed |= {phase for phase in ("info", "reset") if any(message.get("phase") == phase for message in sent)}
    ahead = (sum(message.get("type") == "call" for message in _messages(step.get("send"))) for step in row.steps)
    if max(ahead, default=0) > 1:
        needed.add("pending")
    return sorted(needed)


def _messages(sent: Any) -> list[dict[str, Any]]:
    if isinstance(sent, dict):
        return [sent]
    return [item["message"] for item in sent if "message" in item] if isinstance(sent, (list, tuple)) else []


def _check_known(name: str, what: str, values: Iterable[str], known: Iterable[str]) -> None:
    for value in values:
        if value not in known:
            raise TableError(f"{name}: {what} is {value!r}, known are {', '.join(known)}")
