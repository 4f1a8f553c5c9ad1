"""Every row of the conformance tables, against both roles of the wire and through pipes against the real host."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from procvision_sdk.wire.errors import REFUSALS
from procvision_sdk.wire.messages import MESSAGE_TYPES
from procvision_sdk.wire.tables import Role
from procvision_testing.conformance import (
    ConformanceError,
    ConnectionTarget,
    Row,
    TableError,
    load_rows,
    read_table,
    run_row,
    table_files,
)
from procvision_testing.conformance.patterns import mismatch
from procvision_testing.conformance.rows import STEPS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "protocol.md"
IN_MEMORY = [(role, row) for role in Role for row in load_rows(role=role, kind="connection")]
THROUGH_PIPES = load_rows(role="host", kind="process")


PINGS = [{"message": {"type": "ping"}}] * 2


def _named(value: object) -> str | None:
    return f"{value.table}-{value.id}" if isinstance(value, Row) else None


@pytest.mark.parametrize(("role", "row"), IN_MEMORY, ids=_named)
def test_wire_does_what_the_row_says(role: Role, row: Row) -> None:
    """The smallest host and the smallest runner on our `Connection`."""
    with ConnectionTarget(role, row.options) as target:
        run_row(row, target)


def test_our_host_gets_full_marks(host_environment: dict[str, str]) -> None:
    """`procvision conformance` on the real host, a process of its own for each row."""
    command = [sys.executable, "-m", "procvision_tools.cli.main", "conformance", "--jobs", "4", "--json", "--"]
    host = [sys.executable, "-m", "procvision_host", "--algo", "conformance"]
    done = subprocess.run([*command, *host], env=host_environment, capture_output=True, text=True, timeout=110)
    report = json.loads(done.stdout)
    assert [row for row in report["rows"] if row["level"] != "ok"] == []
    assert done.returncode == 0
    assert report["counts"] == {"ok": len(THROUGH_PIPES), "failed": 0, "skipped": 0}


def test_tables_are_found() -> None:
    """A glob that finds nothing would pass every test."""
    assert {path.stem for path in table_files()} >= {"frames", "messages", "scenarios", "runner", "transitions"}
    assert len(IN_MEMORY) > 200
    assert len(THROUGH_PIPES) > 100


def test_every_row_names_a_heading_of_the_reference() -> None:
    """A row stands for a paragraph that a reader can look up."""
    headings = set(re.findall(r"^#+ (.+)$", REFERENCE.read_text(), re.MULTILINE))
    assert {row.paragraph for row in load_rows()} <= headings


def test_every_refusal_has_a_row() -> None:
    """Each kind by which the wire refuses a frame is expected somewhere."""
    text = "".join(path.read_text() for path in table_files())
    assert [kind for kind in [*REFUSALS, "handshake_timeout"] if f'"{kind}"' not in text and kind != "draining"] == []


def test_every_message_type_is_sent_by_a_row() -> None:
    """Each message of the protocol goes over the wire in some row."""
    text = "".join(path.read_text() for path in table_files())
    assert [name for name in MESSAGE_TYPES if f'"type": "{name}"' not in text] == []


def test_every_step_is_used() -> None:
    """No step of the interpreter is without a row."""
    used = {verb for row in load_rows() for step in row.steps for verb in step if verb in STEPS}
    assert used == set(STEPS)


@pytest.mark.parametrize(
    "table",
    [
        '{"rows": []}',
        "[]",
        '{"about": "x"',
        '{"about": "", "rows": [{"id": "a", "title": "t", "paragraph": "p"}]}',
        '{"about": "", "rows": [{"id": "a", "title": "t", "paragraph": "p", "steps": [{"sned": {}}]}]}',
        '{"about": "", "rows": [{"id": "a", "title": "t", "paragraph": "p", "steps": [{"send": {}, "tmies": 2}]}]}',
        '{"about": "", "rows": [{"id": "a", "title": "t", "paragraph": "p", "steps": [], "roles": ["client"]}]}',
        '{"about": "", "rows": [{"id": "a", "title": "t", "paragraph": "p", "steps": [], "colour": 1}]}',
        '{"about": "", "rows": [' + ", ".join(['{"id": "a", "title": "t", "paragraph": "p", "steps": []}'] * 2) + "]}",
    ],
)
def test_misspelt_table_is_refused(table: str, tmp_path: Path) -> None:
    """A row that says nothing must not pass."""
    (tmp_path / "wrong.json").write_text(table)
    with pytest.raises(TableError):
        load_rows(tables=tmp_path)


def test_table_without_rows_is_left_to_others(tmp_path: Path) -> None:
    """The table of transitions is read by its own test."""
    (tmp_path / "other.json").write_text('{"about": "something else"}')
    assert load_rows(tables=tmp_path) == []
    assert read_table(tmp_path / "other.json") == {"about": "something else"}


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([{"expect": {"type": "pong"}}], "no frame came"),
        ([{"send": {"type": "ping"}}, {"expect": {"type": "result"}}], "frame.type is 'pong'"),
        ([{"send": {"type": "ping"}}, {"expect_nothing_for_ms": 1}], "expected nothing"),
        ([{"send": {"type": "ping"}}, {"expect_end": True}], "a frame after the last one"),
        ([{"expect_end": True}], "did not end"),
        ([{"expect_exit": 0}], "it exits None"),
        ([{"expect_state": "closed"}], "connection is open"),
        ([{"expect_event": {"event": "message"}}], "no event"),
        ([{"send": {"type": "ping"}}, {"expect_event": {"event": "violation"}}], "event.event is 'message'"),
        ([{"send": {"type": "ping"}}, {"expect_all": [{"type": "result"}]}], "is none of"),
        ([{"expect_all": [{"type": "result"}]}], "still expected"),
        ([{"send": {"type": "ping"}}, {"expect_all": [{"type": "result"}], "beside": [{"state": "?"}]}], "is none of"),
        ([{"send": {"type": "ping"}}, {"expect_all": [{"type": "result"}], "beside": [{"type": "pong"}]}], "still exp"),
        ([{"send": PINGS}, {"expect_all": [{"type": "result"}], "beside": [{"type": "pong"}]}], "is none of"),
        ([{"send": PINGS}, {"expect_either": [[{"type": "pong"}, {"type": "result"}]]}], "is none of"),
        ([{"send": {"type": "ping"}}, {"expect_either": [[{"type": "error"}], [{"type": "result"}]]}], "is none of"),
        ([{"send": {"type": "ping"}}, {"expect_either": [[{"type": "pong"}, {"type": "pong"}]]}], "expected one of"),
        ([{"ask": {"type": "ping"}}], "it refused to send"),
        ([{"ask_refused": {"type": "error", "message": "x"}}], "it sent what it must not"),
    ],
)
def test_broken_expectation_is_told(steps: list[dict[str, object]], text: str) -> None:
    """The interpreter itself can fail, and says where."""
    row = Row(id="broken", title="t", paragraph="p", steps=tuple(steps), table="made-up")
    with pytest.raises(ConformanceError, match="made-up/broken against a host") as failure:
        run_row(row, ConnectionTarget(Role.HOST))
    assert text in str(failure.value)


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": {"$absent": True}}, {}, True),
        ({"a": {"$absent": True}}, {"a": None}, False),
        ({"a": {"$any": True}}, {"a": None}, True),
        ({"a": {"$any": True}}, {}, False),
        ({"a": {"$is": "integer"}}, {"a": True}, False),
        ({"a": {"$is": "integer"}}, {"a": 0}, True),
        ({"a": {"$is": "boolean"}}, {"a": 0}, False),
        ({"a": {"$is": "boolean"}}, {"a": True}, True),
        ({"a": {"$is": "array"}}, {"a": []}, True),
        ({"a": {"$one_of": ["x", {"b": 1}]}}, {"a": {"b": 1}}, True),
        ({"a": {"$one_of": ["x"]}}, {"a": "y"}, False),
        ({"a": {"$none_of": ["x"]}}, {"a": "y"}, True),
        ({"a": {"$none_of": ["x"]}}, {}, True),
        ({"a": {"$none_of": ["x", "y"]}}, {"a": "y"}, False),
        ({"a": {"$matches": "^x"}}, {"a": "xy"}, True),
        ({"a": {"$at_least": 3}}, {"a": 2}, False),
        ({"a": {"$at_least": 3}}, {"a": 3.5}, True),
        ({"a": {"$at_least": 0}}, {"a": True}, False),
        ([1, {"$any": True}], [1, 2], True),
        ([1], [1, 2], False),
        ({"a": 1}, [], False),
    ],
)
def test_pattern_means_what_it_says(pattern: object, value: object, fits: bool) -> None:
    """The small language of the tables."""
    assert (mismatch(pattern, value) is None) is fits
