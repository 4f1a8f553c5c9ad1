"""A learnt surface: its memories, and everything that says where they and the threshold come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import attrs
import cv2
import msgspec
import numpy as np
from msgspec import Meta

from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.features import SCALES, Floats, Rgb, described, scaled, working
from procvision_anomaly.memory import Memory

Key: TypeAlias = tuple[str, int]
"""Kind of description, scale."""
Layout: TypeAlias = Literal["texture", "aligned"]

LEAST_SIDE_PX = 64
"""A smaller picture has hardly a place that is looked at whole."""
_LEAST_CONTRAST = 0.2
"""Of the least that a good picture showed: below it the lens is covered, or the light off."""
_SMOOTHING_SIGMA = 1.0
"""In places: a defect takes more than one."""


class Threshold(msgspec.Struct, frozen=True):
    """Where the threshold comes from: what good pictures scored that had no part in learning."""

    value: Annotated[float, Meta(gt=0)]
    quantile: Annotated[float, Meta(gt=0, le=1)]
    margin: Annotated[float, Meta(ge=0)]
    folds: Annotated[int, Meta(ge=2)]
    held_out_scores: Annotated[list[float], Meta(min_length=1)]

    def told(self) -> str:
        """In words."""
        scores = self.held_out_scores
        return (
            f"the {self.quantile:g}-quantile of {len(scores)} good pictures' scores ({min(scores):.3f}.."
            f"{max(scores):.3f}), each held out of learning in one of {self.folds} folds, plus {self.margin:.0%}"
        )


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says of itself.

    Sizes are in pixels of the original pictures. `training_sha256` is the hash of the sorted hashes of the pictures.
    """

    width: Annotated[int, Meta(ge=LEAST_SIDE_PX)]
    height: Annotated[int, Meta(ge=LEAST_SIDE_PX)]
    working_px: Annotated[int, Meta(ge=LEAST_SIDE_PX, le=4096)]
    layout: Layout
    pids: Annotated[list[str], Meta(min_length=1)]
    pictures: Annotated[int, Meta(ge=1)]
    training_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    least_contrast: Annotated[float, Meta(ge=0)]
    seed: int
    threshold: Threshold


@attrs.frozen(eq=False)
class Model:
    """What `surface-anomaly` inspects with."""

    facts: Facts
    memories: Mapping[Key, Memory]

    def score_map(self, picture: Rgb) -> Floats:
        """Rows x columns: how unlike a good surface each place is, 1 being the threshold.

        Places lie `STRIDE_PX` of the working picture apart. Raises NotInspectableError.
        """
        height, width = picture.shape[:2]
        facts = self.facts
        if (width, height) != (facts.width, facts.height):
            raise NotInspectableError(
                f"the picture is {width} x {height} px, the model was learnt from {facts.width} x {facts.height} px",
                hint="learn from pictures of this camera and resolution",
            )
        seen = working(picture, facts.working_px)
        contrast = float(seen[..., 0].std())
        least = facts.least_contrast * _LEAST_CONTRAST
        if contrast < least:
            raise NotInspectableError(
                f"the picture's contrast is {contrast:.4f}, a good one's was at least {facts.least_contrast:.4f} and "
                f"{least:.4f} is asked for",
                hint="is the lens covered, the light off, the exposure wrong?",
            )
        return fused(maps(seen, self.memories)) / np.float32(facts.threshold.value)


def maps(seen: Floats, memories: Mapping[Key, Memory]) -> dict[Key, Floats]:
    """How far a working picture's places are from what is usual, for each memory."""
    found: dict[Key, Floats] = {}
    for scale, reduced in scaled(seen):
        for (kind, of_scale), memory in memories.items():
            if of_scale == scale:
                distances = memory.distances(described(reduced, kind))
                smooth = cv2.GaussianBlur(distances, (0, 0), _SMOOTHING_SIGMA).astype(np.float32, copy=False)
                found[kind, scale] = memory.compared(smooth)
    return found


def fused(found: Mapping[Key, Floats]) -> Floats:
    """The worst of all at each place of the finest scale."""
    finest = next(one for (_, scale), one in found.items() if scale == SCALES[0])
    size = (finest.shape[1], finest.shape[0])
    worst: Floats = np.max([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in found.values()], axis=0)
    return worst
