"""The few statistics of a comparison: McNemar's test, Wilson's bounds, Kolmogorov's and Smirnov's distance. Pure."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile: bounds of 95 %."""
_TERMS = 100
"""Of Kolmogorov's series: the hundredth is below the smallest number wherever the series is used."""
_SMALL_LAMBDA = 0.2
"""Below it the distribution's upper tail is 1 to more digits than a number has."""


@frozen
class Interval:
    """A share with its bounds, each 0 to 1."""

    share: float
    low: float
    high: float


@frozen
class McNemar:
    """Whether two kinds of disagreement are equally likely. Both p-values are two-sided; 1 without disagreement."""

    b: int
    c: int
    exact_p: float
    """By the binomial distribution of `b` out of `b + c` at one half."""
    corrected_p: float
    """By chi-squared with one degree of freedom and Edwards' correction: (|b - c| - 1)^2 / (b + c)."""


@frozen
class Distance:
    """How far apart two samples' distributions lie."""

    statistic: float
    """The largest difference of the two empirical distribution functions, 0 to 1."""
    p: float
    """By Kolmogorov's limiting distribution: good from some dozens of values on, careful below."""


def wilson(count: int, total: int, z: float = Z_95) -> Interval | None:
    """Give a share with Wilson's score bounds (1927); None of nothing.

    They are never empty: of no event in 100 the upper bound is 3.7 %. Raises ValueError for a count outside of the
    total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"a count lies within 0 and its total {total}, this is {count}")
    if not total:
        return None
    share, weight = count / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    # At both ends the bound is the share itself, which rounding would miss.
    return Interval(share, 0.0 if count == 0 else middle - half, 1.0 if count == total else middle + half)


def mcnemar(b: int, c: int) -> McNemar:
    """Test (McNemar 1947) with the two counts of pairs that disagree. Raises ValueError for a negative count."""
    if min(b, c) < 0:
        raise ValueError(f"counts are 0 or more, these are {b} and {c}")
    total = b + c
    if not total:
        return McNemar(b, c, 1.0, 1.0)
    chi_squared = max(0, abs(b - c) - 1) ** 2 / total
    return McNemar(b, c, min(1.0, 2 * _lower_tail(min(b, c), total)), math.erfc(math.sqrt(chi_squared / 2)))


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> Distance | None:
    """Compare two samples of finite numbers by Kolmogorov and Smirnov; None where either is empty."""
    if not len(one) or not len(other):
        return None
    sorted_one, sorted_other = np.sort(one), np.sort(other)
    # The distribution functions step at the values of either; the difference is largest behind one of the steps.
    steps = np.concatenate([sorted_one, sorted_other])
    shares_one = np.searchsorted(sorted_one, steps, side="right") / len(one)
    shares_other = np.searchsorted(sorted_other, steps, side="right") / len(other)
    statistic = float(np.abs(shares_one - shares_other).max())
    return Distance(statistic, kolmogorov_tail(statistic * math.sqrt(len(one) * len(other) / (len(one) + len(other)))))


def kolmogorov_tail(value: float) -> float:
    """Give how likely Kolmogorov's limiting distribution exceeds a value: 2 sum (-1)^(k-1) exp(-2 k^2 value^2)."""
    if value < _SMALL_LAMBDA:
        return 1.0
    total = math.fsum((-1) ** (k - 1) * math.exp(-2 * k * k * value * value) for k in range(1, _TERMS))
    return min(1.0, max(0.0, 2 * total))


def _lower_tail(count: int, total: int) -> float:
    """Give P(X <= count) of a fair coin thrown ``total`` times, for a count of at most the half.

    The last term by the logarithm of the gamma function; those before it shrink by i / (n - i + 1) each.
    """
    last = math.exp(
        math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1) - total * math.log(2)
    )
    below = np.arange(count, 0, -1, dtype=np.float64)
    return last * (1.0 + float(np.cumprod(below / (total - below + 1)).sum()))
