"""One self-contained page of an evaluation: figures, charts, what failed, and the worst pictures with their boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from procvision_sdk.jsontext import json_text
from procvision_sdk.private_files import write_private
from procvision_tools.evaluation.baseline import changes
from procvision_tools.evaluation.detection import NOTHING, curves
from procvision_tools.evaluation.evaluated import Evaluation
from procvision_tools.evaluation.figures import MEANINGS, Figures
from procvision_tools.evaluation.matching import match
from procvision_tools.evaluation.observations import Observation
from procvision_tools.evaluation.ranking import average_precision
from procvision_tools.report import charts
from procvision_tools.report.evaluation_text import COLUMNS, shown
from procvision_tools.report.html import GLYPH_WIDTH, detail_of, script, tag_origin, template
from procvision_tools.report.measurements import Measurement, measurements
from procvision_tools.report.pictures import Shown, read_picture, show
from procvision_tools.report.provenance import Provenance
from procvision_tools.report.tags import Frame, place_tags
from procvision_tools.report.text import columns, printable

TEMPLATE = "evaluation.html.jinja"
HEADLINES = ("f_score", "precision", "recall", "mean_average_precision", "auroc", "accuracy", "escapes",
             "false_alarms", "failures")  # fmt: skip
NAMES: Mapping[str, str] = {
    "f_score": "F-score", "mean_average_precision": "mAP", "average_precision": "AP", "auroc": "AUROC",
    "false_alarms": "false alarms", "false_alarm_rate": "false alarm rate", "escape_rate": "escape rate",
}  # fmt: skip
MAX_FAILURES = 50
_GOOD, _DEFECTIVE = "#1f7fc0", "#d55e00"


@frozen
class Tile:
    """A headline figure, what it was before and whether that is better."""

    figure: str
    name: str
    value: str
    meaning: str
    before: str
    became: str


@frozen
class JudgedBox:
    """A box in a picture: a right finding, a false one, or a truth that was missed."""

    kind: Literal["right", "false", "missed"]
    text: str
    box: Frame
    tag: Frame
    tag_origin: str
    detail: Frame


@frozen
class WorstPicture:
    """One of the worst pictures as the template takes it."""

    number: int
    name: str
    group: str
    defective: bool
    verdict: str
    wrong: bool
    told: str
    message: str
    width: int
    height: int
    font_px: float
    picture: Shown | None
    reference: Shown | None
    reference_size: tuple[int, int]
    marks: tuple[JudgedBox, ...]
    score: str
    measured: tuple[Measurement, ...]


def render(evaluation: Evaluation, worst: int = 10, provenance: Provenance | None = None) -> str:
    """Give the page with so many of the worst pictures.

    All text is escaped. Raises `MissingExtraError` where jinja2 or Pillow is not installed.
    """
    text: str = template(TEMPLATE).render(
        evaluation=evaluation,
        tiles=_tiles(evaluation),
        tables=_tables(evaluation),
        ranking=_ranking(evaluation),
        sweep=_sweep(evaluation),
        histogram=_histogram(evaluation),
        confusion=_confusion(evaluation),
        times=_times(evaluation.figures),
        changes=_changes(evaluation),
        failed=[o for o in evaluation.observations if o.verdict == "ERROR"][:MAX_FAILURES],
        params=[
            (key, value if isinstance(value, str) else json_text(value)) for key, value in evaluation.params.items()
        ],
        panels=[_panel(number, seen, evaluation) for number, seen in enumerate(evaluation.worst(worst), 1)],
        wrong=len(evaluation.worst(len(evaluation.observations))),
        width=charts.WIDTH,
        height=charts.HEIGHT,
        shown=shown,
        meanings=MEANINGS,
        name_of=name_of,
        script=script(),
        provenance=provenance or Provenance.here(),
    )
    return text


def write(path: Path, evaluation: Evaluation, worst: int = 10) -> None:
    """Write the page as UTF-8. Raises OSError, and `MissingExtraError` as `render` does."""
    write_private(path, render(evaluation, worst))


def name_of(figure: str) -> str:
    """Give a figure's name for people."""
    return NAMES.get(figure, figure.removesuffix("_ms").replace("_", " "))


def _tiles(evaluation: Evaluation) -> list[Tile]:
    then = {change.figure: change for change in changes(evaluation.earlier.get("", {}), evaluation.figures)}
    return [
        Tile(
            figure,
            name_of(figure),
            shown(value),
            MEANINGS[figure],
            shown(then[figure].before) if evaluation.earlier else "",
            then[figure].became,
        )
        for figure in HEADLINES
        if (value := evaluation.figures.get(figure)) is not None
    ]


def _tables(evaluation: Evaluation) -> list[tuple[str, list[tuple[str, str]], list[tuple[str, list[str]]]]]:
    """Title, columns (figure, name), rows (name, cells)."""
    found = []
    for title, rows in (("By group", evaluation.groups), ("By label", evaluation.labels)):
        columns = [(f, head) for f, head in COLUMNS if any(row.get(f) is not None for row in rows.values())]
        if rows:
            body = [(name, [shown(row.get(f), f) for f, _ in columns]) for name, row in rows.items()]
            found.append((title, columns, body))
    return found


def _ranking(evaluation: Evaluation) -> tuple[charts.Chart, list[tuple[str, str, str]]] | None:
    """Return the chart of precision over recall, and (name, colour, average precision) of its lines."""
    by_label = curves(evaluation.observations, evaluation.rules)
    if not any(len(curve.recall) for curve in by_label.values()):
        return None
    colours = [charts.COLOURS[at % len(charts.COLOURS)] for at in range(len(by_label))]
    chart = charts.precision_recall(
        [(label, curve.recall.tolist(), curve.envelope.tolist()) for label, curve in by_label.items()], colours
    )
    legend = [
        (label or "any label", colour, f"{average_precision(curve):.4f}")
        for (label, curve), colour in zip(by_label.items(), colours, strict=True)
    ]
    return chart, legend


def _sweep(evaluation: Evaluation) -> tuple[charts.Chart, Figures] | None:
    sweep = evaluation.sweep
    if sweep is None:
        return None
    figures = [
        f for f in ("f_score", "precision", "recall") if any(row.figures.get(f) is not None for row in sweep.rows)
    ]
    if not figures:
        figures = ["accuracy", "escape_rate", "false_alarm_rate"]
    chart = charts.over_values(
        [row.value for row in sweep.rows],
        [(name_of(figure), [row.figures.get(figure) for row in sweep.rows]) for figure in figures],
    )
    return chart, next((row.figures for row in sweep.rows if row.value == sweep.best), {})


def _histogram(evaluation: Evaluation) -> Mapping[str, Any] | None:
    """Return how the pictures' scores lie, good beside defective ones; None where there is only one kind."""
    if evaluation.figures.get("auroc") is None:
        return None
    scores = [(o.picture_score, o.sample.defective) for o in evaluation.observations]
    finite = [score for score, _ in scores if math.isfinite(score)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    high = high if high > low else low + 1
    kinds = {
        "good": ([s for s, defective in scores if not defective and math.isfinite(s)], _GOOD),
        "defective": ([s for s, defective in scores if defective and math.isfinite(s)], _DEFECTIVE),
    }
    bars = {
        name: (charts.histogram(values, low, high, charts.most_in_a_bin(values, low, high)), colour)
        for name, (values, colour) in kinds.items()
    }
    return {"bars": bars, "low": f"{low:.3g}", "high": f"{high:.3g}", "left_out": len(scores) - len(finite)}


def _confusion(evaluation: Evaluation) -> tuple[list[str], list[tuple[str, list[tuple[int, float, bool]]]]] | None:
    """Label, and rows of (count, share of the row, whether it is right)."""
    counts = evaluation.confusion
    if not counts:
        return None
    labels = sorted({label for pair in counts for label in pair if label != NOTHING})
    called = [*labels, NOTHING]
    rows = []
    for there in called:
        total = max(1, sum(counts[there, name] for name in called))
        cells = []
        for name in called:
            right = there == name or (evaluation.rules.any_label and NOTHING not in (there, name))
            cells.append((counts[there, name], counts[there, name] / total, right))
        rows.append((there, cells))
    return labels, rows


def _times(told: Figures) -> list[tuple[str, str, float]]:
    """(what, how long, its share of the longest)."""
    rows = [(figure, value) for figure, value in told.items() if figure.endswith("_ms") and value is not None]
    longest = max([value for _, value in rows] or [1e-9])
    return [
        (figure.removesuffix("_ms").replace("_", " "), f"{value:.1f} ms", round(100 * value / longest, 1))
        for figure, value in rows
    ]


def _changes(evaluation: Evaluation) -> list[tuple[str, str, str, str, str]]:
    """(figure, of what, before, now, became) of what has changed; times, which differ every time, of all alone."""
    rows = []
    for part, now in {"": evaluation.figures, **evaluation.groups, **evaluation.labels}.items():
        for change in changes(evaluation.earlier.get(part, {}), now):
            if change.became and not (part and change.figure.endswith("_ms")):
                before, after = shown(change.before, change.figure), shown(change.now, change.figure)
                rows.append((name_of(change.figure), part, before, after, change.became))
    return rows


def _panel(number: int, seen: Observation, evaluation: Evaluation) -> WorstPicture:
    sample = seen.sample
    picture, reference = (_read(path, evaluation.bits) for path in (sample.image, sample.reference))
    height, width = picture.shape[:2] if picture is not None else (0, 0)
    font_px = max(8.0, max(width, height) / 48)
    counts = evaluation.counted(seen)
    marks = _marks(seen, evaluation, width, height, font_px) if width else ()
    told = [
        f"{count} {what}"
        for count, what in ((counts.findings - counts.right, "false"), (counts.truths - counts.right, "missed"))
        if count
    ]
    return WorstPicture(
        number=number,
        name=sample.name,
        group=sample.group,
        defective=sample.defective,
        verdict=seen.verdict_at(evaluation.rules.threshold),
        wrong=evaluation.is_wrong(seen),
        told=", ".join(told),
        message=f"{seen.failure}: {seen.message}" if seen.failure else seen.message,
        width=width,
        height=height,
        font_px=font_px,
        picture=None if picture is None else show(picture, [mark.detail for mark in marks]),
        reference=None if reference is None else show(reference, [mark.detail for mark in marks]),
        reference_size=(0, 0) if reference is None else (reference.shape[1], reference.shape[0]),
        measured=tuple(measurements(seen.debug, evaluation.diagnostics)),
        marks=marks,
        score=shown(seen.picture_score) if math.isfinite(seen.picture_score) else "",
    )


def _read(path: Path | None, bits: int | None) -> Any:
    try:
        return None if path is None else read_picture(path, bits)
    except OSError:
        return None


def _marks(seen: Observation, evaluation: Evaluation, width: int, height: int, font_px: float) -> tuple[JudgedBox, ...]:
    rules, truths = evaluation.rules, seen.sample.truths
    kept = seen.kept(rules.threshold)
    pairs = match(kept, truths, rules.min_iou, any_label=rules.any_label, crowds=seen.sample.crowds)
    taken = {pair.truth for pair in pairs}
    found: list[tuple[Literal["right", "false", "missed"], str, Any]] = [
        (
            "right" if pair.truth is not None else "false",
            f"{printable(kept[pair.finding].label)} {kept[pair.finding].score:.2f}",
            kept[pair.finding],
        )
        for pair in pairs
    ]
    found += [("missed", printable(truth.label), truth) for at, truth in enumerate(truths) if at not in taken]
    boxes = [Frame(thing.x, thing.y, thing.width, thing.height) for _, _, thing in found]
    sizes = [(columns(text) * GLYPH_WIDTH * font_px + font_px * 0.7, font_px * 1.3) for _, text, _ in found]
    tags = place_tags(boxes, sizes, width, height)
    return tuple(
        JudgedBox(kind, text, box, tag, tag_origin(tag, box), detail_of(box, width, height))
        for (kind, text, _), box, tag in zip(found, boxes, tags, strict=True)
    )
