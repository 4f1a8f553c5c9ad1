"""How sure it is that a difference is a defect and not a badly registered or trembling edge.

Trembling edges leave long thin slivers, defects are solid. So the odds grow with the thickness of the difference
above all, and a little with its area beyond the edge tolerance.

The three constants are round numbers from the middle of a plateau. A logistic regression on five features, fitted on
all board groups but one and held against that one, ranks no better: see the README.
"""

from __future__ import annotations

import math

import cv2

from procvision_pcb.difference import Blob

ODDS_ONE = 20.0
"""The odds are even where sqrt(area) * thickness^3 is this: a difference two to three pixels thick."""


def thickness_px(blob: Blob) -> float:
    """The diameter of the largest circle that fits into a blob."""
    framed = cv2.copyMakeBorder(blob.body, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return max(1.0, 2 * float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max()) - 1)


def score(blob: Blob) -> float:
    """0 to 1, 0.5 where it may be either."""
    odds = math.sqrt(blob.core_px) * thickness_px(blob) ** 3 / ODDS_ONE
    return odds / (1 + odds)
