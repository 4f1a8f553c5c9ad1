"""Rows that are fitted to the algorithm that a host says it has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from procvision_sdk.manifest.model import Manifest
from procvision_testing.conformance import Row, RowSkippedError, fitted, load_rows
from procvision_testing.conformance.interpreter import run_row
from procvision_testing.conformance.rows import needed_capabilities
from procvision_testing.conformance.targets import ConnectionTarget, Role

ROWS = {row.id: row for row in load_rows(role="host", kind="process")}


def manifest(pids: list[str], index: int = 1, params: list[dict[str, Any]] | None = None) -> Manifest:
    """One step, of this index and these parameters."""
    raw = {"name": "a", "version": "1", "entry_point": "a:B", "supported_pids": pids}
    return msgspec.convert({**raw, "steps": [{"index": index, "name": "s", "params": params or []}]}, Manifest)


def sent(row: Row) -> list[dict[str, Any]]:
    """The calls that the row sends, as messages."""
    steps = [step["send"] for step in row.steps if isinstance(step.get("send"), dict)]
    return [message for message in steps if message["type"] == "call"]


@pytest.mark.parametrize(
    ("pids", "asked", "used"),
    [
        (["A01"], None, "A01"),
        (["*"], None, "A01"),
        (["B2", "C3"], None, "B2"),
        (["B2", "C3"], "C3", "C3"),
    ],
)
def test_calls_name_a_product_of_the_manifest(pids: list[str], asked: str | None, used: str) -> None:
    """What was asked for by name goes first."""
    assert {call["pid"] for call in sent(fitted(ROWS["sessions-apart"], manifest(pids), asked))} == {used}


def test_what_was_asked_for_is_used_where_no_manifest_is_told() -> None:
    """As for a host in another language without `info`."""
    row = ROWS["slot-rgb"]
    assert fitted(row, None) == row
    assert sent(fitted(row, None, "P-7"))[0]["pid"] == "P-7"


def test_calls_name_a_step_of_the_manifest_and_give_what_it_needs() -> None:
    """Also where the answer's pattern names the step."""
    params = [
        {"type": "int", "key": "gain", "min": 3, "required": True},
        {"type": "enum", "key": "side", "choices": ["left", "right"], "required": True},
        {"type": "bool", "key": "dark", "default": False},
    ]
    row = fitted(ROWS["slot-rgb"], manifest(["*"], 4, params))
    assert (sent(row)[0]["step_index"], sent(row)[0]["user_params"]) == (4, {"gain": 3, "side": "left"})
    assert row.inapplicable is None


@pytest.mark.parametrize(
    ("row", "told", "reason"),
    [
        ("unknown-pid", manifest(["*"]), "any product"),
        ("unknown-pid", manifest(["no such product"]), "the product 'no such product'"),
        ("step-index-too-high", manifest(["A01"], 1_000_000), "a step 1000000"),
        ("unknown-parameter", manifest(["A01"], 1, [{"type": "int", "key": "no_such_parameter"}]), "no_such_parameter"),
        (
            "slot-rgb",
            manifest(["A01"], 1, [{"type": "string", "key": "code", "pattern": "^[A-Z]{3}$", "required": True}]),
            "parameter 'code' is required",
        ),
    ],
)
def test_a_row_that_the_manifest_makes_meaningless_is_not_played(row: str, told: Manifest, reason: str) -> None:
    """And says why; every other row stays."""
    made = fitted(ROWS[row], told)
    assert made.inapplicable is not None
    assert made.inapplicable.startswith("not applicable: ")
    assert reason in made.inapplicable
    with ConnectionTarget(Role.HOST) as target, pytest.raises(RowSkippedError, match="not applicable"):
        run_row(made, target)
    assert fitted(ROWS["shutdown"], told).inapplicable is None


def test_rows_of_unknown_things_are_played_where_they_are_unknown() -> None:
    """The tables' own algorithm leaves no row out."""
    assert [row.id for row in ROWS.values() if fitted(row, manifest(["A01"])).inapplicable] == []


@pytest.mark.parametrize(
    ("row", "needed"),
    [
        ("shutdown", []),
        ("info", ["info"]),
        ("reset", ["reset"]),
        ("cancel-unknown", ["cancel"]),
        ("four-calls-in-one-write", ["info", "pending"]),
        ("arena-slot-rgb", ["arena"]),
        ("zero-length", []),
    ],
)
def test_what_a_hello_has_to_show(row: str, needed: list[str]) -> None:
    """A runner sends nothing that it doesn't show to be understood."""
    assert needed_capabilities(ROWS[row]) == needed
