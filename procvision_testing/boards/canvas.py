"""Exact drawing with numpy alone.

Every shape is a signed distance in pixels (negative inside). A pixel's share of copper is ``0.5 - distance``,
held between 0 and 1: an anti-aliased edge without supersampling, and a sharp one by a threshold at a half.
Pixel (x, y) has its centre at the integer coordinates x, y. Shapes are computed in their bounding box only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Field = NDArray[np.float32]
Distance = Callable[[Field, Field], Field]
"""Takes the x and y coordinates of pixels (broadcastable), gives the signed distance of each in pixels."""


@frozen
class Shape:
    """A signed distance and the box (left, top, right, bottom, in pixels) outside of which it is positive."""

    distance: Distance
    bounds: tuple[float, float, float, float]


def capsule(x1: float, y1: float, x2: float, y2: float, width: float) -> Shape:
    """Give a straight stroke with round ends."""
    dx, dy = x2 - x1, y2 - y1
    length_squared = max(dx * dx + dy * dy, 1e-9)
    radius = width / 2

    def distance(x: Field, y: Field) -> Field:
        along = np.clip(((x - x1) * dx + (y - y1) * dy) / length_squared, 0, 1)
        return np.hypot(x - x1 - along * dx, y - y1 - along * dy) - np.float32(radius)

    return Shape(distance, (min(x1, x2) - radius, min(y1, y2) - radius, max(x1, x2) + radius, max(y1, y2) + radius))


def disc(x: float, y: float, radius: float) -> Shape:
    """Give a filled circle."""
    return capsule(x, y, x, y, 2 * radius)


def box(x: float, y: float, width: float, height: float, corner: float = 2.0) -> Shape:
    """Give a rectangle around the centre (x, y), its corners rounded by ``corner`` pixels."""
    half_w, half_h = width / 2 - corner, height / 2 - corner

    def distance(px: Field, py: Field) -> Field:
        qx, qy = np.abs(px - x) - np.float32(half_w), np.abs(py - y) - np.float32(half_h)
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        inside = np.minimum(np.maximum(qx, qy), 0)
        return np.asarray(outside + inside - np.float32(corner), np.float32)

    return Shape(distance, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def chamfered(left: float, top: float, right: float, bottom: float, chamfer: float) -> Shape:
    """Give a rectangle whose corners are cut at 45 degrees, ``chamfer`` pixels along each side."""
    x, y = (left + right) / 2, (top + bottom) / 2
    half_w, half_h = (right - left) / 2, (bottom - top) / 2

    def distance(px: Field, py: Field) -> Field:
        ax, ay = np.abs(px - x), np.abs(py - y)
        corner = (ax + ay - np.float32(half_w + half_h - chamfer)) * np.float32(math.sqrt(0.5))
        sides = np.maximum(ax - np.float32(half_w), ay - np.float32(half_h))
        return np.asarray(np.maximum(sides, corner), np.float32)

    return Shape(distance, (left, top, right, bottom))


def blob(x: float, y: float, radius: float, waves: Sequence[tuple[int, float, float]], stretch: float = 1.0,
         angle: float = 0.0) -> Shape:  # fmt: skip
    """Give an irregular spot: a circle, stretched along ``angle`` (radians), whose radius wavers.

    ``waves`` holds (count round the circle, amplitude as a share of the radius, phase in radians).
    """
    cos, sin = math.cos(angle), math.sin(angle)
    reach = radius * max(stretch, 1.0) * (1 + sum(amplitude for _, amplitude, _ in waves))

    def distance(px: Field, py: Field) -> Field:
        along = ((px - x) * cos + (py - y) * sin) / np.float32(stretch)
        across = (py - y) * cos - (px - x) * sin
        theta = np.arctan2(across, along)
        edge = np.full_like(theta, radius)
        for count, amplitude, phase in waves:
            edge += np.float32(radius * amplitude) * np.cos(count * theta + np.float32(phase))
        return np.hypot(along, across) - edge

    return Shape(distance, (x - reach, y - reach, x + reach, y + reach))


def union(shapes: Sequence[Shape]) -> Shape:
    """Give what any of the shapes covers."""
    lefts, tops, rights, bottoms = zip(*(shape.bounds for shape in shapes), strict=True)

    def distance(x: Field, y: Field) -> Field:
        fields = [np.asarray(shape.distance(x, y), np.float32) for shape in shapes]
        return np.asarray(np.minimum.reduce(fields), np.float32)

    return Shape(distance, (min(lefts), min(tops), max(rights), max(bottoms)))


def coverage_of(shape: Shape, height: int, width: int) -> tuple[tuple[slice, slice], Field] | None:
    """Give the part of an H x W picture that a shape touches, and its share of each pixel there (0 to 1).

    None where it lies wholly outside.
    """
    left, top, right, bottom = shape.bounds
    x0, y0 = max(0, math.floor(left) - 1), max(0, math.floor(top) - 1)
    x1, y1 = min(width, math.ceil(right) + 2), min(height, math.ceil(bottom) + 2)
    if x0 >= x1 or y0 >= y1:
        return None
    window = (slice(y0, y1), slice(x0, x1))
    return window, coverage_in(window, shape)


def coverage_in(window: tuple[slice, slice], shape: Shape, grown_px: float = 0.0) -> Field:
    """Give a shape's share (0 to 1) of each pixel of a window (rows, columns), its edge moved out by ``grown_px``."""
    xs = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :]
    ys = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None]
    return np.asarray(np.clip(np.float32(0.5 + grown_px) - shape.distance(xs, ys), 0, 1), np.float32)


class Canvas:
    """A board being drawn: each pixel's share of copper, and the net that owns it."""

    def __init__(self, height: int, width: int) -> None:
        self.copper: Field = np.zeros((height, width), np.float32)
        self.nets: NDArray[np.int32] = np.zeros((height, width), np.int32)

    def add(self, shape: Shape, net: int) -> None:
        """Lay copper that belongs to ``net`` (numbered from 1)."""
        covered = coverage_of(shape, *self.copper.shape)
        if covered is not None:
            window, share = covered
            np.maximum(self.copper[window], share, out=self.copper[window])
            self.nets[window][share >= 0.5] = net

    def remove(self, shape: Shape) -> None:
        """Take copper away: a drilled hole."""
        covered = coverage_of(shape, *self.copper.shape)
        if covered is not None:
            window, share = covered
            np.minimum(self.copper[window], 1 - share, out=self.copper[window])
            self.nets[window][share > 0.5] = 0
