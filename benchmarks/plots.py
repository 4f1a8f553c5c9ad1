"""Bars as SVG, by hand: a plot library would be one more thing to install for two pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import attrs

_BAR, _GAP, _LEFT, _WIDTH, _RIGHT = 18, 8, 260, 360, 120
_OURS, _FLOOR, _PEER = "#2f6fb2", "#8a8f98", "#c98b3a"


@attrs.frozen
class Bar:
    """One line of a plot; `target` is where a mark stands."""

    name: str
    value: float
    target: float | None = None


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars on a logarithmic scale that begins at a third of the least value."""
    least = min(row.value for row in rows) / 3
    greatest = max(max(row.value, row.target or 0) for row in rows)
    height = 34 + len(rows) * (_BAR + _GAP)
    total = _LEFT + _WIDTH + _RIGHT

    def length(value: float) -> float:
        return _WIDTH * math.log(value / least) / math.log(greatest / least)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" role="img"',
        f' aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="18" font-size="14" fill="#222">{escape(title)}, {escape(unit)}, logarithmic</text>',
    ]
    for place, row in enumerate(rows):
        top = 30 + place * (_BAR + _GAP)
        colour = _OURS if row.name.startswith("ours") else _FLOOR if row.name.startswith("floor") else _PEER
        middle = top + _BAR - 5
        width = length(row.value)
        out += [
            f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end" fill="#222">{escape(row.name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{middle}" fill="#222">{row.value:,.4g}</text>',
        ]
        if row.target is not None:
            at = _LEFT + length(row.target)
            out.append(
                f'<line x1="{at:.1f}" y1="{top - 3}" x2="{at:.1f}" y2="{top + _BAR + 3}" stroke="#b3261e" '
                f'stroke-width="2"><title>target {row.target:g}</title></line>'
            )
    return "\n".join([*out, "</svg>"]) + "\n"
