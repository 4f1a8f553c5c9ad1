"""A Gaussian per place: what each place of good pictures looks like, and how it varies there.

As PaDiM has it (Defard et al. 2020), with one change that lets it learn from few pictures and from surfaces that aren't
aligned: a place's covariance is drawn towards that of all places, the more the fewer pictures there are.
"""

from __future__ import annotations

import attrs
import numpy as np

from procvision_anomaly.description import VALUES, Floats

_BORROWED_PICTURES = 20
"""The covariance of all places counts as much as so many pictures of the place itself."""
_FLOOR = 0.01
"""Of a value's variance over all places: what no place goes without, so that none counts without bound."""


@attrs.frozen(eq=False)
class Standard:
    """What makes values comparable before anything is learnt: each one's mean and deviation over all places."""

    mean: Floats
    deviation: Floats

    def applied(self, described: Floats) -> Floats:
        """Return the descriptions in deviations."""
        standard: Floats = (described - self.mean) / self.deviation
        return standard


def standard_of(described: list[Floats]) -> Standard:
    """Return the standard of some pictures' descriptions."""
    values = np.concatenate([one.reshape(-1, VALUES) for one in described]).astype(np.float64)
    deviation = values.std(axis=0)
    least = max(1e-3 * float(deviation.max()), 1e-6)
    return Standard(values.mean(axis=0).astype(np.float32), np.maximum(deviation, least).astype(np.float32))


class Moments:
    """Sums over pictures, from which a Gaussian is made; what was added can be taken away again."""

    def __init__(self, places: int) -> None:
        self.count = 0
        self.sums = np.zeros((places, VALUES), np.float32)
        self.products = np.zeros((places, VALUES, VALUES), np.float32)

    def add(self, standard: Floats) -> None:
        """Add pictures x places x values, in deviations."""
        self.count += len(standard)
        self.sums += standard.sum(axis=0)
        by_place = np.ascontiguousarray(standard.transpose(1, 2, 0))
        self.products += by_place @ by_place.transpose(0, 2, 1)

    def without(self, other: Moments) -> Moments:
        """Return these pictures' sums without the other's."""
        rest = Moments(0)
        rest.count = self.count - other.count
        rest.sums, rest.products = self.sums - other.sums, self.products - other.products
        return rest


@attrs.frozen(eq=False)
class Gaussian:
    """What is usual at each place of one scale.

    Attributes:
        standard: of the values.
        mean: places x values, in deviations.
        whitening: places x values x values, lower triangles, half precision: they are most of a model's file.
    """

    standard: Standard
    mean: Floats
    whitening: np.ndarray[tuple[int, ...], np.dtype[np.float16]]
    _wide: list[Floats] = attrs.field(factory=list, init=False, repr=False)

    def distances(self, described: Floats) -> Floats:
        """Rows x columns: how far each place is from the mean there, in its own deviations (Mahalanobis)."""
        found: Floats = self.distances_of(described[None])[0]
        return found

    def distances_of(self, described: Floats) -> Floats:
        """Pictures x rows x columns, likewise, from pictures x rows x columns x values."""
        pictures, rows, columns, values = described.shape
        centred = self.standard.applied(described).reshape(pictures, rows * columns, values) - self.mean
        if not self._wide:
            self._wide.append(self.whitening.astype(np.float32))
        white: Floats = self._wide[0] @ centred.transpose(1, 2, 0)
        # Per value, so that one deviation is 1 however many values there are.
        squares = np.einsum("pvn,pvn->np", white, white) / values
        return np.asarray(np.sqrt(squares).reshape(pictures, rows, columns), np.float32)


def gaussian_of(moments: Moments, standard: Standard) -> Gaussian:
    """Return the Gaussian of these pictures."""
    mean = moments.sums / moments.count
    covariance = moments.products / moments.count - mean[:, :, None] * mean[:, None, :]
    everywhere = covariance.mean(axis=0)
    borrowed = _BORROWED_PICTURES / (_BORROWED_PICTURES + moments.count)
    covariance *= 1 - borrowed
    covariance += borrowed * everywhere
    covariance[:, range(VALUES), range(VALUES)] += _FLOOR * np.maximum(everywhere.diagonal(), _FLOOR)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    return Gaussian(standard, mean.astype(np.float32), whitening.astype(np.float16))
