"""An evaluation on a terminal: the figures, by group and label, what failed, and which bounds hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

from procvision_tools.evaluation.baseline import Change, changes
from procvision_tools.evaluation.evaluated import Evaluation
from procvision_tools.evaluation.figures import Figures
from procvision_tools.names import shown as path_text
from procvision_tools.report.text import printable

MAX_FAILURES = 5
"""So many failed pictures are named."""
COLUMNS = (
    ("pictures", "pictures"),
    ("failures", "failed"),
    ("truths", "truths"),
    ("findings", "findings"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("f_score", "F-score"),
    ("mean_average_precision", "mAP"),
    ("average_precision", "AP"),
    ("accuracy", "accuracy"),
    ("escapes", "escapes"),
    ("false_alarms", "false alarms"),
    ("findings_off_truth", "off truth"),
    ("auroc", "AUROC"),
    ("execute_p50_ms", "execute ms"),
    ("execute_p99_ms", "p99"),
)
"""The figures that a table of groups or labels has, with their heads."""
_COLOURS = {"better": "green", "worse": "red", "": None}


def render(evaluation: Evaluation) -> str:
    """Give it as lines of text, styled."""
    name = f"{evaluation.algorithm} {evaluation.version}"
    dataset = evaluation.dataset
    lines = [
        click.style(printable(f"{name} on {path_text(dataset.folder)}"), bold=True),
        click.style(_rules(evaluation), dim=True),
        "",
        *_headline(evaluation),
        *_table({**evaluation.groups, "all": evaluation.figures}),
    ]
    if evaluation.labels:
        lines += ["", *_table(evaluation.labels)]
    if evaluation.sweep is not None:
        lines += ["", *_sweep(evaluation)]
    lines += ["", click.style("  times: ", dim=True) + _times(evaluation.figures)]
    lines += _notes(evaluation)
    if evaluation.baseline:
        lines += ["", f"  since {printable(evaluation.baseline)}", *_changes(evaluation)]
    lines += ["", *(_bound(outcome.holds, outcome.text, outcome.value) for outcome in evaluation.bounds)]
    return "\n".join(lines)


def _headline(evaluation: Evaluation) -> list[str]:
    """Say what the groups say, before what all pictures together do."""
    spreads = evaluation.headline
    if not spreads:
        return []
    heads = dict(COLUMNS)
    what = "held out, each with the value that is best on the others" if evaluation.held_out else "each measured alone"
    lines = [click.style(f"  over {spreads[0].groups} groups, {what}:", bold=True)]
    for spread in spreads:
        told = f"  {heads[spread.figure]} {shown(spread.mean)} ± {shown(spread.deviation)}"
        lowest = f", lowest {shown(spread.lowest)} ({printable(spread.lowest_group)})"
        lines.append(f"  {click.style(told, bold=True)}{lowest}")
    return [*lines, ""]


def _rules(evaluation: Evaluation) -> str:
    rules = evaluation.rules
    label = "any label" if rules.any_label else "the same label"
    ranked = f"; pictures ranked by {printable(evaluation.score_key)}" if evaluation.score_key else ""
    return (
        f"right: IoU over {rules.min_iou:g}, {label}, each truth once;"
        f" threshold {rules.threshold:g}; layout {evaluation.dataset.layout}{ranked}"
    )


def shown(value: float | None, figure: str = "") -> str:
    """Give a figure for people: a count whole, a time with one decimal, a ratio with four."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.1f}" if figure.endswith(("_ms", "_per_s")) else f"{value:.4f}"


def _table(rows: Mapping[str, Figures]) -> list[str]:
    columns = [(key, head) for key, head in COLUMNS if any(row.get(key) is not None for row in rows.values())]
    cells = [["", *(head for _, head in columns)]]
    cells += [[printable(name), *(shown(row.get(key), key) for key, _ in columns)] for name, row in rows.items()]
    head, *body = _aligned(cells)
    return [click.style(head, bold=True), *body]


def _aligned(cells: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    for first, *others in cells:
        yield "  " + "  ".join(
            [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        )


def _sweep(evaluation: Evaluation) -> list[str]:
    sweep = evaluation.sweep
    assert sweep is not None
    lines = _table({f"{sweep.key} {row.value}": _judged(row.figures) for row in sweep.rows})
    if sweep.best is not None:
        lines.append(f"  best: {sweep.key} {sweep.best}")
    if sweep.held_out:
        lines += ["", "  held out: each group with the value that is best on all others"]
        lines += _table({f"{row.group}: {row.value}": _judged(row.figures) for row in sweep.held_out})
        lines.append(f"  all held out: F-score {shown(sweep.held_out_f_score)}")
    return lines


def _judged(told: Figures) -> Figures:
    """Return what a value changes: not how many pictures there are, and no times."""
    return {name: value for name, value in told.items() if name != "pictures" and not name.endswith("_ms")}


def _times(told: Figures) -> str:
    parts = [
        f"{phase} p50 {shown(told[f'{phase}_p50_ms'], '_ms')} ms, p99 {shown(told[f'{phase}_p99_ms'], '_ms')} ms"
        for phase in ("pre", "execute", "algorithm")
        if f"{phase}_p50_ms" in told
    ]
    if "pictures_per_s" in told:
        parts.append(f"{shown(told['pictures_per_s'], '_per_s')} pictures/s")
    return "; ".join(parts) or "none, no call had an answer"


def _notes(evaluation: Evaluation) -> list[str]:
    lines = [click.style(f"  note: {printable(note)}", dim=True) for note in evaluation.notes]
    if evaluation.truncated:
        lines.append(f"  note: {evaluation.truncated} pictures had more findings than a result carries")
    for failure, count in evaluation.failures.most_common():
        lines.append(click.style(f"  failed: {printable(failure)}, {count} times", fg="red"))
    failed = [o for o in evaluation.observations if o.verdict == "ERROR"]
    for observation in failed[:MAX_FAILURES]:
        first = (observation.message.splitlines() or [""])[0]
        lines.append(f"    {printable(observation.sample.name)}: {printable(first)}")
    if len(failed) > MAX_FAILURES:
        lines.append(f"    and {len(failed) - MAX_FAILURES} more, in the --json and --html reports")
    return lines


def _changes(evaluation: Evaluation) -> list[str]:
    lines = []
    for part, now in {"": evaluation.figures, **evaluation.groups}.items():
        for change in changes(evaluation.earlier.get(part, {}), now):
            if change.became and not _is_time(change):
                lines.append(_change(part, change))
    return lines or ["    no figure has changed"]


def _is_time(change: Change) -> bool:
    """Time differ from run to run: they are in the reports."""
    return change.figure.endswith(("_ms", "_per_s"))


def _change(part: str, change: Change) -> str:
    name = f"{change.figure}[{part}]" if part else change.figure
    told = f"    {printable(name)}: {shown(change.before)} -> {shown(change.now)}, {change.became}"
    return click.style(told, fg=_COLOURS[change.became])


def _bound(holds: bool, text: str, value: float | None) -> str:
    mark = click.style("  ok", fg="green") if holds else click.style("  MISSED", fg="red", bold=True)
    return f"{mark}  {printable(text)}" + (
        "" if holds else f": it is {shown(value) if value is not None else 'not there'}"
    )
