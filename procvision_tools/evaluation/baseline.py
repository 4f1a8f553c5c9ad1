"""An earlier report, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from attrs import frozen
from msgspec import Struct

from procvision_sdk.regular_files import read_regular
from procvision_tools.evaluation.evaluated import FORMAT
from procvision_tools.evaluation.figures import LESS_IS_BETTER, NEITHER_IS_BETTER, Figures

MAX_REPORT_BYTES = 1 << 30
SAME = 5e-7
"""Figures are recorded to six decimals: half of the last."""


class BaselineError(ValueError):
    """A file holds no earlier report."""


class _Report(Struct):
    format: str
    figures: Figures
    groups: dict[str, Figures]
    labels: dict[str, Figures]


@frozen
class Change:
    """A figure then and now, and whether it became ``better``, ``worse`` or neither ("")."""

    figure: str
    before: float | None
    now: float | None
    became: str


def read_baseline(path: Path) -> dict[str, Figures]:
    """Give an earlier report's figures, by part. Raises BaselineError."""
    try:
        report = msgspec.json.decode(read_regular(path, MAX_REPORT_BYTES), type=_Report)
    except OSError as error:
        raise BaselineError(f"{path} can't be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise BaselineError(
            f"{path} is no report of an evaluation: {error}\nhint: procvision evaluate --json FILE writes one"
        ) from error
    if report.format != FORMAT:
        raise BaselineError(f"{path} is of the form {report.format!r}, this version reads {FORMAT}")
    return {**report.labels, **report.groups, "": report.figures}


def changes(before: Mapping[str, float | None], now: Mapping[str, float | None]) -> list[Change]:
    """Compare figures that either has."""
    return [Change(name, before.get(name), now.get(name), _became(name, before.get(name), now.get(name)))
            for name in dict.fromkeys([*now, *before])]  # fmt: skip


def _became(figure: str, before: float | None, now: float | None) -> str:
    if before is None or now is None or figure in NEITHER_IS_BETTER or abs(now - before) <= SAME:
        return ""
    return "better" if (now < before) == (figure in LESS_IS_BETTER) else "worse"
