"""Where a picture differs from its reference by more than a trembling edge.

Copper is *extra* where the picture has it and the reference hasn't, *missing* the other way round. A difference counts
when it reaches farther than the edge tolerance from where the reference changes material, or is solid for farther
than that: the first finds thin bridges and small dots, the second what fills a narrow gap. What counts is then
grown back to the whole of the difference that it is part of.

In gaps and tracks no wider than twice the tolerance everything is near an edge. There a difference that reaches the
middle is looked at too, as tolerable: whoever names it must find out whether it joins or parts anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.binarise import Mask

Kind = Literal["extra", "missing"]
RING_PX = 4
"""How far around a blob its surroundings are looked at."""
BORDER_TOLERANCES = 2
"""A difference must reach this many edge tolerances into the reference: at its border nothing shows where an edge that
lies there should go."""
MIN_CORE_PX = 3
"""Less than this beyond the edge tolerance is noise."""
MAX_BLOBS = 1000
"""Of one kind; of more, the largest. The product is bad anyhow, and the time for it stays bounded."""
MERGE_PX = 3
"""Differences no farther apart than twice this are one."""

_STEPS_PER_PX = 16
_DIRECTIONS = [
    np.ones((1, 3), np.uint8),
    np.ones((3, 1), np.uint8),
    np.eye(3, dtype=np.uint8),
    np.eye(3, dtype=np.uint8)[::-1].copy(),
]


@dataclass(frozen=True)
class Blob:
    """One difference, in the reference's coordinates.

    Attributes:
        kind: extra or missing copper.
        x, y: the window's upper left corner.
        body: the window: the difference itself, with RING_PX or more around it where the picture has as much. 0 or 1.
        core_px: the area of it that counts: beyond the edge tolerance, or all of it if it is tolerable.
        tolerable: it lies within the edge tolerance, and is a defect only if it changes what is connected.
        seen: the same window of the picture's copper, 0 or 255; the complement where copper is missing.
        expected: the same window of the reference's copper, 0 or 255; the complement where copper is missing.
    """

    kind: Kind
    x: int
    y: int
    body: NDArray[np.uint8]
    core_px: int
    tolerable: bool
    seen: Mask
    expected: Mask

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the body, without its surroundings."""
        x, y, width, height = cv2.boundingRect(self.body)
        return self.x + x, self.y + y, width, height


@dataclass(frozen=True)
class _Material:
    """One of the two materials in the reference.

    Attributes:
        mask: where it is, 0 or 255.
        deep: farther inside than the tolerance.
        narrow: the middle of its parts that are too narrow to have anything deep, or None if there are none.
    """

    mask: Mask
    deep: Mask
    narrow: Mask | None


class ToleratedReference:
    """The reference's copper with the bands in which an edge may tremble."""

    def __init__(self, copper: Mask, tolerance_px: int) -> None:
        self.copper = copper
        self._tolerance_px = tolerance_px
        self._kernel = _disk(tolerance_px)
        self._of = {
            "extra": self._material(np.asarray(cv2.bitwise_not(copper), dtype=np.uint8)),
            "missing": self._material(copper),
        }

    def blobs(self, seen: Mask, shown: Mask | None) -> Iterator[Blob]:
        """The differences.

        Args:
            seen: the picture's copper, lying on the reference, 0 or 255.
            shown: 255 where the picture shows the reference's place at all, or None for everywhere.
        """
        yield from self._blobs_of("extra", seen, shown)
        yield from self._blobs_of("missing", np.asarray(cv2.bitwise_not(seen), dtype=np.uint8), shown)

    def _blobs_of(self, kind: Kind, seen: Mask, shown: Mask | None) -> Iterator[Blob]:
        """`seen` is copper for what is extra, substrate for what is missing: what replaced the material."""
        replaced = self._of[kind]
        different = seen & replaced.mask
        if shown is not None:
            different &= shown
        core = different & (replaced.deep | _eroded(seen, self._kernel))
        border = BORDER_TOLERANCES * self._tolerance_px
        inside = (slice(border, -border), slice(border, -border))
        found = list(self._grown(kind, seen, different, _only(core, inside), tolerable=False))
        yield from found
        if replaced.narrow is not None:
            middle = _only(different & replaced.narrow, inside)
            for blob in found:  # what it covers is told of already, with what would have been merged with it
                height, width = blob.body.shape
                near = cv2.dilate(blob.body, np.ones((2 * MERGE_PX + 1,) * 2, np.uint8))
                middle[blob.y : blob.y + height, blob.x : blob.x + width][near > 0] = 0
            yield from self._grown(kind, seen, different, middle, tolerable=True)

    def _grown(self, kind: Kind, seen: Mask, different: Mask, core: Mask, *, tolerable: bool) -> Iterator[Blob]:
        if not cv2.countNonZero(core):
            return
        merge = np.ones((2 * MERGE_PX + 1,) * 2, np.uint8)
        outlines, _ = cv2.findContours(_dilated(core, merge), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(outlines) > MAX_BLOBS:
            outlines = sorted(outlines, key=cv2.contourArea, reverse=True)[:MAX_BLOBS]
        grow = _disk(self._tolerance_px + 1)
        margin = self._tolerance_px + 1 + RING_PX + 1
        rows, columns = seen.shape
        for outline in outlines:
            x, y, width, height = cv2.boundingRect(outline)
            left, top = max(0, x - margin), max(0, y - margin)
            window = (slice(top, min(rows, y + height + margin)), slice(left, min(columns, x + width + margin)))
            part = np.zeros(core[window].shape, np.uint8)
            cv2.drawContours(part, [outline], 0, 1, cv2.FILLED, offset=(-left, -top))
            part &= core[window]  # what lies in the outline, without what merging added to it
            body = _dilated(part, grow) & different[window]
            core_px = int(np.count_nonzero(body if tolerable else part))
            if core_px < MIN_CORE_PX:
                continue
            yield Blob(
                kind=kind,
                x=left,
                y=top,
                body=body,
                core_px=core_px,
                tolerable=tolerable,
                seen=seen[window],
                expected=np.asarray(cv2.bitwise_not(self._of[kind].mask[window]), dtype=np.uint8),
            )

    def _material(self, mask: Mask) -> _Material:
        narrow = _middle(mask, self._tolerance_px + 1)
        return _Material(mask, _eroded(mask, self._kernel), narrow if cv2.countNonZero(narrow) else None)


def _middle(mask: Mask, reach_px: int) -> Mask:
    """The middle of a material where it is no wider than twice `reach_px`: no disk of that radius fits in, and in some
    direction no neighbour is farther from an edge and one is nearer. Parts of one or two pixels are steps of a slanted
    edge and aren't meant."""
    disk = _disk(reach_px)
    narrow = (mask & ~_dilated(_eroded(mask, disk), disk)) > 0
    distance = cv2.convertScaleAbs(cv2.distanceTransform(mask, cv2.DIST_L2, 3), alpha=_STEPS_PER_PX)
    middle = np.zeros(mask.shape, bool)
    for direction in _DIRECTIONS:
        middle |= (distance >= cv2.dilate(distance, direction)) & (distance > cv2.erode(distance, direction))
    middle &= distance > _STEPS_PER_PX * 5 // 4
    return (middle & narrow).astype(np.uint8) * np.uint8(255)


def _disk(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def _dilated(mask: Mask, kernel: NDArray[np.uint8]) -> Mask:
    return np.asarray(cv2.dilate(mask, kernel), dtype=np.uint8)


def _eroded(mask: Mask, kernel: NDArray[np.uint8]) -> Mask:
    """What lies outside the picture counts as of the other material: a sliver along its border is a trembling edge."""
    return np.asarray(cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), dtype=np.uint8)


def _only(mask: Mask, inside: tuple[slice, slice]) -> Mask:
    kept = np.zeros_like(mask)
    kept[inside] = mask[inside]
    return kept
