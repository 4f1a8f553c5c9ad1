"""The verdict on a terminal: one strong line, then what it rests on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

import click

from procvision_tools.report.inspection import Inspection, LogLine
from procvision_tools.report.text import columns, padded, printable

BADGES = {"OK": ("green", "white"), "NG": ("red", "white"), "ERROR": ("yellow", "black")}
"""Verdict -> background, text."""
MAX_ERROR_LOGS = 8
"""So many of the last log lines are shown with an ERROR."""
MAX_LINES_OF_A_RECORD = 40
"""A traceback through a framework is longer; where it began and what it came to stand at its ends."""


def render(inspection: Inspection) -> str:
    """Give the verdict, the reason, a table of the defects and the times, styled; `show` takes the styles off."""
    back, fore = BADGES[inspection.verdict]
    badge = click.style(f"  {inspection.verdict}  ", bg=back, fg=fore, bold=True)
    reason = [printable(line) for line in inspection.reason.splitlines()] or [""]
    code = f" [{printable(inspection.error_code)}]" if inspection.verdict == "ERROR" and inspection.error_code else ""
    lines = [f"{badge}  {click.style(reason[0] + code, bold=True)}"]
    lines += [f"        {line}" for line in reason[1:]]
    if inspection.defects:
        lines += ["", *_table(inspection)]
    if inspection.measurements:
        lines += ["", *_measured(inspection)]
    lines.append("")
    lines.append(_faint(f"  {printable(inspection.title)}"))
    what = f"  {inspection.algorithm} {inspection.version}".rstrip()
    lines.append(_faint(printable(what + (f", product {inspection.pid}" if inspection.pid else ""))))
    if inspection.times_ms:
        times = ", ".join(f"{name} {value:.1f} ms" for name, value in inspection.times_ms.items())
        lines.append(_faint(f"  {printable(times)}"))
    # A host that doesn't start says why in its log, and that is the reason above.
    reason_told = inspection.reason.endswith
    logs = [line for line in inspection.logs if not reason_told(line.message.partition("; hint: ")[0])]
    if inspection.verdict == "ERROR" and logs:
        lines += ["", "  last log lines:"]
        for record in logs[-MAX_ERROR_LOGS:]:
            lines += _log_lines(record)
    elif inspection.notices:
        lines += ["", *(click.style(f"  {printable(text)}", fg="yellow") for text in inspection.notices)]
    if inspection.hint:
        lines += ["", *(f"hint: {printable(line)}" for line in inspection.hint.splitlines())]
    return "\n".join(lines)


def _log_lines(record: LogLine) -> list[str]:
    """Show a log record as the lines that it has; of a long one the first and the last are what matters."""
    lines = [printable(line) for line in record.message.splitlines()] or [""]
    if len(lines) > MAX_LINES_OF_A_RECORD:
        half = MAX_LINES_OF_A_RECORD // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half} more lines …", *lines[-half:]]
    return [f"    {record.level}: {lines[0]}", *(f"      {line}" for line in lines[1:])]


def line(inspection: Inspection) -> str:
    """Give an inspection in one line: verdict, what was inspected, why, how long."""
    back, fore = BADGES[inspection.verdict]
    badge = click.style(inspection.verdict.center(7), bg=back, fg=fore, bold=True)
    code = f" [{printable(inspection.error_code)}]" if inspection.verdict == "ERROR" and inspection.error_code else ""
    reason = printable((inspection.reason.splitlines() or [""])[0]) + code
    took_ms = sum(ms for name, ms in inspection.times_ms.items() if name.startswith("execute"))
    return f"{badge}  {printable(inspection.title)}  {reason}  {_faint(f'{took_ms:.1f} ms')}"


def summary(counts: Mapping[str, int]) -> str:
    """Give how many of which verdict there were."""
    total = sum(counts.values())
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in BADGES if counts.get(verdict))
    return f"{total} inspection{'' if total == 1 else 's'}{': ' if told else ''}{told}"


def show(inspection: Inspection, stream: TextIO | None = None) -> None:
    """Print a verdict."""
    echo(render(inspection), stream)


def echo(styled: str, stream: TextIO | None = None) -> None:
    """Print text, in colour only on a terminal (and never where NO_COLOR is set).

    Characters that the stream can't encode are written as escapes.
    """
    out = sys.stdout if stream is None else stream
    encoding = getattr(out, "encoding", None) or "utf-8"
    text = styled.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, file=out, color=False if os.environ.get("NO_COLOR") else None)


def _table(inspection: Inspection) -> list[str]:
    wide = max(5, *(columns(printable(defect.label)) for defect in inspection.defects))
    head = f"  {'#':>3}  {'label':<{wide}}  {'score':>5}  {'x':>6}  {'y':>6}  {'width':>6}  {'height':>6}"
    rows = [
        f"  {number:>3}  {padded(printable(defect.label), wide)}  {defect.score:>5.2f}"
        f"  {defect.x:>6g}  {defect.y:>6g}  {defect.width:>6g}  {defect.height:>6g}"
        for number, defect in enumerate(inspection.defects, 1)
    ]
    return [click.style(head, bold=True), *rows]


def _measured(inspection: Inspection) -> list[str]:
    names = [printable(one.name) for one in inspection.measurements]
    texts = [printable(one.text) for one in inspection.measurements]
    wide, far = max(map(columns, names)), max(map(columns, texts))
    rows = []
    for name, text, one in zip(names, texts, inspection.measurements, strict=True):
        row = f"  {padded(name, wide)}  {padded(text, far)}  {f'({one.limits})' if one.limits else ''}".rstrip()
        rows.append(click.style(row, fg="yellow", bold=True) if one.outside else row)
    return rows


def _faint(text: str) -> str:
    return click.style(text, dim=True)
