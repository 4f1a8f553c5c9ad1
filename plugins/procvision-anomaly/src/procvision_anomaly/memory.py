"""What good places look like, remembered by examples; how far a place is from the nearest of them.

Descriptions are whitened first: what varies among good places counts little, what hardly varies counts much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from procvision_anomaly.features import Floats

MAX_EXAMPLES = 800
"""Kept of each description and scale: each costs time in every picture."""
MAX_CANDIDATES = 8_000
"""They are chosen among so many places, drawn from all pictures alike."""
MAX_VALUES = 20
"""Of a description's whitened values the ones that vary most: less is noise."""
_FLOOR = 1e-3
"""Of the mean variance: what a camera's noise puts into every value, so that none counts without bound."""
_EDGE_PLACES = 3
INSIDE = (slice(_EDGE_PLACES, -_EDGE_PLACES), slice(_EDGE_PLACES, -_EDGE_PLACES))
"""Places whose neighbourhood lies in the picture. At its edge it is mirrored, which makes patterns that are none."""
_ROWS_AT_ONCE = 4096
_DRAWN_AT_ONCE = 16
"""Examples; one after the other would cover a little better, and take five times as long."""


class Places(NamedTuple):
    """Descriptions (places x values) and where in the picture they are (places x 2, along and down, in its widths)."""

    values: Floats
    positions: Floats


@attrs.frozen(eq=False)
class Memory:
    """The examples of one description at one scale.

    Attributes:
        mean: values, of a description.
        whitening: values x kept values.
        examples: examples x kept values, whitened; with the place's own position behind them where it counts.
        position_weight: how many whitened values one picture's width is worth; 0 where any place is like any other.
        usual: what the farthest place of a good picture comes to; distances are told in it.
        usual_at_edge: the same for places so near the picture's edge that they aren't seen whole.
    """

    mean: Floats
    whitening: Floats
    examples: Floats
    position_weight: float
    usual: float
    usual_at_edge: float

    def distances(self, descriptions: Floats) -> Floats:
        """Rows x columns: how far each place is from the nearest example, in whitened values."""
        rows, columns = descriptions.shape[:2]
        placed = self._placed(every_place(descriptions))
        squares = np.einsum("ij,ij->i", self.examples, self.examples)
        nearest = np.empty(len(placed), np.float32)
        for at in range(0, len(placed), _ROWS_AT_ONCE):
            some = placed[at : at + _ROWS_AT_ONCE]
            crossed = some @ self.examples.T
            crossed *= -2
            crossed += squares
            nearest[at : at + _ROWS_AT_ONCE] = crossed.min(axis=1) + np.einsum("ij,ij->i", some, some)
        found: Floats = np.sqrt(np.maximum(nearest, 0)).reshape(rows, columns)
        return found

    def compared(self, distances: Floats) -> Floats:
        """Distances, told in what is usual at their places."""
        compared = distances / np.float32(self.usual_at_edge)
        compared[INSIDE] = distances[INSIDE] / np.float32(self.usual)
        return compared

    def _placed(self, places: Places) -> Floats:
        """Places x kept values: whitened, with the position behind them where it counts."""
        placed = (places.values - self.mean) @ self.whitening
        if self.position_weight:
            placed = np.hstack([placed, places.positions * self.position_weight])
        return placed.astype(np.float32, copy=False)


def every_place(descriptions: Floats) -> Places:
    """All places of a picture; descriptions are rows x columns x values."""
    rows, columns, values = descriptions.shape
    down, along = np.mgrid[0:rows, 0:columns].reshape(2, -1)
    return Places(descriptions.reshape(-1, values), (np.column_stack([along, down]) / columns).astype(np.float32))


def some_places(descriptions: Floats, count: int, rng: np.random.Generator) -> Places:
    """Places of a picture drawn by lot."""
    places = every_place(descriptions)
    if count < len(places.values):
        drawn = rng.choice(len(places.values), count, replace=False)
        return Places(places.values[drawn], places.positions[drawn])
    return places


def remembered(drawn: Sequence[Places], position_weight: float, rng: np.random.Generator) -> Memory:
    """The memory of these pictures' places; what is usual is 1 until it is measured on others."""
    places = Places(np.concatenate([one.values for one in drawn]), np.concatenate([one.positions for one in drawn]))
    mean = places.values.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(places.values - mean, rowvar=False).astype(np.float64))
    kept = slice(max(0, len(variances) - MAX_VALUES), None)
    floor = _FLOOR * max(float(variances.mean()), 1e-9)
    whitening = (directions[:, kept] / np.sqrt(np.maximum(variances[kept], 0) + floor)).astype(np.float32)
    memory = Memory(mean.astype(np.float32), whitening, np.empty((0, 0), np.float32), position_weight, 1.0, 1.0)
    placed = memory._placed(places)
    return attrs.evolve(memory, examples=placed[_spread(placed, rng)])


def _spread(placed: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of examples that cover the rest: drawn by lot, the likelier the farther from those drawn before."""
    if len(placed) <= MAX_EXAMPLES:
        return np.arange(len(placed))
    chosen = rng.choice(len(placed), _DRAWN_AT_ONCE, replace=False)
    squares = np.einsum("ij,ij->i", placed, placed)
    far = np.full(len(placed), np.inf, np.float32)
    fresh = chosen
    while True:
        crossed = placed @ placed[fresh].T
        nearest = (squares[fresh] - 2 * crossed).min(axis=1) + squares
        far = np.minimum(far, np.maximum(nearest, 0))
        far[fresh] = 0
        if len(chosen) >= MAX_EXAMPLES or np.count_nonzero(far) < _DRAWN_AT_ONCE:
            return chosen
        chances = far.astype(np.float64)
        fresh = rng.choice(len(placed), _DRAWN_AT_ONCE, replace=False, p=chances / chances.sum())
        chosen = np.concatenate([chosen, fresh])
