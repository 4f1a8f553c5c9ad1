"""A synthetic board as data."""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from procvision_testing.boards.layout import Track


@frozen(eq=False)
class Board:
    """A defect-free board."""

    picture: NDArray[np.uint8]
    """H x W: copper 0, substrate 255, between them along edges where ``antialias`` was asked for. Read-only."""
    nets: NDArray[np.int32] = field(repr=False)
    """H x W: the number of the net that a pixel of copper (darker than 128) belongs to, 0 on substrate. Read-only."""
    tracks: tuple[Track, ...] = field(repr=False)
    """The straight pieces of the traces, in pixels."""
    seed: int
    antialias: bool

    @property
    def width(self) -> int:
        """The picture's width in pixels."""
        return int(self.picture.shape[1])

    @property
    def height(self) -> int:
        """The picture's height in pixels."""
        return int(self.picture.shape[0])
