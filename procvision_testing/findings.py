"""What an examination found: a row for each thing that was looked at."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Level = Literal["ok", "warning", "failed", "skipped"]


@frozen
class Finding:
    """One row: what was looked at, how it is, and for what is not ok where, the bound, the value and what to do."""

    title: str
    level: Level = "ok"
    detail: str = ""
    hint: str = ""
