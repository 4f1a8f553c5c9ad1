"""How far a figure differs from group to group: what an algorithm is worth on a group that nobody chose anything on.

Figures over a whole folder look better than what a new board, lot or camera will give, as groups of many pictures hide
those of few, and good ones bad ones. So each group is measured alone, and the mean over groups, the spread and the
lowest stand first. Where a value was swept, a group has the one that is best on all *other* groups.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from attrs import frozen

from procvision_tools.evaluation.figures import Figures

SPREAD_FIGURES = ("f_score", "mean_average_precision", "auroc", "accuracy")
"""Those that say how good an algorithm is, and mean the same for a group of any size."""


@frozen(kw_only=True)
class Spread:
    """One figure over the groups that have it."""

    figure: str
    groups: int
    mean: float
    """Of the groups, each counting once."""
    deviation: float
    """The sample's standard deviation."""
    lowest: float
    lowest_group: str


def spreads(by_group: Mapping[str, Figures]) -> tuple[Spread, ...]:
    """Give the spread of each figure that at least two groups have."""
    found = []
    for figure in SPREAD_FIGURES:
        values = {group: value for group, told in by_group.items() if (value := told.get(figure)) is not None}
        if len(values) > 1:
            lowest = min(values, key=lambda group: values[group])
            found.append(
                Spread(
                    figure=figure,
                    groups=len(values),
                    mean=statistics.fmean(values.values()),
                    deviation=statistics.stdev(values.values()),
                    lowest=values[lowest],
                    lowest_group=lowest,
                )
            )
    return tuple(found)
