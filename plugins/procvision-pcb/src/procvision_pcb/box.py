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
    low = np.rint(moved.min(axis=0)).astype(int) - margin_px
    high = np.rint(moved.max(axis=0)).astype(int) + margin_px
    x0, y0 = int(np.clip(low[0], 0, shape[1] - 1)), int(np.clip(low[1], 0, shape[0] - 1))
    x1, y1 = int(np.clip(high[0], x0 + 1, shape[1])), int(np.clip(high[1], y0 + 1, shape[0]))
    return x0, y0, x1 - x0, y1 - y0
