"""The comparison, from end to end: a reference is learnt once, then any number of pictures are held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb import box, condition, score, topology
from procvision_pcb.align import GOOD_CORRELATION, ReferencePyramid
from procvision_pcb.binarise import Copper, Gray, Mask, evenly_lit, threshold_by_reference, threshold_globally, to_gray
from procvision_pcb.difference import Blob, Differences, ToleratedReference
from procvision_pcb.errors import NotComparableError
from procvision_pcb.etching import Edges
from procvision_pcb.motion import Alignment, warped

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
SAME_DEFECT_PX = 12
"""Pieces of one name that lie no farther apart are one defect: a ragged growth reaches out in many places, also on both
sides of a narrow track. What lies alone, as holes and islands do, or joins or parts something, is whole."""
RAGGED: tuple[topology.Label, ...] = ("spur", "mousebite")
FOREIGN_SCORE = 0.6
"""The least score where the picture shows something else. A score may be low among trembling edges; these are none."""
MIN_PIECE_SCORE = 0.3
"""What is less sure is no piece of another finding."""


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
        condition: what the picture as a whole is like beside the reference.
    """

    findings: list[Finding]
    alignment: Alignment
    condition: condition.Condition


@dataclass(frozen=True)
class Candidates:
    """What differs, before it is known how sure that is.

    Attributes:
        regions: the box of each difference, in the reference's coordinates.
        labels: what each is called.
        foreign: whether each lies where the picture shows something else: no doubt is left there.
        features: what the score of each is made of.
        alignment: where the picture lies on the reference.
        condition: what the picture as a whole is like beside the reference.
    """

    regions: Sequence[box.Box]
    labels: Sequence[topology.Label]
    foreign: Sequence[bool]
    features: score.Features
    alignment: Alignment
    condition: condition.Condition

    def findings(self, scores: Sequence[float], margin_px: int, same_defect_px: int = SAME_DEFECT_PX) -> list[Finding]:
        """The defects, the most certain first.

        Args:
            scores: one for each difference, 0 to 1.
            margin_px: how much a box leaves around its defect.
            same_defect_px: so far apart pieces of one defect may lie.
        """
        named = [
            (region, label, max(sure, FOREIGN_SCORE) if foreign else sure)
            for region, label, foreign, sure in zip(self.regions, self.labels, self.foreign, scores, strict=True)
        ]
        findings = [
            Finding(box.around(region, self.alignment, margin_px), label, sure)
            for region, label, sure in _whole(named, same_defect_px)
        ]
        findings.sort(key=lambda finding: -finding.score)
        return findings


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
        gray = to_gray(picture, "reference")
        mask, shaded = threshold_globally(gray, copper, "reference")
        if shaded:  # as pictures will be, so that edges lie alike in both
            mask = threshold_by_reference(gray, mask, copper)
        self.shape: tuple[int, int] = (mask.shape[0], mask.shape[1])
        self._pyramid = ReferencePyramid(mask)
        self._tolerated = ToleratedReference(mask, edge_tolerance_px)
        self._sharpness = condition.sharpness(gray, gray, mask) if shaded else condition.SHARP

    @cached_property
    def _edges(self) -> Edges:
        """Made for the first picture with a difference; threads that make it twice make the same."""
        return Edges(self._tolerated.copper, self._tolerated.edge)

    def compare(
        self,
        picture: NDArray[np.uint8],
        *,
        margin_px: int = DEFAULT_MARGIN_PX,
        max_shift_px: float = DEFAULT_MAX_SHIFT_PX,
    ) -> Comparison:
        """Find and name what differs.

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
                reason="size",
                hint="take both pictures with the same camera settings",
            )
        found = self.differences(picture, max_shift_px=max_shift_px)
        scores = score.learnt().scores(found.features).tolist()
        return Comparison(found.findings(scores, margin_px), found.alignment, found.condition)

    def differences(self, picture: NDArray[np.uint8], *, max_shift_px: float = DEFAULT_MAX_SHIFT_PX) -> Candidates:
        """What differs, and all that the score is made of.

        Args:
            picture: of the reference's size, H x W or H x W x 3 RGB, uint8.
            max_shift_px: how far the board may lie from where the reference's lay.

        Raises:
            NotComparableError: as `compare` does.
        """
        gray = to_gray(picture, "picture")
        seen, alignment, sharpness, mask = self._lay_on(gray)
        # Written so that a correlation that is no number fails too.
        if not alignment.correlation >= MIN_CORRELATION:
            raise NotComparableError(
                f"picture: its copper agrees with the reference's by {alignment.correlation:.2f},"
                f" at least {MIN_CORRELATION} is needed",
                reason="agreement",
                hint="is it the same product, the right way round, and in focus?",
            )
        if alignment.shift_px > max_shift_px:
            raise NotComparableError(
                f"picture: the board lies {alignment.shift_px:.0f} px from where the reference's lay,"
                f" at most {max_shift_px:.0f} px are allowed",
                reason="shift",
                hint="position the product again, or raise max_shift",
            )
        shown = self._shown(alignment)
        share = 1.0 if shown is None else cv2.countNonZero(shown) / shown.size
        if share < MIN_SHOWN:
            raise NotComparableError(
                f"picture: it shows {share:.0%} of the reference's board, at least {MIN_SHOWN:.0%} are needed",
                reason="part shown",
                hint="position the product again",
            )
        differences = Differences(self._tolerated, seen, shown)
        whole = condition.Condition(
            sharpness,
            differences.inward_px,
            differences.different_share,
            differences.different_per_edge_px,
            differences.astray_share,
        )
        condition.check(whole, self._sharpness, self._tolerated.tolerance_px)
        blobs: list[Blob] = []
        pieces: list[int] = []
        for blob in differences.blobs():
            touched = topology.pieces_touched(blob)
            # What lies within the tolerance is a defect only if it joins pieces of copper or parts one.
            if not blob.tolerable or touched >= topology.JOINED:
                blobs.append(blob)
                pieces.append(touched)
        if blobs:
            condition.check_edges(self._inward_px(gray, mask, alignment), self._tolerated.tolerance_px)
        return Candidates(
            [blob.box for blob in blobs],
            [topology.name(blob.kind, touched) for blob, touched in zip(blobs, pieces, strict=True)],
            [differences.is_foreign(blob) for blob in blobs],
            score.features(blobs, pieces, differences),
            alignment,
            whole,
        )

    def _lay_on(self, gray: Gray) -> tuple[Mask, Alignment, condition.Sharpness, Mask | None]:
        """The picture's copper on the reference's, how it lies, what the picture is like, and its copper as it is.

        The last is None where one threshold isn't enough.
        """
        mask, shaded = threshold_globally(gray, self._copper, "picture")
        alignment = self._pyramid.align(mask)
        if not shaded:
            return _binary(alignment.apply(mask)), alignment, condition.SHARP, mask
        if alignment.correlation < GOOD_CORRELATION:
            other = self._pyramid.align(threshold_globally(evenly_lit(gray), self._copper, "picture")[0])
            alignment = max(alignment, other, key=lambda each: each.correlation)
        if alignment.correlation < SURE_CORRELATION:
            # One threshold for the whole picture was good enough to find out about where it lies; now the reference
            # tells what light there is where, and the better mask where exactly it lies.
            rough = replace(alignment, field=None)
            alignment = rough.followed_by(self._pyramid.align(self._under_its_light(gray, rough)))
        lying = alignment.apply(gray)
        seen = threshold_by_reference(lying, self._tolerated.copper, self._copper)
        raw = warped(gray, alignment.matrix, smooth=False)
        return seen, alignment, condition.sharpness(lying, raw, self._tolerated.copper), None

    def _inward_px(self, gray: Gray, mask: Mask | None, alignment: Alignment) -> float:
        if mask is not None:
            return self._edges.inward_px(mask, alignment.matrix)
        lying = self._under_its_light(gray, replace(alignment, field=None))
        return self._edges.inward_px(lying, np.eye(2, 3))

    def _under_its_light(self, gray: Gray, alignment: Alignment) -> Mask:
        return threshold_by_reference(alignment.apply(gray), self._tolerated.copper, self._copper)

    def _shown(self, alignment: Alignment) -> Mask | None:
        """The part of the reference that the picture shows, or None for all of it that is looked at."""
        if alignment.shift_px < self._tolerated.border_px - 1:
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


_Named = tuple[box.Box, topology.Label, float]


def _whole(pieces: list[_Named], apart_px: int) -> list[_Named]:
    """The same with pieces of one name that lie near each other as one, as sure as the surest of them."""
    whole: list[_Named] = []
    for piece in sorted(pieces, key=lambda piece: -piece[2]):
        region, label, sure = piece
        # A piece may join what was apart before.
        near = [
            each
            for each in whole
            if label in RAGGED
            and each[1] == label
            and sure >= MIN_PIECE_SCORE
            and box.apart_px(each[0], region) <= apart_px
        ]
        for each in near:
            whole.remove(each)
            region = box.united(region, each[0])
        whole.append((region, label, max([sure, *(each[2] for each in near)])))
    return whole
