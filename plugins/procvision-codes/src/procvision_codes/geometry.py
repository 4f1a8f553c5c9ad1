"""Quadrilaterals around codes, in a picture's pixels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Corners: TypeAlias = NDArray[np.float64]
"""4 x 2: x, y of the upper left, upper right, lower right and lower left corner, as the code is read."""
Affine: TypeAlias = NDArray[np.float64]
"""2 x 3: from one picture's pixels to another's."""
Box: TypeAlias = tuple[int, int, int, int]
"""x, y, width, height in whole pixels, inside the picture, width and height at least 1."""

IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def scaling(fx: float, fy: float) -> Affine:
    """Pixels of a picture that was scaled by 1/fx, 1/fy to the original's; pixel centres lie at whole numbers."""
    return np.array([[fx, 0.0, (fx - 1) / 2], [0.0, fy, (fy - 1) / 2]])


def moved(corners: Corners, affine: Affine) -> Corners:
    """The corners in the other picture."""
    return np.asarray(corners @ affine[:, :2].T + affine[:, 2], dtype=np.float64)


def box_of(corners: Corners, size: tuple[int, int]) -> Box:
    """The upright box around a quadrilateral, cut at the picture's edge; `size` is (width, height)."""
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
    x0, y0 = int(np.clip(low[0], 0, size[0] - 1)), int(np.clip(low[1], 0, size[1] - 1))
    x1, y1 = int(np.clip(high[0], x0 + 1, size[0])), int(np.clip(high[1], y0 + 1, size[1]))
    return x0, y0, x1 - x0, y1 - y0


def corners_of(box: Box) -> Corners:
    """The corners of an upright box."""
    x, y, width, height = box
    return np.array([[x, y], [x + width - 1, y], [x + width - 1, y + height - 1], [x, y + height - 1]], dtype=float)


def holds(corners: Corners, point: NDArray[np.float64]) -> bool:
    """Whether a point lies in a convex quadrilateral, its border included."""
    sides = np.roll(corners, -1, axis=0) - corners
    to_point = point - corners
    cross = sides[:, 0] * to_point[:, 1] - sides[:, 1] * to_point[:, 0]
    return bool(np.all(cross >= 0) or np.all(cross <= 0))


def overlapping(one: Corners, other: Corners) -> bool:
    """Whether one of two quadrilaterals holds the other's centre."""
    return holds(one, other.mean(axis=0)) or holds(other, one.mean(axis=0))


def same_place(one: Corners, other: Corners) -> bool:
    """Whether each of two quadrilaterals holds the other's centre."""
    return holds(one, other.mean(axis=0)) and holds(other, one.mean(axis=0))


def sides_px(corners: Corners) -> tuple[float, float]:
    """Mean width and height along the code's own edges."""
    edges = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    return float(edges[0] + edges[2]) / 2, float(edges[1] + edges[3]) / 2
