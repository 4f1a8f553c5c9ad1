"""Charts as SVG. Colours stand in the page's style sheet by class; what stands here as well is for a file on its own.

Texts that come from elsewhere, such as a vendor's label, are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from xml.sax.saxutils import escape, quoteattr

from procvision_station.projection.answers import CountRow, ParetoRow, TrendPoint
from procvision_station.web.texts import Texts

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 58, 16, 34
MAX_BARS = 400
"""A bar is at least two units wide; the latest are shown."""
MAX_BAR_WIDTH = 110
MAX_LABELS = 12
OK, NG, ERROR, LINE, BAND = "#157347", "#b3261e", "#8a5a00", "#1f7fc0", "#7a7a7a"


def stacked(rows: Sequence[CountRow], text: Texts, zone: tzinfo) -> str:
    """Draw OK, NG and ERROR of each group on each other, and the yield as a line."""
    rows = rows[-MAX_BARS:]
    if not any(row.total for row in rows):
        return _empty(text)
    top = _nice(max(row.total for row in rows))
    wide = min(_plot_width() / len(rows), MAX_BAR_WIDTH)
    parts = [*_y_axis(top)]
    for percent in (0, 50, 100):
        y = _y(percent, 100)
        parts.append(_text(WIDTH - RIGHT + 6, y + 4, f"{percent} %", "axis"))
    points = []
    for place, row in enumerate(rows):
        x, base = LEFT + place * wide, 0.0
        told = text(
            "chart.counts", group=_name(row, zone), ok=row.ok, ng=row.ng, error=row.error, share=_percent(row.share)
        )
        bars = []
        for count, kind, colour in ((row.ok, "ok", OK), (row.ng, "ng", NG), (row.error, "error", ERROR)):
            if count:
                y, high = _y(base + count, top), _plot_height() * count / top
                gap = min(1.5, wide * 0.15)
                bars.append(_rect(x + gap / 2, y, max(0.5, wide - gap), high, f"bar {kind}", colour))
                base += count
        parts.append(f"<g><title>{escape(told)}</title>{''.join(bars)}</g>")
        if row.share is not None:
            points.append((x + wide / 2, _y(row.share * 100, 100)))
    parts.append(_path(points, "yield", LINE))
    parts += [f'<circle class="yield" fill="{LINE}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points[:60]]
    parts += _x_labels([(LEFT + (place + 0.5) * wide, _name(row, zone)) for place, row in enumerate(rows)])
    return _svg(parts, text("chart.yield"))


def pareto(rows: Sequence[ParetoRow], text: Texts) -> str:
    """Draw the most frequent labels as bars, and their sum as a line."""
    rows = rows[:MAX_LABELS]
    if not rows:
        return _empty(text)
    top = _nice(max(row.defects for row in rows))
    wide = min(_plot_width() / len(rows), MAX_BAR_WIDTH)
    parts = [*_y_axis(top)]
    for percent in (0, 50, 100):
        parts.append(_text(WIDTH - RIGHT + 6, _y(percent, 100) + 4, f"{percent} %", "axis"))
    for place, row in enumerate(rows):
        told = text("chart.label", label=row.label, defects=row.defects, products=row.products)
        high = _plot_height() * row.defects / top
        bar = _rect(LEFT + place * wide + wide * 0.15, _y(row.defects, top), wide * 0.7, high, "bar count", LINE)
        parts.append(f"<g><title>{escape(told)}</title>{bar}</g>")
        parts.append(_text(LEFT + (place + 0.5) * wide, _y(row.defects, top) - 3, str(row.defects), "axis middle"))
    parts.append(
        _path([(LEFT + (place + 0.5) * wide, _y(row.cumulative * 100, 100)) for place, row in enumerate(rows)],
              "cumulative", BAND)
    )  # fmt: skip
    for place, row in enumerate(rows):
        shown = row.label if len(row.label) <= 14 else f"{row.label[:13]}…"
        parts.append(_text(LEFT + (place + 0.5) * wide, HEIGHT - 12, shown, "axis middle"))
    return _svg(parts, text("chart.pareto"))


def trend(points: Sequence[TrendPoint], name: str, text: Texts, zone: tzinfo) -> str:
    """Draw a measured value's mean, the span between its extremes, and its limits."""
    known = [value for point in points for value in (point.lowest, point.highest, point.low, point.high)]
    finite = [value for value in known if value is not None and math.isfinite(value)]
    if not points or not finite:
        return _empty(text)
    low, high = min(finite), max(finite)
    space = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = low - space, high + space

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - _plot_height() * (value - low) / (high - low)

    begin, end = points[0].at.timestamp(), points[-1].at.timestamp()
    length = (end - begin) or 1.0

    def x(point: TrendPoint) -> float:
        return LEFT + _plot_width() * (0.5 if begin == end else (point.at.timestamp() - begin) / length)

    parts = []
    for place in range(5):
        value = low + (high - low) * place / 4
        parts.append(_grid(y(value)) + _text(LEFT - 6, y(value) + 4, f"{value:.4g}", "axis end"))
    band = [(x(point), y(point.highest)) for point in points]
    band += [(x(point), y(point.lowest)) for point in reversed(points)]
    if len(points) > 1:
        parts.append(f'<path class="band" fill="{BAND}" fill-opacity="0.25" d="{_d(band)}Z"/>')
    for kind in ("low", "high"):
        limits = [(x(point), y(value)) for point in points if (value := getattr(point, kind)) is not None]
        if limits:
            limits = limits if len(limits) > 1 else [(LEFT, limits[0][1]), (WIDTH - RIGHT, limits[0][1])]
            parts.append(_path(limits, "limit", NG, dashed=True))
    parts.append(_path([(x(point), y(point.mean)) for point in points], "mean", LINE))
    if len(points) <= MAX_BARS:
        for point in points:
            told = text(
                "chart.point", at=_time(point.at, zone), mean=f"{point.mean:.6g}", lowest=f"{point.lowest:.6g}",
                highest=f"{point.highest:.6g}", count=point.count,
            )  # fmt: skip
            dot = f'<circle class="dot" fill="{LINE}" cx="{x(point):.1f}" cy="{y(point.mean):.1f}" r="3"/>'
            parts.append(f"<g><title>{escape(told)}</title>{dot}</g>")
    parts += _x_labels([(x(point), _time(point.at, zone)) for point in points])
    return _svg(parts, text("chart.trend", name=name))


# --- parts ------------------------------------------------------------------------------------------------------


def _svg(parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label={quoteattr(title)} font-family="sans-serif" font-size="14">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _empty(text: Texts) -> str:
    return _svg([_text(WIDTH / 2, HEIGHT / 2, text("chart.empty"), "axis middle")], text("chart.empty"))


def _plot_width() -> float:
    return WIDTH - LEFT - RIGHT


def _plot_height() -> float:
    return HEIGHT - TOP - BOTTOM


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - _plot_height() * value / top


def _y_axis(top: float) -> Iterator[str]:
    for place in range(5):
        value = top * place / 4
        yield _grid(_y(value, top)) + _text(LEFT - 6, _y(value, top) + 4, f"{value:g}", "axis end")


def _grid(y: float) -> str:
    return (
        f'<line class="grid" stroke="{BAND}" stroke-opacity="0.3" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
        f'y1="{y:.1f}" y2="{y:.1f}"/>'
    )


def _text(x: float, y: float, words: str, kind: str) -> str:
    anchor = "middle" if "middle" in kind else "end" if "end" in kind else "start"
    return f'<text class="{kind}" fill="{BAND}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str, colour: str) -> str:
    return f'<rect class="{kind}" fill="{colour}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'


def _d(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))


def _path(points: Sequence[tuple[float, float]], kind: str, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<path class="{kind}" fill="none" stroke="{colour}" stroke-width="2"{dash} d="{_d(points)}"/>'


def _x_labels(places: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Yield so many labels that they have room."""
    longest = max((len(words) for _, words in places), default=1)
    room = max(1, int(_plot_width() / (min(longest, 24) * 8 + 14)))
    every = max(1, math.ceil(len(places) / room))
    for place, (x, words) in enumerate(places):
        if place % every == 0:
            shown = words if len(words) <= 24 else f"{words[:23]}…"
            yield _text(min(max(x, LEFT), WIDTH - RIGHT), HEIGHT - 12, shown, "axis middle")


def _nice(value: float) -> float:
    """Return the next number from 1, 2, 4 or 8 times a power of ten; at least 4, so that a quarter is whole."""
    if value <= 4:
        return 4.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


def _name(row: CountRow, zone: tzinfo) -> str:
    if row.since is not None and row.until is not None and (row.until - row.since).total_seconds() < 3600:
        return _time(row.since, zone)
    return row.group


def _time(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%m-%d %H:%M}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f} %"
