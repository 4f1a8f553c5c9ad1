"""Boxes around defects, in the picture's pixels."""

from __future__ import annotations

import numpy as np

from procvision_pcb.difference import Blob
from procvision_pcb.motion import Alignment

Box = tuple[int, int, int, int]
"""x, y, width, height in whole pixels, inside the picture, width and height at least 1."""


def around(blob: Blob, alignment: Alignment, margin_px: int, shape: tuple[int, int]) -> Box:
    """The box of a blob.

    Args:
        blob: in the reference's coordinates.
        alignment: from there to the picture.
        margin_px: how much to leave around the blob on each side.
        shape: the picture's height and width; the box is cut there.
    """
    x, y, width, height = blob.box
    left, top, right, bottom = x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    moved = alignment.moved(corners) + alignment.local(x + width / 2, y + height / 2) + 0.5
    low_x, low_y = np.rint(moved.min(axis=0)).astype(int).tolist()
    high_x, high_y = np.rint(moved.max(axis=0)).astype(int).tolist()
    x0, x1 = _cut(low_x - margin_px, high_x + margin_px, shape[1])
    y0, y1 = _cut(low_y - margin_px, high_y + margin_px, shape[0])
    return x0, y0, x1 - x0, y1 - y0


def _cut(low: int, high: int, size: int) -> tuple[int, int]:
    low = min(max(low, 0), size - 1)
    return low, min(max(high, low + 1), size)
