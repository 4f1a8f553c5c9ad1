"""From a false-alarm rate to a threshold, by the scores of good pictures that had no part in learning.

If products are as those pictures were, a new good one's score is above the k-th largest of n with the chance
k / (n + 1), whatever the scores' distribution (split conformal prediction: Vovk et al. 2005). So the threshold is the
k-th largest score with the largest k that keeps this chance at the rate asked for. Given the pictures, the true rate is
distributed as Beta(k, n + 1 - k), whose 95 % are told.

Too few pictures for a rate (fewer than 1 / rate - 1) have no such score: then the threshold is extrapolated by a
normal distribution of the scores' logarithms, as the bound of a prediction interval, and is never below the largest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

LEAST_RATE, MOST_RATE = 0.0005, 0.5
_CONFIDENCE = 0.95


@attrs.frozen(kw_only=True)
class Threshold:
    """A threshold, and what is known of its false-alarm rate.

    Attributes:
        value: good pictures' scores are mostly below it.
        asked: the rate that was asked for.
        pictures: how many held-out good pictures it comes from.
        above: how many of those reach it; 0 where it is extrapolated.
    """

    value: float
    asked: float
    pictures: int
    above: int

    @property
    def extrapolated(self) -> bool:
        """Whether the pictures are too few for the rate that was asked for."""
        return self.above == 0

    @property
    def between(self) -> tuple[float, float]:
        """The rate lies between these two with 95 % confidence."""
        if self.extrapolated:
            return 0.0, 1 - (1 - _CONFIDENCE) ** (1 / self.pictures)
        tail = (1 - _CONFIDENCE) / 2
        return beta_quantile(self.above, self.pictures, tail), beta_quantile(self.above, self.pictures, 1 - tail)

    def told(self) -> str:
        """In words."""
        low, high = self.between
        if self.extrapolated:
            return (
                f"asked for {self.asked:.2%} false alarms, extrapolated from {self.pictures} held-out good pictures "
                f"that all lie below: the rate is under {high:.1%} with {_CONFIDENCE:.0%} confidence, "
                f"{math.ceil(1 / self.asked) - 1} pictures would tell it"
            )
        return (
            f"asked for {self.asked:.2%} false alarms: {self.above} of {self.pictures} held-out good pictures reach "
            f"it, the rate is {low:.1%} to {high:.1%} with {_CONFIDENCE:.0%} confidence"
        )


def threshold_of(scores: Sequence[float], rate: float) -> Threshold:
    """Return the threshold for a rate of false alarms, from at least two positive scores."""
    ranked = sorted(scores, reverse=True)
    count = len(ranked)
    above = math.floor(rate * (count + 1) + 1e-9)
    if above:
        return Threshold(value=ranked[above - 1], asked=rate, pictures=count, above=above)
    logarithms = [math.log(score) for score in ranked]
    reach = _student_quantile(1 - rate, count - 1) * statistics.stdev(logarithms) * math.sqrt(1 + 1 / count)
    value = max(ranked[0], math.exp(min(statistics.fmean(logarithms) + reach, math.log(10 * ranked[0]))))
    return Threshold(value=value, asked=rate, pictures=count, above=0)


def beta_quantile(above: int, count: int, share: float) -> float:
    """Return the quantile of Beta(above, count + 1 - above), by halving: its distribution is a binomial's tail."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _at_least(above, count, middle) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_least(hits: int, count: int, chance: float) -> float:
    """Return the chance of at least so many hits in `count` tries."""
    if chance <= 0 or chance >= 1:
        return float(chance >= 1)
    whole = math.lgamma(count + 1)
    fewer = (
        math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * math.log(chance)
            + (count - k) * math.log1p(-chance)
        )
        for k in range(hits)
    )  # fmt: skip
    return 1 - math.fsum(fewer)


def _student_quantile(share: float, freedom: int) -> float:
    """Return the quantile of Student's distribution, by its expansion about the normal one.

    Abramowitz and Stegun 26.7.5; within 3 % for 4 degrees of freedom and a share of 0.99.
    """
    z = statistics.NormalDist().inv_cdf(share)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
