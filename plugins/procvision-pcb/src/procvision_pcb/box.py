"""Boxes around defects, in the picture's pixels."""

from __future__ import annotations

import numpy as np

from procvision_pcb.motion import Alignment

Box = tuple[int, int, int, int]
"""x, y, width, height in whole pixels, inside the picture, width and height at least 1."""


def around(region: Box, alignment: Alignment, margin_px: int) -> Box:
    """The box around a region of the reference, in the picture, cut at the picture's border.

    Args:
        region: in the reference's coordinates.
        alignment: from there to the picture, which has the reference's size.
        margin_px: how much to leave around the region on each side.
    """
    x, y, width, height = region
    left, top, right, bottom = x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    moved = alignment.moved(corners) + alignment.local(x + width / 2, y + height / 2) + 0.5
    low_x, low_y = np.rint(moved.min(axis=0)).astype(int).tolist()
    high_x, high_y = np.rint(moved.max(axis=0)).astype(int).tolist()
    x0, x1 = _cut(low_x - margin_px, high_x + margin_px, alignment.shape[1])
    y0, y1 = _cut(low_y - margin_px, high_y + margin_px, alignment.shape[0])
    return x0, y0, x1 - x0, y1 - y0


def _cut(low: int, high: int, size: int) -> tuple[int, int]:
    low = min(max(low, 0), size - 1)
    return low, min(max(high, low + 1), size)


def apart_px(one: Box, other: Box) -> int:
    """How many pixels lie between two boxes, across or down, the more of both; 0 or less where they touch."""
    return max(
        max(one[0], other[0]) - min(one[0] + one[2], other[0] + other[2]),
        max(one[1], other[1]) - min(one[1] + one[3], other[1] + other[3]),
    )


def united(one: Box, other: Box) -> Box:
    """The box around two."""
    x, y = min(one[0], other[0]), min(one[1], other[1])
    right = max(one[0] + one[2], other[0] + other[2])
    bottom = max(one[1] + one[3], other[1] + other[3])
    return x, y, right - x, bottom - y
