"""What a ledger has, as plain values: every record, or a row a product."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from procvision_sdk.errors import ProcVisionError
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import Break, read_journal

COLUMNS = (
    "line",
    "sequence",
    "recorded_at",
    "key",
    "product",
    "recipe",
    "recipe_version",
    "triggered_at",
    "found",
    "told",
    "reason",
    "elapsed_ms",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula; a reason is a vendor's text."""


class ExportError(ProcVisionError):
    """A journal breaks before its end."""


def records(line: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every record of a line's journal. Raises ExportError at a break, once what stands before it was given."""
    for found in read_journal(FolderDisk(folder)):
        if isinstance(found, Break):
            if found.torn:
                return
            raise ExportError(f"{line}: {found}\nhint: procvision station audit FOLDER")
        header = found.header
        yield {
            "line": line,
            "sequence": header.sequence,
            "recorded_at": datetime.fromtimestamp(header.time_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            "kind": Kind(header.kind).name.lower() if header.kind in set(Kind) else str(header.kind),
            **({"erased": True} if found.body is None else found.content()),
        }


def rows(line: str, folder: Path, *, header: bool = True) -> Iterator[tuple[Any, ...]]:
    """Yield `COLUMNS`, and a row a product: `told` is what was told at last. Raises ExportError."""
    corrected: dict[Any, dict[str, Any]] = {
        each["key"]: each for each in records(line, folder) if each["kind"] == "told" and "key" in each
    }
    if header:
        yield COLUMNS
    for each in records(line, folder):
        if each["kind"] == "product":
            told = corrected.get(each.get("key"), {})
            whole = dict(each)
            whole.update((name, told[name]) for name in ("told", "reason") if name in told)
            yield tuple(plain_cell(whole.get(column, "")) for column in COLUMNS)


def plain_cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
