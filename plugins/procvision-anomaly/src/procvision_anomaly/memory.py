"""A bounded memory: what good places look like, remembered by examples, and how far a place is from the nearest.

As PatchCore has it (Roth et al. 2022). Where a place lies doesn't count, so the same thing may lie anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from procvision_anomaly.description import VALUES, Floats

MAX_EXAMPLES = 1000
"""Kept of each scale: each costs time in every picture."""
MAX_CANDIDATES = 10_000
"""They are chosen among so many places, drawn from all pictures alike."""
_WHITENING = 0.25
"""Exponent of the variances by which values are divided: 0 leaves them as they are, 0.5 makes all count alike. Half way
was best or next to it on all surfaces that were tried."""
_FLOOR = 1e-3
"""Of the mean variance: what a camera's noise puts into every value, so that none counts without bound."""
_ROWS_AT_ONCE = 4096


@attrs.frozen(eq=False)
class Memory:
    """The examples of one scale.

    Attributes:
        mean: values, of a description.
        whitening: values x values.
        examples: examples x values, whitened.
    """

    mean: Floats
    whitening: Floats
    examples: Floats

    def distances(self, described: Floats) -> Floats:
        """Rows x columns: how far each place is from the nearest example."""
        rows, columns = described.shape[:2]
        placed = self._whitened(described.reshape(-1, described.shape[2]))
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

    def _whitened(self, values: Floats) -> Floats:
        return ((values - self.mean) @ self.whitening).astype(np.float32, copy=False)


def some_places(described: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draw places of a picture by lot: places x values."""
    values = described.reshape(-1, VALUES)
    return values if count >= len(values) else values[rng.choice(len(values), count, replace=False)]


def remembered(drawn: Sequence[Floats]) -> Memory:
    """Return the memory of these pictures' places."""
    values = np.concatenate(drawn)
    mean = values.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(values - mean, rowvar=False).astype(np.float64))
    floor = max(_FLOOR * float(variances.mean()), 1e-9)
    whitening = (directions * np.maximum(variances, floor) ** -_WHITENING).astype(np.float32)
    memory = Memory(mean.astype(np.float32), whitening, np.empty((0, 0), np.float32))
    placed = memory._whitened(values)
    return attrs.evolve(memory, examples=placed[_spread(placed)])


def _spread(placed: Floats) -> NDArray[np.intp]:
    """Choose examples that cover the rest: each time the one that is farthest from all that were chosen before."""
    if len(placed) <= MAX_EXAMPLES:
        return np.arange(len(placed))
    squares = np.einsum("ij,ij->i", placed, placed)
    far = np.full(len(placed), np.inf, np.float32)
    chosen = [0]
    while len(chosen) < MAX_EXAMPLES:
        last = placed[chosen[-1]]
        np.minimum(far, squares - 2 * (placed @ last) + squares[chosen[-1]], out=far)
        chosen.append(int(far.argmax()))
    return np.array(chosen)
