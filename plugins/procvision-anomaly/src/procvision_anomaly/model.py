"""A learnt surface: what is usual at each scale, and everything that says where it and the threshold come from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, TypeAlias

import attrs
import cv2
import msgspec
import numpy as np
from msgspec import Meta

from procvision_anomaly.description import Floats, Network, Rgb
from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.gaussian import Gaussian
from procvision_anomaly.memory import Memory
from procvision_anomaly.sizes import Sizes, resized
from procvision_anomaly.threshold import LEAST_RATE, MOST_RATE, Threshold, threshold_of

Detector: TypeAlias = Gaussian | Memory

LEAST_CONTRAST = 0.004
"""One grey value of 256: a picture with less shows no surface."""
_LEAST_SHARE_OF_CONTRAST = 0.2
"""Of the least that a good picture showed: below it the lens is covered, or the light off."""
_SMOOTHING_SIGMA = 0.7
"""In places: a defect takes more than one."""

_Positive = Annotated[float, Meta(gt=0, lt=1e6)]
Score: TypeAlias = _Positive
"""Of a held-out picture. One is what a good picture's worst place comes to, so a thousand are no score of a picture."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says of itself.

    `training_sha256` is the hash of the sorted hashes of the pictures' files, `network_sha256` that of the network
    whose descriptions were learnt. `held_out_scores` are those of the good pictures, each of which was held out of
    learning in one of `folds` folds. `false_alarms` is the rate that is kept unless another one is asked for.
    """

    sizes: Sizes
    pids: Annotated[list[str], Meta(min_length=1)]
    pictures: Annotated[int, Meta(ge=2)]
    training_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    network_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    network: str
    least_contrast: Annotated[float, Meta(ge=0, le=1)]
    seed: int
    folds: Annotated[int, Meta(ge=2)]
    held_out_scores: Annotated[list[Score], Meta(min_length=2, max_length=1_000_000)]
    false_alarms: Annotated[float, Meta(ge=LEAST_RATE, le=MOST_RATE)]

    def threshold(self, rate: float | None = None) -> Threshold:
        """Return the threshold for a rate of false alarms, or for the model's own."""
        return threshold_of(self.held_out_scores, self.false_alarms if rate is None else rate)


@attrs.frozen(eq=False)
class Scale:
    """One scale's detector, and what the worst place of a good picture comes to: its distances are told in it."""

    detector: Detector
    usual: float


@attrs.frozen(eq=False)
class Model:
    """What `surface-anomaly` inspects with."""

    facts: Facts
    scales: Mapping[int, Scale]
    network: Network

    def prepare(self) -> None:
        """Do what the first picture would wait for otherwise: the network is read, numbers are unpacked."""
        sizes = self.facts.sizes
        width, height = sizes.working_size(sizes.width, sizes.height)
        for scale, described in descriptions(np.zeros((height, width, 3), np.uint8), tuple(self.scales), self.network):
            self.scales[scale].detector.distances(described)

    def score_map(self, picture: Rgb) -> Floats:
        """Rows x columns: how unlike a good surface each place is; 1 is what a good picture's worst place comes to.

        The places cover the picture evenly. Raises NotInspectableError.
        """
        sizes = self.facts.sizes
        sizes.check(picture.shape[1], picture.shape[0])
        seen = sizes.working(picture)
        contrast = contrast_of(seen)
        least = max(self.facts.least_contrast * _LEAST_SHARE_OF_CONTRAST, LEAST_CONTRAST)
        if contrast < least:
            raise NotInspectableError(
                f"the picture's contrast is {contrast:.4f}, a good one's was at least {self.facts.least_contrast:.4f} "
                f"and {least:.4f} is asked for",
                hint="is the lens covered, the light off, the exposure wrong?",
            )
        found = []
        for scale, described in descriptions(seen, tuple(self.scales), self.network):
            one = self.scales[scale]
            found.append(smoothed(one.detector.distances(described)) / np.float32(one.usual))
        score_map = fused(found)
        if not math.isfinite(float(score_map.max())):
            raise NotInspectableError("the picture's score is no number", hint="learn the model anew")
        return score_map


def contrast_of(picture: Rgb) -> float:
    """Return the deviation of the brightness, 0 to 1 of the full range."""
    return float(cv2.meanStdDev(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[1][0, 0]) / 255


def descriptions(seen: Rgb, scales: tuple[int, ...], network: Network) -> Iterator[tuple[int, Floats]]:
    """Describe a working picture at each scale."""
    height, width = seen.shape[:2]
    for scale in scales:
        # A texture's picture may be smaller than the median one: a scale keeps whole places all the same.
        size = max(8, width // scale // 8 * 8), max(8, height // scale // 8 * 8)
        yield scale, network.describe(resized(seen, size))


def smoothed(distances: Floats) -> Floats:
    """Return the distances, each with some of its neighbours'."""
    return cv2.GaussianBlur(distances, (0, 0), _SMOOTHING_SIGMA, borderType=cv2.BORDER_REPLICATE).astype(
        np.float32, copy=False
    )


def fused(found: list[Floats]) -> Floats:
    """Return the worst of all scales at each place of the finest, which is the first."""
    size = (found[0].shape[1], found[0].shape[0])
    worst: Floats = np.max([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in found], axis=0)
    return worst
