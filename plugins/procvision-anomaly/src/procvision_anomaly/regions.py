"""From a score map to rects in the picture."""

from __future__ import annotations

import attrs
import cv2
import numpy as np

from procvision_anomaly.description import Floats

_MARGIN_PLACES = 0.5
"""A place stands for the pixels half way to the next."""


@attrs.frozen
class Region:
    """What is not like the surface: x, y, width, height in pixels, and how far over the threshold (above 1)."""

    box: tuple[int, int, int, int]
    peak: float

    @property
    def score(self) -> float:
        """0.5 at the threshold, towards 1 for what is nothing like the surface."""
        return 1 - 0.5 / self.peak


def regions(score_map: Floats, threshold: float, width: int, height: int, least_area_px: int) -> list[Region]:
    """The connected places over the threshold, worst first, in a picture of width x height.

    Places that touch are one region, also across a gap of one. Smaller boxes than `least_area_px` are left out.
    """
    over = (score_map > threshold).astype(np.uint8)
    joined = cv2.morphologyEx(over, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    rows, columns = score_map.shape
    found = []
    for label in range(1, count):
        left, top, across, down = (int(value) for value in stats[label, :4])
        inside = labels[top : top + down, left : left + across] == label
        peak = float(score_map[top : top + down, left : left + across][inside].max()) / threshold
        x0, x1 = _pixels(left, across, columns, width)
        y0, y1 = _pixels(top, down, rows, height)
        if (x1 - x0) * (y1 - y0) >= least_area_px:
            found.append(Region((x0, y0, x1 - x0, y1 - y0), peak))
    return sorted(found, key=lambda region: -region.peak)


def _pixels(first: int, count: int, places: int, size: int) -> tuple[int, int]:
    pitch = size / places
    begin = int(max(0.0, (first - _MARGIN_PLACES) * pitch))
    end = int(min(float(size), np.ceil((first + count + _MARGIN_PLACES) * pitch)))
    return begin, max(end, begin + 1)
