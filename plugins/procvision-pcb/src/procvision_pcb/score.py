"""How sure it is that a difference is a defect and not a badly registered or trembling edge.

Trembling edges leave long thin slivers, many of them and all over; defects are solid and alone. How solid is solid
enough is therefore no constant: the picture's own edges tell, around the difference and everywhere. `FEATURES` are the
difference's form, what it touches, and how much else differs; a network of one small hidden layer makes a probability
of them. Its weights stand in `score_weights.json`, made by `training/learn_score.py`, which says from what.

A feature beyond what the weights were learnt from counts as the farthest that they know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.difference import Blob, Differences, Kind, Unrest

Features = NDArray[np.float32]
"""N x len(FEATURES)."""

_UNREST = ("same", "other", "same_far", "other_far", "farther")
FEATURES = (
    *("area", "core", "thickness", "depth", "open"),
    *("joins_none", "joins_two", "extra", "tolerable"),
    *(f"{name}_around" for name in _UNREST),
    *(f"{name}_all" for name in _UNREST),
    *("blobs", "edges"),
)
"""In the order of the weights. Areas, lengths and unrests are logarithms."""
WEIGHTS = "score_weights.json"
THICKNESS = FEATURES.index("thickness")
SOLID_PX, SOLID_POWER, MAX_SOLID_ODDS = 7.0, 6.0, 100.0
"""From this thickness on the odds are more than even, whatever the network says, and grow by this power of it."""
MAX_LOG_ODDS = 30.0
MAX_DEVIATIONS = 3.0
"""So many standard deviations from the mean of what was learnt from a feature is cut off."""
LEAST_UNREST_AROUND, LEAST_UNREST = 0.02, 0.0005
"""What is added before the logarithm: of some fifty and some thousand pixels of edges, one pixel that differs."""


@dataclass(frozen=True)
class Scorer:
    """The learnt network.

    Attributes:
        mean, deviation: of each feature in what was learnt from.
        inner: hidden x features.
        inner_bias: hidden.
        outer: hidden.
        outer_bias: one number.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    inner: NDArray[np.float32]
    inner_bias: NDArray[np.float32]
    outer: NDArray[np.float32]
    outer_bias: float

    def scores(self, features: Features) -> NDArray[np.float32]:
        """Each difference's score, 0 to 1, 0.5 where it may be either.

        What is thick is a defect, however much else differs: no trembling edge is so solid.
        """
        told = np.clip((features - self.mean) / self.deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        hidden = np.tanh(told @ self.inner.T + self.inner_bias)
        solid = SOLID_POWER * (features[:, THICKNESS] - math.log(SOLID_PX))
        odds = np.maximum(hidden @ self.outer + self.outer_bias, np.minimum(solid, math.log(MAX_SOLID_ODDS)))
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS))), dtype=np.float32)


_ARRAYS = ("mean", "deviation", "inner", "inner_bias", "outer")


def weights_of(scorer: Scorer) -> dict[str, Any]:
    """A network as JSON takes it."""
    return {
        **{key: np.round(getattr(scorer, key).astype(float), 5).tolist() for key in _ARRAYS},
        "outer_bias": round(scorer.outer_bias, 5),
    }


def unpacked(weights: Mapping[str, Any]) -> Scorer:
    """The network that `weights_of` was given."""
    arrays = {key: np.array(weights[key], np.float32) for key in _ARRAYS}
    return Scorer(**arrays, outer_bias=float(weights["outer_bias"]))


def packed(scorer: Scorer, provenance: Mapping[str, Any]) -> str:
    """A network as the package keeps it, in JSON, with what it was made of and how."""
    return json.dumps(
        {"provenance": dict(provenance), "features": list(FEATURES), "weights": weights_of(scorer)}, indent=1
    )


@cache
def learnt() -> Scorer:
    """Read the network that comes with the package. Raise ValueError where it was made for other features."""
    stored = json.loads(Path(__file__).with_name(WEIGHTS).read_bytes())
    if tuple(stored["features"]) != FEATURES:
        raise ValueError(f"{WEIGHTS}: made for the features {stored['features']}, not {list(FEATURES)}")
    return unpacked(stored["weights"])


def thickness_px(blob: Blob) -> float:
    """The diameter of the largest circle that fits into a blob."""
    framed = cv2.copyMakeBorder(blob.body, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return max(1.0, 2 * float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max()) - 1)


def depth_px(blob: Blob) -> float:
    """How far a blob reaches from where the reference has its material, as far as its window tells."""
    distance = cv2.distanceTransform(cv2.bitwise_not(blob.expected), cv2.DIST_L2, 3)
    return max(1.0, min(float(cv2.minMaxLoc(distance, mask=blob.body)[1]), float(max(blob.body.shape))))


def open_share(blob: Blob) -> float:
    """Of what surrounds a blob, the share that isn't of its material in the picture: 1 for an island, 0 for a filled
    hole."""
    ring = np.asarray(cv2.dilate(blob.body, np.ones((3, 3), np.uint8)), dtype=np.uint8) ^ blob.body
    around = cv2.countNonZero(ring)
    return 1 - cv2.countNonZero(ring & blob.seen) / around if around else 0.0


def features(blobs: Sequence[Blob], pieces: Sequence[int], differences: Differences) -> Features:
    """What the score is made of.

    Args:
        blobs: the differences of one picture.
        pieces: how many pieces of its own material each touches.
        differences: where they come from.
    """
    whole: dict[Kind, list[float]] = {
        kind: _logarithms(differences.unrest(kind), LEAST_UNREST) for kind in ("extra", "missing")
    }
    many, edges = math.log(max(1, len(blobs))), math.log(differences.edge_px + 100)
    rows = [
        [
            math.log(cv2.countNonZero(blob.body)),
            math.log(blob.core_px),
            math.log(thickness_px(blob)),
            math.log(depth_px(blob)),
            open_share(blob),
            touched == 0,
            touched >= 2,
            blob.kind == "extra",
            blob.tolerable,
            *_logarithms(differences.unrest_around(blob), LEAST_UNREST_AROUND),
            *whole[blob.kind],
            many,
            edges,
        ]
        for blob, touched in zip(blobs, pieces, strict=True)
    ]
    return np.array(rows, np.float32).reshape(-1, len(FEATURES))


def _logarithms(unrest: Unrest, least: float) -> list[float]:
    return [math.log(value + least) for value in unrest]
