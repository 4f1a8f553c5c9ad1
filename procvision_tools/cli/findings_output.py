"""Findings as a checklist for people, and as plain values for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs
import click

from procvision_tools.report.text import printable

if TYPE_CHECKING:
    from procvision_testing import Finding

_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "red"),
    "skipped": ("skipped", "cyan"),
}
"""A finding's level -> the word and its colour."""


def tell(name: str, findings: Iterable[Finding], as_json: bool) -> dict[str, Any]:
    """Take the findings as they come, printed one by one for a person."""
    if not as_json:
        click.secho(printable(name), bold=True)
    rows = []
    told: set[tuple[str, str]] = set()
    for found in findings:
        finding = found
        rows.append(attrs.asdict(found))
        if as_json:
            continue
        word, colour = _MARKS[finding.level]
        if finding.level == "failed":
            said = (finding.detail, finding.hint)
            if said in told:  # one mistake fails many checks: it is read once
                finding = attrs.evolve(finding, detail="as above", hint="")
            told.add(said)
        first, *others = [printable(line) for line in finding.detail.splitlines()] or [""]
        mark = click.style(f"{word:>8}", fg=colour, bold=finding.level == "failed")
        click.echo(f"{mark}  {printable(finding.title)}{': ' if first else ''}{first}")
        for line in others:
            click.echo(f"            {line.strip()}")
        for number, line in enumerate(finding.hint.splitlines()):
            click.echo(f"          {'' if number else 'hint: '}{printable(line)}")
    counts = {level: sum(row["level"] == level for row in rows) for level in _MARKS}
    if not as_json:
        counted = ", ".join(f"{count} {_MARKS[level][0]}" for level, count in counts.items() if count)
        click.echo(f"{counted}\n")
    return {"name": name, "ok": counts["failed"] == 0, "counts": counts, "findings": rows}
