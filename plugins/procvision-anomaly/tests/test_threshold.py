"""A threshold keeps the rate of false alarms that it was asked for, and says how surely."""

from __future__ import annotations

import math

import numpy as np
import pytest

from procvision_anomaly.threshold import beta_quantile, threshold_of


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("count", [99, 400])
def test_the_rate_of_false_alarms_is_the_one_asked_for(rate: float, count: int) -> None:
    """On average over many sets of pictures, whatever the scores' distribution."""
    rng = np.random.default_rng(1)
    places = rng.uniform(0, 1, (1000, count))
    kept = math.floor(rate * (count + 1)) / (count + 1)
    for scored, back in ((lambda u: 1 + u, lambda t: t - 1), (lambda u: np.exp(9 * u), lambda t: math.log(t) / 9)):
        alarms = [1 - back(threshold_of(scored(one).tolist(), rate).value) for one in places]
        assert float(np.mean(alarms)) == pytest.approx(kept, abs=0.003)


def test_the_interval_holds_the_true_rate_as_often_as_it_says() -> None:
    """Of sets of 60 pictures, 19 in 20; no tail of more than a few in a hundred."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        threshold = threshold_of(rng.uniform(1, 2, 60), 0.1)
        held += threshold.between[0] <= 2 - threshold.value <= threshold.between[1]
    assert 0.92 <= held / 400 <= 0.98


def test_too_few_pictures_are_extrapolated_from_and_said_to_be() -> None:
    """The threshold is above all of them, and the more so the lower the rate."""
    rng = np.random.default_rng(3)
    scores = rng.lognormal(0, 0.1, 20)
    thresholds = [threshold_of(scores, rate) for rate in (0.04, 0.02, 0.001)]
    assert [one.extrapolated for one in thresholds] == [True] * 3
    values = [one.value for one in thresholds]
    assert max(scores) <= values[0] <= values[1] < values[2]
    assert thresholds[0].between == (0.0, pytest.approx(1 - 0.05 ** (1 / 20)))
    assert "49 pictures would tell it" in thresholds[1].told()
    assert not threshold_of(scores, 0.05).extrapolated


def test_an_extrapolated_threshold_keeps_its_rate_where_scores_are_as_supposed() -> None:
    """Of ten pictures at 2 %: a normal distribution of logarithms."""
    rng = np.random.default_rng(4)
    alarms = [
        np.mean(rng.lognormal(0, 0.2, 500) > threshold_of(rng.lognormal(0, 0.2, 10), 0.02).value) for _ in range(400)
    ]
    assert float(np.mean(alarms)) <= 0.03


def test_scores_that_are_all_alike_make_a_threshold() -> None:
    """Finite, and at least theirs."""
    for rate in (0.001, 0.3):
        assert threshold_of([0.8] * 6, rate).value >= 0.8
    assert threshold_of([1e-9, 0.9], 0.001).value <= 9.1


@pytest.mark.parametrize(
    ("above", "count", "share", "value"),
    [
        (1, 1, 0.975, 0.975),
        (1, 10, 0.5, 1 - 0.5 ** (1 / 10)),
        (1, 400, 0.025, 1 - 0.975 ** (1 / 400)),
        (30, 30, 0.2, 0.2 ** (1 / 30)),
        (5, 9, 0.5, 0.5),
    ],
)
def test_quantiles_of_the_beta_distribution(above: int, count: int, share: float, value: float) -> None:
    """Where it has a closed form: Beta(1, n), Beta(n, 1), and the middle of a symmetrical one."""
    assert beta_quantile(above, count, share) == pytest.approx(value, abs=1e-6)
