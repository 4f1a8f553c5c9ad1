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

TILE_PX = 64
"""What is rare in a reference is looked for in tiles of this size, and looked at only where it is."""

_STEPS_PER_PX = 16
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
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


class ToleratedReference:
    """The reference's copper with the bands in which an edge may tremble."""

    def __init__(self, copper: Mask, tolerance_px: int) -> None:
        self.copper = copper
        self._tolerance_px = tolerance_px
        self._kernel = _disk(tolerance_px)
        materials = (copper, _complement(copper))
        # A place is of one material only: what is said of either needs one mask for both.
        self._deep = np.bitwise_or(*(_eroded(each, self._kernel) for each in materials))
        self._middle = np.bitwise_or(*(_middle(each, tolerance_px + 1) for each in materials))

    def blobs(self, seen: Mask, shown: Mask | None) -> Iterator[Blob]:
        """The differences.

        Args:
            seen: the picture's copper, lying on the reference, 0 or 255.
            shown: 255 where the picture shows the reference's place at all, or None for everywhere.
        """
        unseen = _complement(seen)
        different = seen ^ self.copper
        if shown is not None:
            different &= shown
        solid = _eroded(seen, self._kernel) | _eroded(unseen, self._kernel)
        border = BORDER_TOLERANCES * self._tolerance_px
        core = _only(different & (self._deep | solid), border)
        middle = _only(different & self._middle, border)
        # What is there is copper where it is extra, substrate where copper is missing.
        yield from self._blobs_of("extra", seen, different, core, middle)
        yield from self._blobs_of("missing", unseen, different, core, middle)

    def _blobs_of(self, kind: Kind, there: Mask, different: Mask, core: Mask, middle: Mask) -> Iterator[Blob]:
        found = list(self._grown(kind, there, different, core & there, tolerable=False))
        yield from found
        if not cv2.countNonZero(middle):
            return
        middle = middle & there
        for blob in found:  # what it covers is told of already, with what would have been merged with it
            height, width = blob.body.shape
            near = cv2.dilate(blob.body, np.ones((2 * MERGE_PX + 1,) * 2, np.uint8))
            middle[blob.y : blob.y + height, blob.x : blob.x + width][near > 0] = 0
        yield from self._grown(kind, there, different, middle, tolerable=True)

    def _grown(self, kind: Kind, there: Mask, different: Mask, core: Mask, *, tolerable: bool) -> Iterator[Blob]:
        if not cv2.countNonZero(core):
            return
        merge = np.ones((2 * MERGE_PX + 1,) * 2, np.uint8)
        outlines, _ = cv2.findContours(_dilated(core, merge), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(outlines) > MAX_BLOBS:
            outlines = sorted(outlines, key=cv2.contourArea, reverse=True)[:MAX_BLOBS]
        grow = _disk(self._tolerance_px + 1)
        margin = self._tolerance_px + 1 + RING_PX + 1
        rows, columns = there.shape
        for outline in outlines:
            x, y, width, height = cv2.boundingRect(outline)
            left, top = max(0, x - margin), max(0, y - margin)
            window = (slice(top, min(rows, y + height + margin)), slice(left, min(columns, x + width + margin)))
            part = np.zeros(core[window].shape, np.uint8)
            cv2.drawContours(part, [outline], 0, 1, cv2.FILLED, offset=(-left, -top))
            part &= core[window]  # what lies in the outline, without what merging added to it
            body = _dilated(part, grow) & different[window] & there[window]
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
                seen=there[window],
                expected=self.copper[window] if kind == "extra" else _complement(self.copper[window]),
            )


def _middle(mask: Mask, reach_px: int) -> Mask:
    """The middle of a material where it is no wider than twice `reach_px`: no disk of that radius fits in, and in some
    direction no neighbour is farther from an edge and one is nearer. Parts of one or two pixels are steps of a slanted
    edge and aren't meant."""
    disk = _disk(reach_px)
    narrow = mask & _complement(_dilated(np.asarray(cv2.erode(mask, disk), dtype=np.uint8), disk))
    narrow &= np.asarray(cv2.erode(mask, _CROSS), dtype=np.uint8)
    # A narrow place has its edge within the reach: farther around it nothing changes its distance or its neighbours'.
    around = reach_px + 2
    for tile_y, tile_x in _tiles_with_any(narrow):
        x, y, width, height = cv2.boundingRect(narrow[tile_y : tile_y + TILE_PX, tile_x : tile_x + TILE_PX])
        x, y = tile_x + x, tile_y + y
        left, top = max(0, x - around), max(0, y - around)
        ridges = _ridges(mask[top : y + height + around, left : x + width + around])
        narrow[y : y + height, x : x + width][~ridges[y - top :, x - left :][:height, :width]] = 0
    return narrow


def _ridges(mask: Mask) -> NDArray[np.bool_]:
    """Where in some direction no neighbour is farther from an edge and one is nearer."""
    distance = cv2.convertScaleAbs(cv2.distanceTransform(mask, cv2.DIST_L2, 3), alpha=_STEPS_PER_PX)
    ridges = np.zeros(mask.shape, bool)
    for direction in _DIRECTIONS:
        ridges |= (distance >= cv2.dilate(distance, direction)) & (distance > cv2.erode(distance, direction))
    return ridges


def _tiles_with_any(mask: Mask) -> Iterator[tuple[int, int]]:
    """Top and left of the tiles in which anything is set, TILE_PX high and wide or cut at the border."""
    rows, columns = (range(0, size, TILE_PX) for size in mask.shape)
    strips = np.stack([np.bitwise_or.reduce(mask[row : row + TILE_PX]) for row in rows])
    for row, column in np.argwhere(np.bitwise_or.reduceat(strips, columns, axis=1)):
        yield rows[row], columns[column]


def _disk(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def _dilated(mask: Mask, kernel: NDArray[np.uint8]) -> Mask:
    return np.asarray(cv2.dilate(mask, kernel), dtype=np.uint8)


def _eroded(mask: Mask, kernel: NDArray[np.uint8]) -> Mask:
    """What lies outside the picture counts as of the other material: a sliver along its border is a trembling edge."""
    return np.asarray(cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), dtype=np.uint8)


def _complement(mask: Mask) -> Mask:
    return np.asarray(cv2.bitwise_not(mask), dtype=np.uint8)


def _only(mask: Mask, border_px: int) -> Mask:
    """The same mask with nothing set within `border_px` of its border."""
    mask[:border_px] = mask[-border_px:] = 0
    mask[:, :border_px] = mask[:, -border_px:] = 0
    return mask
