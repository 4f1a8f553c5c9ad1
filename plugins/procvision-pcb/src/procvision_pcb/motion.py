"""How a picture lies on its reference: an affine motion and a smooth field of small displacements on top of it.

Pixel centres have integer coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]
"""2 x 3: reference x, y, 1 to picture x, y."""

NO_MOTION_PX = 0.25
"""A picture that moves less than this is taken as it is."""

BAND_PX = 64
"""So many rows are warped locally at a time: where each pixel comes from takes eight bytes, and stays in the cache."""


@dataclass(frozen=True)
class Alignment:
    """Where the picture lies on the reference.

    Attributes:
        matrix: the affine motion.
        shape: the reference's height and width.
        field: rows x columns x 2, what to add to it (x, y in px), or None for nothing worth it.
        correlation: of the two masks after alignment, -1 to 1.
    """

    matrix: Matrix
    shape: tuple[int, int]
    field: Floats | None
    correlation: float

    @cached_property
    def shift_px(self) -> float:
        """The farthest that a corner of the reference moves."""
        height, width = self.shape
        corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=np.float64)
        return float(np.linalg.norm(self.moved(corners) - corners, axis=1).max())

    @property
    def moves(self) -> bool:
        """Whether applying changes anything."""
        return self.field is not None or self.shift_px > NO_MOTION_PX

    def moved(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reference points, N x 2, in the picture, without the local field."""
        there: NDArray[np.float64] = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return there

    def inverse(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Picture points, N x 2, in the reference, without the local field."""
        back: NDArray[np.float64] = (points - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T
        return back

    def local(self, x: float, y: float) -> NDArray[np.float64]:
        """What the local field adds at a point of the reference, x and y in px."""
        if self.field is None:
            return np.zeros(2)
        rows, columns = self.field.shape[:2]
        column = min(columns - 1, max(0, int(x * columns / self.shape[1])))
        row = min(rows - 1, max(0, int(y * rows / self.shape[0])))
        return np.asarray(self.field[row, column], dtype=np.float64)

    def followed_by(self, rest: Alignment) -> Alignment:
        """This affine motion and then `rest`, which was found on a picture that this one was applied to."""
        whole = np.vstack([self.matrix, [0, 0, 1]]) @ np.vstack([rest.matrix, [0, 0, 1]])
        return replace(rest, matrix=whole[:2])

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture as it looks lying on the reference. What it doesn't show is continued from its border.

        Args:
            image: H x W, of the reference's size.
        """
        if not self.moves:
            return image
        lying = warped(image, self.matrix) if self.field is None else warped_locally(image, self.matrix, self.field)
        return np.asarray(lying, dtype=np.uint8)


def warped(image: NDArray[np.uint8] | Floats, matrix: Matrix, *, smooth: bool = True) -> NDArray[Any]:
    """`image` (H x W, uint8 or float32) as it looks after the affine motion, of the same size and type.

    Where `smooth` is False each pixel is the nearest one of the image, not a mean of four.
    """
    return cv2.warpAffine(
        image,
        matrix,
        (image.shape[1], image.shape[0]),
        flags=(cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def warped_locally(image: NDArray[np.uint8] | Floats, matrix: Matrix, field: Floats) -> NDArray[Any]:
    """`image` (H x W, uint8 or float32) after the affine motion and the field, of the same size and type."""
    height, width = image.shape
    rows, cell_px = len(field), height / len(field)
    x = np.arange(width, dtype=np.float32)
    # One more row on each side, so that every place lies between two.
    y = ((np.arange(-1, rows + 1) + 0.5) * cell_px - 0.5).astype(np.float32)[:, None]
    places = []
    for row in (0, 1):
        by_x, by_y, constant = (np.float32(each) for each in matrix[row])
        added = np.ascontiguousarray(field[:, :, row])
        across = np.asarray(cv2.resize(added, (width, rows), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
        across = np.concatenate([across[:1], across, across[-1:]])
        across += by_x * x + constant
        across += by_y * y
        places.append(across)
    at = (np.arange(height) + 0.5) / cell_px + 0.5
    weights = np.maximum(1 - np.abs(at[:, None] - np.arange(rows + 2)), 0).astype(np.float32)
    lying = np.empty_like(image)
    for top in range(0, height, BAND_PX):
        band = slice(top, min(height, top + BAND_PX))
        near = slice(int(at[top]), int(at[band.stop - 1]) + 2)
        maps = [weights[band, near] @ across[near] for across in places]
        cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, dst=lying[band], borderMode=cv2.BORDER_REPLICATE)
    return lying


def rescaled(matrix: Matrix, factor: float) -> Matrix:
    """The same motion for pictures `factor` times as large."""
    offset = (factor - 1) / 2
    scaled = matrix.copy()
    scaled[:, 2] = factor * matrix[:, 2] + offset - offset * matrix[:, :2].sum(axis=1)
    return scaled
