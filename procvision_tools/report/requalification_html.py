"""One self-contained page of a requalification: the verdict on the new version, tables, and the flips side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from procvision_sdk.errors import CallRefusedError, ProcVisionError
from procvision_sdk.private_files import write_private
from procvision_tools.evaluation.matching import match
from procvision_tools.report.evaluation_html import JudgedBox
from procvision_tools.report.html import GLYPH_WIDTH, detail_of, script, tag_origin, template
from procvision_tools.report.pictures import Shown, show
from procvision_tools.report.provenance import Provenance
from procvision_tools.report.tags import Frame, place_tags
from procvision_tools.report.text import columns, printable
from procvision_tools.requalification.archive import Product, Rect, Said
from procvision_tools.requalification.compare import MEANINGS, OF_THE_NEW, VERDICTS, Counts
from procvision_tools.requalification.report import Outcome, Requalification
from procvision_tools.requalification.statistics import Interval
from procvision_tools.requalification.urls import load_from

TEMPLATE = "requalification.html.jinja"
MIN_OVERLAP = 0.5
"""Two versions' boxes of one label that overlap by more (intersection over union) mark the same defect."""
WIDTH, HEIGHT = 640.0, 260.0
"""Of the picture of flips, in the SVG's units."""
_NODE, _GAP, _LEAST = 14.0, 16.0, 3.0
MAX_FAILURES = 50
WORDS: Mapping[Outcome, str] = {
    "same": "OK", "better": "OK", "no worse": "OK", "worse": "NG", "differs": "ERROR", "unclear": "ERROR",
}  # fmt: skip
"""The colour of a judgement, where no bound is missed."""
HEADINGS: Mapping[Outcome, str] = {"same": "says the same", "no worse": "not shown to be worse"}
"""Of judgements whose word alone would say too much, or too little."""
NAMES = {"ok": "OK", "ng": "NG", "to_ok": "to OK", "to_ng": "to NG"}
"""Of figures, where the name without `_` is none."""
ROWS = ("unstable", "errors", "escapes", "new_escapes", "false_alarms", "new_false_alarms", "accuracy", "ok", "ng")


@frozen
class Flow:
    """Products with one old and one new verdict, as a band."""

    old: str
    new: str
    count: int
    path: str
    kind: str
    place: tuple[float, float]
    """Of its text."""


@frozen
class Node:
    """A verdict on one side."""

    verdict: str
    count: int
    x: float
    y: float
    height: float


@frozen
class Side:
    """One version's picture of a flip."""

    title: str
    verdict: str
    told: str
    marks: tuple[JudgedBox, ...]


@frozen
class Panel:
    """A flip as the template takes it."""

    number: int
    name: str
    facts: tuple[tuple[str, str], ...]
    harm: str
    width: int
    height: int
    font_px: float
    picture: Shown | None
    sides: tuple[Side, Side]


def render(found: Requalification, worst: int = 20, provenance: Provenance | None = None) -> str:
    """Give the page with so many of the worst flips.

    All text is escaped. Raises `MissingExtraError` where jinja2 or Pillow is not installed.
    """
    comparison = found.comparison
    flows, nodes = _flows(comparison.counts)
    flips = [found.archive.products[at] for at in comparison.flips[:worst]]
    text: str = template(TEMPLATE).render(
        found=found,
        comparison=comparison,
        colour=WORDS[found.judgement.outcome] if found.kept else "NG",
        heading=_heading(found),
        title=_capital(f"{found.names[1]} against {found.names[0]}"),
        tiles=_tiles(found),
        flows=flows,
        nodes=nodes,
        width=WIDTH,
        height=HEIGHT,
        figures=_figures(found),
        parts=_parts(found),
        panels=[_panel(number, product, found) for number, product in enumerate(flips, 1)],
        flips=len(comparison.flips),
        unstable=[found.archive.products[at] for at in comparison.unstable[:MAX_FAILURES]],
        max_failures=MAX_FAILURES,
        number=_number,
        times=_times(found),
        script=script(),
        provenance=provenance or Provenance.here(),
    )
    return text


def write(path: Path, found: Requalification, worst: int = 20) -> None:
    """Write the page as UTF-8. Raises OSError, and `MissingExtraError` as `render` does."""
    write_private(path, render(found, worst))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _cell(value: float | None) -> str:
    """Return a count, or a share in percent."""
    return f"{100 * value:.2f} %" if isinstance(value, float) else _number(value)


def _heading(found: Requalification) -> str:
    word = HEADINGS.get(found.judgement.outcome, found.judgement.outcome)
    return word if found.kept else f"{word}, and a bound is missed"


def _capital(text: str) -> str:
    """Return a sentence's begin; a version's own name keeps its letters."""
    return f"T{text[1:]}" if text.startswith("the ") else text


def _name(figure: str) -> str:
    return NAMES.get(figure, figure.replace("_", " "))


def _tiles(found: Requalification) -> list[tuple[str, str, str, str]]:
    """Name, value now, value before, meaning."""
    now, before = found.comparison.figures[""], found.comparison.baseline[""]
    shown = ("products", "flips", "to_ng", "to_ok", "escapes", "false_alarms", "errors", "unstable")
    return [
        (_name(name), _number(now[name]), _number(before[name]), MEANINGS[name])
        for name in shown
        if now[name] is not None
    ]


def _figures(found: Requalification) -> list[tuple[str, str, str, str]]:
    """Name, before, now, meaning; with its bounds of 95 % where it is a share."""
    now, before = found.comparison.figures[""], found.comparison.baseline[""]
    rows = [
        (
            _name(name),
            "" if name in OF_THE_NEW else _cell(before[name]),
            _cell(now[name]),
            MEANINGS[name],
        )
        for name in ROWS
        if now[name] is not None
    ]
    counts = found.comparison.counts
    for name, truth in (("escape rate", 2), ("false alarm rate", 1)):
        cells = [counts.wrong(truth, new=new) for new in (False, True)]
        if None not in cells:
            told = [
                f"{100 * cell.share:.2f} % ({100 * cell.low:.2f} to {100 * cell.high:.2f})" for cell in cells if cell
            ]
            rows.append((name, told[0], told[1], "with Wilson's bounds of 95 %"))
    return rows


def _parts(found: Requalification) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """By what, and rows of name and cells: those with flips first."""
    tables = []
    for kind, by_name in found.comparison.parts.items():
        rows = [
            (name or "none", counts.figures(new=False), counts.figures(new=True)) for name, counts in by_name.items()
        ]
        rows.sort(key=lambda row: (-(row[2]["flips"] or 0), row[0]))
        tables.append((kind, [
            (name, [_number(now["products"]), _number(now["flips"]), _number(now["to_ng"]), _number(now["to_ok"]),
                    _pair(before["escapes"], now["escapes"]), _pair(before["false_alarms"], now["false_alarms"]),
                    _pair(before["errors"], now["errors"])])
            for name, before, now in rows
        ]))  # fmt: skip
    return tables


def _percent(share: Interval) -> str:
    return f"{100 * share.share:.2f} % ({100 * share.low:.2f} to {100 * share.high:.2f})"


def _pair(before: float | None, now: float | None) -> str:
    return "" if now is None else f"{_number(before)} → {_number(now)}"


def _times(found: Requalification) -> list[tuple[str, str, float]]:
    rows = [(f"{name}, {what}", value) for name, took in found.times.items() if took is not None
            for what, value in (("median", took.p50_ms), ("99 %", took.p99_ms))]  # fmt: skip
    longest = max([value for _, value in rows] or [1e-9])
    return [(name, f"{value:.1f} ms", round(100 * value / longest, 1)) for name, value in rows]


def _flows(counts: Counts) -> tuple[list[Flow], list[Node]]:
    """Lay out a band from each old to each new verdict; its width grows with the third root of its count."""
    table = counts.table.sum(axis=2)
    used = [at for at in range(len(VERDICTS)) if table[at].any() or table[:, at].any()]
    roots = {(old, new): float(table[old, new]) ** (1 / 3) for old in used for new in used if table[old, new]}
    room = HEIGHT - _GAP * (len(used) - 1) - _LEAST * len(roots)
    wide = {pair: _LEAST + room * root / (sum(roots.values()) or 1) for pair, root in roots.items()}
    nodes: list[Node] = []
    tops: dict[tuple[str, int, int], float] = {}
    for side, x in (("old", 0.0), ("new", WIDTH - _NODE)):
        y = 0.0
        for at in used:
            own = [pair for pair in wide if pair[0 if side == "old" else 1] == at]
            height, start = sum(wide[pair] for pair in own), y
            for pair in own:
                tops[side, *pair] = y
                y += wide[pair]
            if own:
                count = int(table[at].sum() if side == "old" else table[:, at].sum())
                nodes.append(Node(VERDICTS[at], count, x, start, height))
                y += _GAP
    flows = []
    for (old, new), height in wide.items():
        left, right = tops["old", old, new], tops["new", old, new]
        start, end, middle = _NODE, WIDTH - _NODE, WIDTH / 2
        path = (
            f"M{start} {left:.1f}C{middle} {left:.1f} {middle} {right:.1f} {end} {right:.1f}V{right + height:.1f}"
            f"C{middle} {right + height:.1f} {middle} {left + height:.1f} {start} {left + height:.1f}Z"
        )
        kind = "kept" if old == new else f"to-{VERDICTS[new]}"
        # Where the band begins: there none crosses another.
        place = (start + _GAP / 2, left + height / 2)
        flows.append(Flow(VERDICTS[old], VERDICTS[new], int(table[old, new]), path, kind, place))
    return sorted(flows, key=lambda flow: flow.old != flow.new), nodes


def _panel(number: int, product: Product, found: Requalification) -> Panel:
    old, new = (found.said(product, new=side) for side in (False, True))
    picture = _read(product, found.settings.get("bits"))
    height, width = picture.shape[:2] if picture is not None else (0, 0)
    font_px = max(8.0, max(width, height) / 40)
    marks = [_marks(mine, other, product.truths, width, height, font_px) if width else ()
             for mine, other in ((old, new), (new, old))]  # fmt: skip
    facts = [("In truth", product.truth), *((kind, name) for kind, name in product.parts.items() if name)]
    if len(product.shots) > 1:
        facts.append(("Pictures", f"{len(product.shots)}, the first is shown"))
    details = [mark.detail for of_side in marks for mark in of_side]
    return Panel(
        number=number,
        name=printable(product.name),
        facts=tuple(facts),
        harm=_harm(product, old, new),
        width=width,
        height=height,
        font_px=font_px,
        picture=None if picture is None else show(picture, details),
        sides=(_side(found.names[0], old, marks[0]), _side(found.names[1], new, marks[1])),
    )


def _side(title: str, said: Said, marks: tuple[JudgedBox, ...]) -> Side:
    told = ": ".join(filter(None, (said.failure, said.message)))
    return Side(title, said.verdict, printable(told), marks)


def _harm(product: Product, old: Said, new: Said) -> str:
    if product.truth == "defective" and new.verdict == "OK":
        return "New escape"
    if product.truth == "good" and new.verdict == "NG":
        return "New false alarm"
    if new.killed:
        return "It ends the host"
    right = {"good": "OK", "defective": "NG"}.get(product.truth)
    if right is not None and new.verdict == right:
        return "Now right"
    return f"{old.verdict} became {new.verdict}"


def _read(product: Product, bits: int | None) -> Any:
    picture = product.shots[0].picture
    try:
        file = load_from(picture.place, picture.stamp)
        pixels = file.pixels(bits)
    except (ProcVisionError, CallRefusedError, OSError):
        return None
    return pixels[:, :, 0] if file.header.color_space == "MONO" else pixels


def _marks(
    mine: Said, other: Said, truths: Sequence[Rect], width: int, height: int, font_px: float
) -> tuple[JudgedBox, ...]:
    """Give a version's boxes: `right` where the other has it, too, `false` where it is alone; `missed` is a truth."""
    both = {
        pair.finding for pair in match(mine.defect_rects, other.defect_rects, MIN_OVERLAP) if pair.truth is not None
    }
    found: list[tuple[Literal["right", "false", "missed"], str, Rect]] = [
             ("right" if at in both else "false", f"{printable(rect.label)} {rect.score:.2f}", rect)
             for at, rect in enumerate(mine.defect_rects)]  # fmt: skip
    found += [("missed", printable(rect.label), rect) for rect in truths]
    boxes = [Frame(rect.x, rect.y, rect.width, rect.height) for _, _, rect in found]
    sizes = [(columns(text) * GLYPH_WIDTH * font_px + font_px * 0.7, font_px * 1.3) for _, text, _ in found]
    tags = place_tags(boxes, sizes, width, height)
    return tuple(
        JudgedBox(kind, text, box, tag, tag_origin(tag, box), detail_of(box, width, height))
        for (kind, text, _), box, tag in zip(found, boxes, tags, strict=True)
    )
