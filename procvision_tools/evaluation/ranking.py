"""What scores are worth: average precision and the area under the receiver operating characteristic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@frozen(eq=False)
class Curve:
    """Precision and recall at each score that occurs, the highest first. Equal scores are one point."""

    scores: Floats
    precision: Floats
    recall: Floats

    @property
    def envelope(self) -> Floats:
        """The best precision that is to be had at each point's recall, or a higher one."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]


def precision_recall(scores: Sequence[float], right: Sequence[bool], truths: int) -> Curve:
    """Give the curve of findings with their scores and whether they are right; ``truths`` were there to be found."""
    if truths < 1:
        raise ValueError(f"recall is of something: there are {truths} truths")
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    hits = np.cumsum(np.asarray(right, bool)[order])
    lasts = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) if len(ordered) else np.zeros(0, np.intp)
    return Curve(ordered[lasts], hits[lasts] / (lasts + 1), hits[lasts] / truths)


def average_precision(curve: Curve) -> float:
    """The area under precision over recall, precision made to fall: all points, as PASCAL VOC from 2010 on has it."""
    return float(np.sum(np.diff(np.concatenate([[0.0], curve.recall])) * curve.envelope))


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Return the chance that a positive one scores higher than a negative one, ties counting half.

    None where there are only positive or only negative ones. Scores may be infinite.
    """
    values, positives = np.asarray(scores, np.float64), np.asarray(positive, bool)
    high, low = values[positives], np.sort(values[~positives])
    if not len(high) or not len(low):
        return None
    below = np.searchsorted(low, high, side="left")
    not_above = np.searchsorted(low, high, side="right")
    return float(np.mean((below + not_above) / 2) / len(low))
