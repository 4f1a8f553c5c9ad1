"""Sample pictures with known defects: a plate of brushed metal, with dark marks on it or without.

    plate = make_plate(640, 480, seed=1)
    picture, marks = with_marks(plate, ["spot", "scratch"], seed=2)

Made with numpy alone and repeatable by their seeds. `procvision_testing.boards` has circuit boards.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from attrs import define
from numpy.typing import NDArray

from procvision_testing.boards.defects import PlacedDefect

MARK_KINDS = ("spot", "scratch")
PLATE_LEVEL = 190
"""The plate's mean brightness; it stays within 150 to 230."""
MARK_LEVEL = 40
"""A mark is darker than 80 everywhere."""
_TRIES = 200


def make_plate(width: int = 640, height: int = 480, seed: int = 0) -> NDArray[np.uint8]:
    """Make a defect-free plate: H x W x 3 RGB, grey, brushed from left to right."""
    random = np.random.default_rng(seed)
    brushed = random.normal(0, 6, (height, 1)) + random.normal(0, 3, (height, width))
    grey = np.clip(PLATE_LEVEL + brushed, 150, 230).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def with_marks(
    plate: NDArray[np.uint8], kinds: Sequence[str], seed: int = 0
) -> tuple[NDArray[np.uint8], list[PlacedDefect]]:
    """Mark a copy of a plate: one dark mark for each of ``kinds`` (`spot` or `scratch`), apart from each other.

    Gives the picture, and for each mark its label and the box of every pixel that it changed.
    Raises ValueError for an unknown kind, and where there is no room left.
    """
    picture, placed = plate.copy(), list[PlacedDefect]()
    random = np.random.default_rng(seed)
    height, width = plate.shape[:2]
    for kind in kinds:
        if kind not in MARK_KINDS:
            raise ValueError(f"a mark is one of {', '.join(MARK_KINDS)}, not {kind!r}")
        for _ in range(_TRIES):
            wide, high = (
                int(v) for v in (random.integers(12, 28, 2) if kind == "spot" else random.integers(30, 70, 2))
            )
            if wide + 4 > width or high + 4 > height:
                continue
            x, y = int(random.integers(2, width - wide - 1)), int(random.integers(2, height - high - 1))
            box = PlacedDefect(kind, x, y, wide, high)
            if all(_apart(box, other) for other in placed):
                break
        else:
            raise ValueError(f"no room for another {kind} among {len(placed)} marks on {width} x {height} pixels")
        picture[y : y + high, x : x + wide][_shape(kind, wide, high)] = MARK_LEVEL
        placed.append(box)
    return picture, placed


def _shape(kind: str, width: int, height: int) -> NDArray[np.bool_]:
    """Return which pixels of its box a mark covers: some in each of its first and last rows and columns."""
    rows, columns = np.mgrid[0:height, 0:width]
    down, across = (rows + 0.5) / height, (columns + 0.5) / width
    if kind == "spot":
        inside: NDArray[np.bool_] = (down - 0.5) ** 2 + (across - 0.5) ** 2 <= 0.25
        return inside
    on_diagonal: NDArray[np.bool_] = np.abs(down - across) <= 3 / min(width, height)
    return on_diagonal


def _apart(one: PlacedDefect, other: PlacedDefect, gap_px: int = 8) -> bool:
    return (
        one.x >= other.x + other.width + gap_px
        or other.x >= one.x + one.width + gap_px
        or one.y >= other.y + other.height + gap_px
        or other.y >= one.y + one.height + gap_px
    )


@define(slots=False)
class SamplePictures:
    """A good product, a bad one, and pictures that are no product at all. All are made when they are asked for."""

    width: int = 640
    height: int = 480
    seed: int = 7

    @cached_property
    def good(self) -> NDArray[np.uint8]:
        """A defect-free plate, H x W x 3 RGB."""
        return make_plate(self.width, self.height, self.seed)

    @cached_property
    def _marked(self) -> tuple[NDArray[np.uint8], list[PlacedDefect]]:
        return with_marks(self.good, ["spot", "scratch", "spot"], self.seed)

    @property
    def bad(self) -> NDArray[np.uint8]:
        """The same plate with two spots and a scratch."""
        return self._marked[0]

    @property
    def defects(self) -> list[PlacedDefect]:
        """Where the bad plate's marks are."""
        return self._marked[1]

    @property
    def mono(self) -> NDArray[np.uint8]:
        """The good plate with one channel, H x W."""
        return np.ascontiguousarray(self.good[:, :, 0])

    @property
    def black(self) -> NDArray[np.uint8]:
        """What a camera gives whose lens cap is on."""
        return np.zeros_like(self.good)
