"""The comparison, from end to end: a reference is learnt once, then any number of pictures are held against it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb import box, score, topology
from procvision_pcb.align import GOOD_CORRELATION, ReferencePyramid
from procvision_pcb.binarise import Copper, Gray, Mask, evenly_lit, threshold_by_reference, threshold_globally, to_gray
from procvision_pcb.difference import Blob, ToleratedReference
from procvision_pcb.errors import NotComparableError
from procvision_pcb.motion import Alignment

DEFAULT_EDGE_TOLERANCE_PX = 2
DEFAULT_MARGIN_PX = 10
"""DeepPCB's boxes leave ten pixels around the defect on every side; the median is 10 in each of its board groups."""
DEFAULT_MAX_SHIFT_PX = 40
DEFAULT_MIN_SCORE = 0.5
"""Where a difference is as likely a defect as not."""
MIN_SHOWN = 0.75
"""How much of the reference a picture must show, however far max_shift lets it lie."""
SURE_CORRELATION = 0.99
"""From here on an uneven light can't have spoilt the alignment."""
MIN_CORRELATION = 0.4
"""Pictures of other products stay below it; a product with half of its copper wrong is above it."""


@dataclass(frozen=True)
class Finding:
    """A defect: its box in the picture, its name, and how sure it is that it is one, 0 to 1."""

    box: box.Box
    label: topology.Label
    score: float


@dataclass(frozen=True)
class Comparison:
    """What a picture's comparison gave.

    Attributes:
        findings: the most certain first.
        alignment: where the picture lies on the reference.
    """

    findings: list[Finding]
    alignment: Alignment


class Reference:
    """A learnt defect-free picture. Comparing doesn't change it: threads may share one."""

    def __init__(
        self,
        picture: NDArray[np.uint8],
        *,
        copper: Copper = "dark",
        edge_tolerance_px: int = DEFAULT_EDGE_TOLERANCE_PX,
    ) -> None:
        """Learns a picture.

        Args:
            picture: H x W or H x W x 3 RGB, uint8.
            copper: whether copper is the darker or the brighter material.
            edge_tolerance_px: how far an edge may lie from where it should.

        Raises:
            NotComparableError: the picture shows no structure to compare with.
        """
        self._copper: Copper = copper
        mask, _ = threshold_globally(to_gray(picture, "reference"), copper, "reference")
        self.shape: tuple[int, int] = (mask.shape[0], mask.shape[1])
        self._pyramid = ReferencePyramid(mask)
        self._tolerated = ToleratedReference(mask, edge_tolerance_px)

    def compare(
        self,
        picture: NDArray[np.uint8],
        *,
        margin_px: int = DEFAULT_MARGIN_PX,
        max_shift_px: float = DEFAULT_MAX_SHIFT_PX,
    ) -> Comparison:
        """Finds and names what differs.

        Args:
            picture: of the reference's size, H x W or H x W x 3 RGB, uint8.
            margin_px: how much a box leaves around its defect.
            max_shift_px: how far the board may lie from where the reference's lay.

        Raises:
            NotComparableError: another size, no structure, another product, or shifted too far: no verdict.
        """
        if picture.shape[:2] != self.shape:
            raise NotComparableError(
                f"picture: {picture.shape[1]} x {picture.shape[0]} px,"
                f" but the reference is {self.shape[1]} x {self.shape[0]} px",
                hint="take both pictures with the same camera settings",
            )
        blobs, alignment = self.differences(picture, max_shift_px=max_shift_px)
        findings = [
            Finding(box.around(blob, alignment, margin_px, self.shape), topology.name(blob), score.score(blob))
            for blob in blobs
        ]
        findings.sort(key=lambda finding: -finding.score)
        return Comparison(findings, alignment)

    def differences(
        self, picture: NDArray[np.uint8], *, max_shift_px: float = DEFAULT_MAX_SHIFT_PX
    ) -> tuple[list[Blob], Alignment]:
        """What differs, in the reference's coordinates, and how the picture lies on it.

        Args:
            picture: of the reference's size, H x W or H x W x 3 RGB, uint8.
            max_shift_px: how far the board may lie from where the reference's lay.

        Raises:
            NotComparableError: as `compare` does.
        """
        seen, alignment = self._lay_on(to_gray(picture, "picture"))
        # Written so that a correlation that is no number fails too.
        if not alignment.correlation >= MIN_CORRELATION:
            raise NotComparableError(
                f"picture: its copper agrees with the reference's by {alignment.correlation:.2f},"
                f" at least {MIN_CORRELATION} is needed",
                hint="is it the same product, the right way round, and in focus?",
            )
        if alignment.shift_px > max_shift_px:
            raise NotComparableError(
                f"picture: the board lies {alignment.shift_px:.0f} px from where the reference's lay,"
                f" at most {max_shift_px:.0f} px are allowed",
                hint="position the product again, or raise max_shift",
            )
        shown = self._shown(alignment)
        share = 1.0 if shown is None else cv2.countNonZero(shown) / shown.size
        if share < MIN_SHOWN:
            raise NotComparableError(
                f"picture: it shows {share:.0%} of the reference's board, at least {MIN_SHOWN:.0%} are needed",
                hint="position the product again",
            )
        blobs = (blob for blob in self._tolerated.blobs(seen, shown) if not blob.tolerable or topology.connects(blob))
        return list(blobs), alignment

    def _lay_on(self, gray: Gray) -> tuple[Mask, Alignment]:
        """The picture's copper on the reference's."""
        mask, shaded = threshold_globally(gray, self._copper, "picture")
        alignment = self._pyramid.align(mask)
        if not shaded:
            return _binary(alignment.apply(mask)), alignment
        if alignment.correlation < GOOD_CORRELATION:
            other = self._pyramid.align(threshold_globally(evenly_lit(gray), self._copper, "picture")[0])
            alignment = max(alignment, other, key=lambda each: each.correlation)
        if alignment.correlation < SURE_CORRELATION:
            # One threshold for the whole picture was good enough to find out about where it lies; now the reference
            # tells what light there is where, and the better mask where exactly it lies.
            rough = replace(alignment, field=None)
            alignment = rough.followed_by(self._pyramid.align(self._under_its_light(gray, rough)))
        return self._under_its_light(gray, alignment), alignment

    def _under_its_light(self, gray: Gray, alignment: Alignment) -> Mask:
        return threshold_by_reference(alignment.apply(gray), self._tolerated.copper, self._copper)

    def _shown(self, alignment: Alignment) -> Mask | None:
        """The part of the reference that the picture shows, or None for all of it."""
        if not alignment.moves:
            return None
        height, width = self.shape
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64)
        shown = np.zeros(self.shape, np.uint8)
        cv2.fillConvexPoly(shown, np.rint(alignment.inverse(corners)).astype(np.int32), 255)
        # Nothing is taken off at the reference's own border, only where the picture ends inside it.
        inset = np.ones((3, 3), np.uint8)
        return np.asarray(cv2.erode(shown, inset, borderType=cv2.BORDER_CONSTANT, borderValue=255), dtype=np.uint8)


def _binary(image: NDArray[np.uint8]) -> Mask:
    return np.asarray(cv2.threshold(image, 127, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8)
