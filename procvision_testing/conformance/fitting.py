"""Fits rows to the algorithm that a host says it has, as far as its manifest tells.

The tables are written for an algorithm that takes the product `A01`, and whose step 1 needs no parameters. Calls of
another algorithm name a product, a step and parameters of its own; a row that its manifest makes meaningless, such as
that of an unknown product where any is taken, is not for this host.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from procvision_sdk.manifest.model import ANY_PID, Manifest
from procvision_testing.conformance.rows import Row
from procvision_testing.parameters import UnknownValueError, sample_params

TABLES_PID = "A01"
"""The product id that the tables write."""
TABLES_STEP = 1
"""The step that they write."""
_SIZE = (8, 4)
"""The smallest picture that they lay down."""


def fitted(row: Row, manifest: Manifest | None, pid: str | None = None) -> Row:
    """Return the row as it is played to a host with this manifest, which may have told none.

    `pid` is the product id that was asked for. A row that is not for this host comes with `inapplicable`.
    """
    steps, why = row.steps, None
    if manifest is not None:
        why = _meaningless(row, manifest)
        pid = pid or (TABLES_PID if manifest.supports(TABLES_PID) else manifest.supported_pids[0])
        indexes = [step.index for step in manifest.steps]
        index = TABLES_STEP if TABLES_STEP in indexes else indexes[0]
        try:
            params = sample_params(manifest.steps[indexes.index(index)].params, _SIZE)
        except UnknownValueError as error:
            params = {}
            why = why or (f"not applicable: its step {index}: {error}" if any(_inspections(steps)) else None)
        steps = _replaced(steps, pid, index, params)
    elif pid is not None:
        steps = _replaced(steps, pid, TABLES_STEP, {})
    return attrs.evolve(row, steps=steps, inapplicable=why)


def _meaningless(row: Row, manifest: Manifest) -> str | None:
    """Return why the manifest allows what the row has refused."""
    for call in _inspections(row.steps):
        pid, index, params = call.get("pid"), call.get("step_index"), call.get("user_params")
        if isinstance(pid, str) and pid not in (TABLES_PID, "") and manifest.supports(pid):
            which = "any product" if ANY_PID in manifest.supported_pids else f"the product {pid!r}"
            return f"not applicable: its algorithm takes {which}"
        named_step = TABLES_STEP if index is None else index
        step = next((step for step in manifest.steps if step.index == named_step), None)
        if step is not None and named_step != TABLES_STEP:
            return f"not applicable: its algorithm has a step {index}"
        known = {parameter.key for parameter in step.params} if step is not None else set()
        named = known & params.keys() if isinstance(params, dict) else set()
        if named:
            return f"not applicable: its algorithm has a parameter {min(named)!r}"
    return None


def _inspections(value: Any) -> Iterator[dict[str, Any]]:
    """Yield what the steps send that has a call's product, wherever it stands."""
    if isinstance(value, dict):
        if "pid" in value:
            yield value
        for inner in value.values():
            yield from _inspections(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _inspections(inner)


def _replaced(value: Any, pid: str, index: int, params: dict[str, Any]) -> Any:
    """Return steps whose calls, and patterns of answers, name this product, step and parameters."""
    if isinstance(value, dict):
        made = {key: _replaced(inner, pid, index, params) for key, inner in value.items()}
        if made.get("pid") == TABLES_PID:
            made["pid"] = pid
            if params and made.get("user_params", {}) in ({}, None):
                made["user_params"] = params
        if made.get("step_index") == TABLES_STEP and type(made["step_index"]) is int:
            made["step_index"] = index
        return made
    if isinstance(value, (list, tuple)):
        return type(value)(_replaced(inner, pid, index, params) for inner in value)
    return value
