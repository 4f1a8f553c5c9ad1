"""Lays a picture's copper on its reference's.

1. Both masks are reduced to pyramids whose finest level is a quarter of the full size.
2. On the coarsest levels an affine motion is found by inverse-compositional Gauss-Newton steps, started from no
   motion and, if that doesn't correlate, from the peak of a phase correlation. Finer levels refine it. Large errors
   lose their weight, so that neither defects nor what else is in the picture pull at it.
3. What is left (the film's, the scan's or the board's own distortion) is measured in cells of the finest level, each
   with its neighbours, and becomes a smooth field of small displacements.
4. The correlation on the finest level says whether the two show the same product at all.

All gradients and normal matrices belong to the reference and are made once, by `ReferencePyramid`.

Methods: S. Baker, I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", IJCV 56 (2004);
C. Kuglin, D. Hines, "The phase correlation image alignment method", IEEE Cybernetics and Society (1975).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.binarise import Mask
from procvision_pcb.motion import Alignment, Floats, Matrix, rescaled, warped, warped_locally

FINEST = 4
"""Full size over the finest level's."""
MIN_LEVEL_SIDE = 36
"""The coarsest level is no smaller than this on its shorter side."""
STEPS = 8
"""The most Gauss-Newton steps on a level."""
STEP_DONE = 0.02
"""A step that moves no corner by more than this (in the level's pixels) ends the level."""
PRIOR_SHIFT, PRIOR_SIMILARITY, PRIOR_SHEAR = 0.02, 1.0, 10.0
"""How much squared difference (of masks from 0 to 1, on any level) a motion of one pixel must at least explain: a
shift; a rotation or a scale that moves the picture's edge by it; a shear or an unequal scale that does. A board full of
structure outweighs all of them. A motion's parameters are what x adds, what y adds and the constant, of its x, then
of its y."""
PRIOR = np.diag([0, 0, PRIOR_SHIFT, 0, 0, PRIOR_SHIFT]) + sum(
    weight / 2 * np.outer(direction, direction)
    for weight, direction in (
        (PRIOR_SIMILARITY, (1, 0, 0, 0, 1, 0)),  # scale
        (PRIOR_SIMILARITY, (0, 1, 0, -1, 0, 0)),  # rotation
        (PRIOR_SHEAR, (1, 0, 0, 0, -1, 0)),
        (PRIOR_SHEAR, (0, 1, 0, 1, 0, 0)),
    )
)
CELL = 8
"""The side of a cell of the local field, in the finest level's pixels: 32 at full size."""
LOCAL_ROUNDS = 2
FOREIGN_ERROR, DEFECT_ERROR = 0.4, 0.2
"""From about here on a difference of masks, from 0 to 1, is no displaced edge, and pulls less the larger it is: for the
affine motion what isn't the reference's board at all, for the local field a defect."""
MIN_LOCAL_PX, MAX_LOCAL_PX = 0.4, 4.0
"""The least that is worth a local field, and the most that it may add to the affine motion, at full size."""
LOCAL_STIFFNESS = 0.05
"""How strongly a cell without structure of its own is held at no displacement, in parts of a mean cell's structure."""
GOOD_CORRELATION = 0.8
"""From here on the start from no motion is believed without a look at others."""


class ReferencePyramid:
    """The reference, prepared for aligning any number of pictures to it."""

    def __init__(self, mask: Mask) -> None:
        self.shape: tuple[int, int] = (mask.shape[0], mask.shape[1])
        images = _pyramid(mask)
        self._finest = _FinestLevel(images[0])
        self._levels = [self._finest, *(_Level(image) for image in images[1:])]
        self._phase_level = _phase_level(images)

    def align(self, mask: Mask) -> Alignment:
        """Find where the picture lies.

        Args:
            mask: the picture's copper, of the reference's size.
        """
        images = _pyramid(mask)
        matrix = self._descend(images, np.eye(2, 3))
        lying, correlation = self._correlate(images[0], matrix)
        if correlation < GOOD_CORRELATION:
            other = self._descend(images, self._phase_shift(images[self._phase_level]))
            other_lying, other_correlation = self._correlate(images[0], other)
            if other_correlation > correlation:
                matrix, lying, correlation = other, other_lying, other_correlation
        field = self._finest.local_field(images[0], matrix, lying)
        full_field = None if field is None else field * np.float32(FINEST)
        return Alignment(rescaled(matrix, FINEST), self.shape, full_field, correlation)

    def _descend(self, images: list[Floats], matrix: Matrix) -> Matrix:
        """`matrix` is at the finest level's scale, and so is the answer."""
        for index in reversed(range(len(self._levels))):
            factor = 2**index
            matrix = rescaled(self._levels[index].refine(images[index], rescaled(matrix, 1 / factor)), factor)
        return matrix

    def _correlate(self, image: Floats, matrix: Matrix) -> tuple[Floats, float]:
        expected, lying = self._finest.image, np.asarray(warped(image, matrix), dtype=np.float32)
        a, b = expected - expected.mean(), lying - lying.mean()
        norm = float(np.sqrt(np.vdot(a, a) * np.vdot(b, b)))
        return lying, float(np.vdot(a, b)) / norm if norm > 0 else 0.0

    def _phase_shift(self, image: Floats) -> Matrix:
        """The shift by phase correlation, at the finest level's scale."""
        expected = self._levels[self._phase_level].image
        spectrum = np.fft.rfft2(image - image.mean()) * np.conj(np.fft.rfft2(expected - expected.mean()))
        response = np.fft.irfft2(spectrum / (np.abs(spectrum) + 1e-3), s=image.shape)
        peak = np.unravel_index(int(np.argmax(response)), response.shape)
        dy, dx = ((int(at) + size // 2) % size - size // 2 for at, size in zip(peak, image.shape, strict=True))
        factor = 2**self._phase_level
        return np.array([[1.0, 0.0, dx * factor], [0.0, 1.0, dy * factor]])


class _Level:
    """One level of the reference: its gradients, and what is made of them alone."""

    def __init__(self, image: Floats) -> None:
        self.image = image
        height, width = image.shape
        self._gx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
        self._gy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
        # The border has no gradient of its own, and what moves in over it is unknown.
        edge = 2
        for gradient in (self._gx, self._gy):
            gradient[:edge] = gradient[-edge:] = 0
            gradient[:, :edge] = gradient[:, -edge:] = 0
        # Motions are described from the picture's middle, with the radius as the unit.
        self._radius = max(width, height) / 2
        center_x, center_y = (width - 1) / 2, (height - 1) / 2
        self._to_px = np.array([[self._radius, 0, center_x], [0, self._radius, center_y], [0, 0, 1]])
        self._from_px = np.linalg.inv(self._to_px)
        self._x = _powers((np.arange(width) - center_x) / self._radius)
        self._y = _powers((np.arange(height) - center_y) / self._radius)
        xx, xy, yy = (self._weighted_twice(each) for each in self._squares())
        normal = np.block([[xx, xy], [xy, yy]])
        # Where the structure leaves a direction open (parallel tracks, a board with little on it), the answer is the
        # nearest to no motion, with no rotation and no scale.
        self._solution = np.linalg.inv(normal + PRIOR)

    def refine(self, image: Floats, matrix: Matrix) -> Matrix:
        """Gauss-Newton steps from `matrix`, at this level's scale."""
        motion = self._from_px @ np.vstack([matrix, [0, 0, 1]]) @ self._to_px
        limit = self._radius / 4
        for _ in range(STEPS):
            error = np.asarray(warped(image, (self._to_px @ motion @ self._from_px)[:2]), dtype=np.float32)
            error -= self.image
            _forget_defects(error, FOREIGN_ERROR)
            # What the parameters are: how much farther what lies a radius away moves, and how far the middle.
            pull = PRIOR @ ((motion[:2] - np.eye(2, 3)).ravel() * self._radius)
            p = self._solution @ (np.concatenate([self._weighted(g * error) for g in (self._gx, self._gy)]) + pull)
            # However wild a step is, it can be undone.
            p = np.minimum(np.maximum(p, -limit), limit)
            step = np.eye(3)
            step[:2] += p.reshape(2, 3) / self._radius
            motion = motion @ np.linalg.inv(step)
            if np.abs(p).sum() < STEP_DONE:
                break
        refined: Matrix = (self._to_px @ motion @ self._from_px)[:2]
        return refined

    def _weighted(self, image: Floats) -> NDArray[np.float64]:
        """Its sums, weighted by x, by y and by one: what it says to the motion's parameters."""
        sums = (self._y[:, :2].T @ image @ self._x[:, :2]).astype(np.float64)
        return np.array([sums[0, 1], sums[1, 0], sums[0, 0]])

    def _weighted_twice(self, image: Floats) -> NDArray[np.float64]:
        """Its sums, weighted by all products of two of x, y and one, 3 x 3."""
        sums = (self._y.T @ image @ self._x).astype(np.float64)
        by_y, by_x = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]]), np.array([[2, 1, 1], [1, 0, 0], [1, 0, 0]])
        twice: NDArray[np.float64] = sums[by_y, by_x]
        return twice

    def _squares(self) -> tuple[Floats, Floats, Floats]:
        """Gradients times gradients: x with x, x with y, y with y."""
        return self._gx * self._gx, self._gx * self._gy, self._gy * self._gy


class _FinestLevel(_Level):
    """The level on which what an affine motion leaves is measured, too."""

    def __init__(self, image: Floats) -> None:
        super().__init__(image)
        height, width = image.shape
        self._cells = (max(1, width // CELL), max(1, height // CELL))
        self._pooled = [self._pool(each) for each in self._squares()]

    def local_field(self, image: Floats, matrix: Matrix, lying: Floats) -> Floats | None:
        """What is left per cell after `matrix`, in this level's px, or None if it is next to nothing."""
        xx, xy, yy = self._pooled
        ridge = LOCAL_STIFFNESS * float((xx + yy).mean()) + 1e-6
        determinant = (xx + ridge) * (yy + ridge) - xy * xy
        field = np.zeros((*xx.shape, 2), np.float32)
        limit = MAX_LOCAL_PX / FINEST
        shown = _shown(matrix, image.shape)
        for _ in range(LOCAL_ROUNDS):
            error = (warped_locally(image, matrix, field) if field.any() else lying) - self.image
            if shown is not None:
                error *= shown
            _forget_defects(error, DEFECT_ERROR)
            ex, ey = self._pool(self._gx * error), self._pool(self._gy * error)
            # Forward warp, so the step is subtracted. The ridge pulls the sum back to nothing, not only the step.
            ex += ridge * field[:, :, 0]
            ey += ridge * field[:, :, 1]
            field[:, :, 0] -= ((yy + ridge) * ex - xy * ey) / determinant
            field[:, :, 1] -= ((xx + ridge) * ey - xy * ex) / determinant
            np.clip(field, -limit, limit, out=field)
            if float(np.abs(field).max()) * FINEST < MIN_LOCAL_PX:
                return None
        return field

    def _pool(self, image: Floats) -> Floats:
        cells = cv2.resize(image, self._cells, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(cells, (0, 0), 1.0), dtype=np.float32)


def _shown(matrix: Matrix, shape: tuple[int, ...]) -> Floats | None:
    """1 where the picture shows the reference's place, 0 beyond its border, or None for 1 everywhere."""
    if (
        float(np.abs(matrix - np.eye(2, 3))[:, 2].max()) < 1
        and float(np.abs(matrix - np.eye(2, 3))[:, :2].max()) < 1e-2
    ):
        return None
    size = (shape[1], shape[0])
    inside = cv2.warpAffine(np.ones(shape, np.uint8), matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.erode(inside, np.ones((5, 5), np.uint8)), dtype=np.float32)


def _powers(places: NDArray[np.float64]) -> Floats:
    """N x 3: one, the place and its square."""
    return np.vander(places, 3, increasing=True).astype(np.float32)


def _forget_defects(error: Floats, scale: float) -> None:
    """Weighs an error down in place, the more the larger it is (a redescending M-estimator, P. Huber's "modified
    residuals", with D. Geman's and D. McClure's weight)."""
    error /= 1 + np.square(error * np.float32(1 / scale))


def _pyramid(mask: Mask) -> list[Floats]:
    """Finest first. Each level is blurred a little, so that edges pull from a few pixels away."""
    height, width = mask.shape
    small = mask
    for factor in (2, FINEST):  # halved twice: much faster than quartered
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    images = [small.astype(np.float32) / np.float32(255)]
    while min(images[-1].shape) // 2 >= MIN_LEVEL_SIDE:
        half = cv2.resize(images[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        images.append(np.asarray(half, dtype=np.float32))
    return [np.asarray(cv2.GaussianBlur(each, (5, 5), 1.0), dtype=np.float32) for each in images]


def _phase_level(images: list[Floats]) -> int:
    return next((index for index, image in enumerate(images) if max(image.shape) <= 200), len(images) - 1)
