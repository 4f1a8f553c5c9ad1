"""Small charts as SVG paths: the numbers, laid out; the template draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

WIDTH, HEIGHT = 360.0, 220.0
"""Of the plotted field, in the SVG's units."""
COLOURS = ("#1f7fc0", "#d55e00", "#8b5fd6", "#b8448f", "#b07a00", "#7a7a7a", "#c2553f", "#6d7fd9")
"""Each has a contrast of 3 and more with white and with the dark scheme's cards; none is the green of OK."""
BINS = 20


@frozen
class Line:
    """A named line: its path, its points, its colour."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]
    colour: str


@frozen
class Tick:
    """A mark on an axis: where, and what stands there."""

    at: float
    text: str


@frozen
class Chart:
    """Lines in a field, y growing upwards."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@frozen
class Bar:
    """A histogram's bar, of one of two kinds."""

    x: float
    y: float
    width: float
    height: float
    text: str


def precision_recall(curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], colours: Sequence[str]) -> Chart:
    """Chart (name, recall, precision) with precision made to fall; the axes start where something happens."""
    low = min((min(precision) for _, _, precision in curves if len(precision)), default=0.0)
    floor = min(0.9, int(low * 10) / 10)
    lines = []
    for (name, recall, precision), colour in zip(curves, colours, strict=True):
        points: list[tuple[float, float]] = []
        before = 0.0
        for x, y in zip(recall, precision, strict=True):
            if points and points[-1][1] == y:
                points[-1] = (x, y)
            else:
                points += [(before, y), (x, y)]
            before = x
        lines.append(_line(name, [(x * WIDTH, _up(y, floor, 1.0)) for x, y in points], colour))
    return Chart(tuple(lines), _ticks(0, 1, WIDTH, down=False), _ticks(floor, 1, HEIGHT, down=True))


def over_values(values: Sequence[str], lines: Sequence[tuple[str, Sequence[float | None]]]) -> Chart:
    """Chart named lines over values that lie apart evenly, whether they are numbers or words."""
    known = [y for _, ys in lines for y in ys if y is not None]
    floor = min(0.9, int(min(known, default=0.0) * 10) / 10)
    step = WIDTH / max(1, len(values) - 1)
    drawn = [
        _line(name, [(at * step, _up(y, floor, 1.0)) for at, y in enumerate(ys) if y is not None], colour)
        for (name, ys), colour in zip(lines, COLOURS, strict=False)
    ]
    every = max(1, len(values) // 8)
    ticks = tuple(Tick(at * step, value) for at, value in enumerate(values) if at % every == 0)
    return Chart(tuple(drawn), ticks, _ticks(floor, 1, HEIGHT, down=True))


def histogram(values: Sequence[float], low: float, high: float, most: int) -> list[Bar]:
    """Give bars over ``low`` to ``high``; ``most`` is the count that is as high as the field."""
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    wide = WIDTH / BINS
    return [
        Bar(at * wide, HEIGHT - HEIGHT * count / most, wide, HEIGHT * count / most,
            f"{count} from {edges[at]:.3g} to {edges[at + 1]:.3g}")
        for at, count in enumerate(counts.tolist())
        if count
    ]  # fmt: skip


def most_in_a_bin(values: Sequence[float], low: float, high: float) -> int:
    """Give the largest count of a histogram's bars, at least 1."""
    return max(1, int(np.histogram(values, bins=BINS, range=(low, high))[0].max()))


def _line(name: str, points: Sequence[tuple[float, float]], colour: str) -> Line:
    path = " ".join(f"{'M' if at == 0 else 'L'}{x:.1f} {y:.1f}" for at, (x, y) in enumerate(points))
    return Line(name, path, tuple(points), colour)


def _up(value: float, low: float, high: float) -> float:
    return HEIGHT - HEIGHT * (value - low) / (high - low)


def _ticks(low: float, high: float, length: float, *, down: bool) -> tuple[Tick, ...]:
    steps = 5
    return tuple(
        Tick((length - length * at / steps) if down else length * at / steps, f"{low + (high - low) * at / steps:.3g}")
        for at in range(steps + 1)
    )
