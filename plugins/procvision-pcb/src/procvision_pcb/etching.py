"""Tells copper that is thinner or thicker all over from a board that lies elsewhere.

Where most of a board's edges face one way, laying the picture on the reference takes etching for a shift: the edges
that face that way agree then, and the few others differ by twice as much, as if something had bitten into them. So the
edges are asked once more, for both at once: how far each lies from its place, along its normal, is fitted by a motion
and a distance by which all of them lie in or out.

A picture is etched if that fit leaves hardly an edge where it shouldn't be and the best fit without the distance leaves
many. Defects are no such thing: what they do to some edges no distance explains.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.binarise import Mask
from procvision_pcb.motion import Matrix

MAX_POINTS = 1000
"""Of the reference's edges; of more, evenly chosen ones."""
MIN_POINTS = 50
REACH_PX = 8
"""So far on either side of its place each edge is looked for. It also keeps away from the border, where the picture may
end first."""
OFF_PX = 1.5
"""An edge that is farther from where a fit has it is off. No fit is closer than half a pixel."""
MIN_OFF_MOVED, MAX_OFF_ETCHED = 0.08, 0.25
"""The share of edges that must be off without the distance, and how much of that may be left with it. Of DeepPCB's
1,000 pairs five come to a distance of over 1.3 px: in three what is off without it stays off, in two a quarter and a
third of it, which come to 1.4 px. Of boards eroded or dilated by 2 and 3 px hardly one has more than a quarter left."""
ROUNDS = 5
_PRIOR = np.diag([0.01, 0.01, 5.0, 5.0, 0.01])
"""How strongly shift (x, y), scale, rotation and distance are held at nothing, in edge points."""
_AROUND = np.meshgrid(np.arange(-2, 3), np.arange(-2, 3))
"""x and y of the 25 pixels from which an edge's direction is taken."""
_SLOPES = np.stack([(each * np.exp(-(_AROUND[0] ** 2 + _AROUND[1] ** 2) / 4.5)).ravel() for each in _AROUND], axis=1)
_SLOPES = _SLOPES.astype(np.float32)
"""25 x 2: a Gaussian's derivatives, standard deviation 1.5 px."""


class Edges:
    """The reference's edges: where they are and which way they face."""

    def __init__(self, copper: Mask, edge: Mask) -> None:
        """Choose the points.

        Args:
            copper: the reference's, 0 or 255.
            edge: 255 where copper has its outermost pixels.
        """
        height, width = copper.shape
        inner = edge[REACH_PX : height - REACH_PX, REACH_PX : width - REACH_PX]
        places = cv2.findNonZero(inner)
        points = np.zeros((0, 2), np.int32) if places is None else places.reshape(-1, 2)
        points = points[:: max(1, -(-len(points) // MAX_POINTS))] + REACH_PX
        x, y = (points[:, axis, None, None] + _AROUND[axis] for axis in (0, 1))
        around = copper[y, x].reshape(len(points), _SLOPES.shape[0]).astype(np.float32)
        outward = -around @ _SLOPES
        length = np.linalg.norm(outward, axis=1)
        points, outward = points[length > 0], outward[length > 0] / length[length > 0, None]
        steps = np.arange(-REACH_PX, REACH_PX + 1, dtype=np.float32)
        self._along = points[:, None].astype(np.float32) + outward[:, None] * steps[:, None]
        self._farness = np.abs(steps[:-1])
        across, down = (points[:, 0] - width / 2) / width, (points[:, 1] - height / 2) / height
        # By how much one unit of each number moves an edge outward: shift, scale, rotation, and the distance inward.
        self._moves = np.stack(
            [
                outward[:, 0],
                outward[:, 1],
                outward[:, 0] * across + outward[:, 1] * down,
                outward[:, 1] * across - outward[:, 0] * down,
                np.full(len(points), -1.0),
            ],
            axis=1,
        )

    def inward_px(self, copper: Mask, matrix: Matrix) -> float:
        """How much earlier than in the reference copper ends all over; less than 0 for later, 0.0 where it doesn't.

        Args:
            copper: the picture's, 0 or 255.
            matrix: how it lies on the reference by an affine motion alone: a local field takes up what etching did.
        """
        if len(self._moves) < MIN_POINTS:
            return 0.0
        height, width = copper.shape
        there = np.rint(self._along @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32))
        x, y = there[..., 0].astype(np.int32), there[..., 1].astype(np.int32)
        seen = copper[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > 0
        ends = np.where(seen[:, :-1] & ~seen[:, 1:], self._farness, np.inf)  # copper, and none a step farther out
        nearest = ends.argmin(axis=1)
        found = np.isfinite(ends[np.arange(len(ends)), nearest])
        outward_px = (nearest - REACH_PX).astype(np.float64)
        lost = 1 - float(found.mean())
        without, _ = _fit(self._moves[found, :4], outward_px[found])
        if lost + without < MIN_OFF_MOVED:
            return 0.0
        off, inward_px = _fit(self._moves[found], outward_px[found])
        return inward_px if lost + off <= MAX_OFF_ETCHED * (lost + without) else 0.0


def _fit(moves: NDArray[np.float64], outward_px: NDArray[np.float64]) -> tuple[float, float]:
    """The share of edges that are off where the best fit has them, and the last of its numbers."""
    prior = _PRIOR[: moves.shape[1], : moves.shape[1]]
    left = outward_px
    best = np.zeros(moves.shape[1])
    for _ in range(ROUNDS):
        weighted = moves / (1 + np.square(left / OFF_PX))[:, None]
        best = np.linalg.solve(moves.T @ weighted + prior, weighted.T @ outward_px)
        left = outward_px - moves @ best
    return float(np.mean(np.abs(left) > OFF_PX)), float(best[-1])
