"""In which size a picture is looked at, and which sizes a model takes: the rule for pictures of mixed sizes.

The median width and height of the good pictures are the model's size. It is reduced until its longer side is
`working_size`, never enlarged, and each side is rounded to a multiple of 32 px: that is the working size.

- `aligned`: every picture is resized to the working size, whatever its own, so that a place is a share of its width and
  height.
- `texture`: every picture is reduced by the same factor as the median one, so that a thread is as thick in all of them.
  The sides are rounded to multiples of 32 px.

Good pictures of one size make a model for that size alone: another one is another camera. Good pictures of mixed sizes
make a model that takes widths and heights from half of the least to twice the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import cv2
import msgspec
import numpy as np
from msgspec import Meta

from procvision_anomaly.description import Rgb
from procvision_anomaly.errors import NotInspectableError

Layout: TypeAlias = Literal["aligned", "texture"]

LEAST_SIDE_PX = 64
"""A smaller picture has hardly a place that is looked at whole."""
MAX_WORKING_PX = 1024
"""A Gaussian per place takes 33 kB in memory: more places than these are a gigabyte to learn with."""
SCALES = (1, 2, 4)
"""By how much the working picture is reduced besides: what is large and soft shows in the small ones alone."""
STEP_PX = 32
"""Working sides are multiples of it, so that all scales have whole places; shorter ones aren't looked at."""
_MIXED = 2
"""Of mixed sizes: how far beyond the good ones' a picture's side may be."""

_Side = Annotated[int, Meta(ge=LEAST_SIDE_PX, le=1_000_000)]


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a model's good pictures, in pixels, and how they are looked at."""

    layout: Layout
    width: _Side
    height: _Side
    least_width: _Side
    least_height: _Side
    most_width: _Side
    most_height: _Side
    working_px: Annotated[int, Meta(ge=LEAST_SIDE_PX, le=MAX_WORKING_PX)]

    @property
    def mixed(self) -> bool:
        """Whether the good pictures had several sizes."""
        return (self.least_width, self.least_height) != (self.most_width, self.most_height)

    @property
    def factor(self) -> float:
        """Working pixels a pixel, at most 1."""
        return min(1.0, self.working_px / max(self.width, self.height))

    def told(self) -> str:
        """In words."""
        if not self.mixed:
            return f"{self.width} x {self.height} px"
        return f"{self.least_width}..{self.most_width} x {self.least_height}..{self.most_height} px"

    def check(self, width: int, height: int) -> None:
        """Raise NotInspectableError for a picture of a size that isn't the model's."""
        if not self.mixed:
            fits = (width, height) == (self.width, self.height)
            asked = f"the model was learnt from {self.told()}"
        else:
            lowest = max(LEAST_SIDE_PX, self.least_width // _MIXED), max(LEAST_SIDE_PX, self.least_height // _MIXED)
            highest = self.most_width * _MIXED, self.most_height * _MIXED
            fits = lowest[0] <= width <= highest[0] and lowest[1] <= height <= highest[1]
            asked = (
                f"the model was learnt from {self.told()} and takes {lowest[0]}..{highest[0]} x "
                f"{lowest[1]}..{highest[1]} px"
            )
        if not fits:
            raise NotInspectableError(
                f"the picture is {width} x {height} px, {asked}", hint="learn from pictures of this camera and size"
            )

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height in which a picture of this size is looked at."""
        if self.layout == "aligned":
            width, height = self.width, self.height
        return _stepped(width * self.factor), _stepped(height * self.factor)

    def working(self, picture: Rgb) -> Rgb:
        """Return the picture as it is looked at, H x W x 3."""
        return resized(picture, self.working_size(picture.shape[1], picture.shape[0]))

    @property
    def scales(self) -> tuple[int, ...]:
        """Those of `SCALES` in which the median picture's sides keep `STEP_PX`."""
        shorter = min(self.working_size(self.width, self.height))
        return tuple(scale for scale in SCALES if scale == 1 or shorter // scale >= STEP_PX)


def sizes_of(shapes: Sequence[tuple[int, int]], layout: Layout, working_px: int) -> Sizes:
    """Return the sizes of good pictures, given as (width, height). Raises NotInspectableError."""
    widths, heights = [width for width, _ in shapes], [height for _, height in shapes]
    found = Sizes(
        layout=layout,
        width=sorted(widths)[len(widths) // 2],
        height=sorted(heights)[len(heights) // 2],
        least_width=min(widths),
        least_height=min(heights),
        most_width=max(widths),
        most_height=max(heights),
        working_px=working_px,
    )
    width, height = (found.least_width, found.least_height) if layout == "texture" else (found.width, found.height)
    if min(width, height) * found.factor < STEP_PX:
        raise NotInspectableError(
            f"reduced to {working_px} px the pictures are {round(width * found.factor)} x "
            f"{round(height * found.factor)} px, each side has at least {STEP_PX} px",
            hint="raise working_size",
        )
    return found


def resized(picture: Rgb, size: tuple[int, int]) -> Rgb:
    """Return the picture in this (width, height): averaged where it gets smaller, else interpolated."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    shrinks = size[0] * size[1] <= width * height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how), np.uint8)


def _stepped(side: float) -> int:
    return max(STEP_PX, round(side / STEP_PX) * STEP_PX)
