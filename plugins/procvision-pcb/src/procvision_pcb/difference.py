"""Where a picture differs from its reference by more than a trembling edge.

Copper is *extra* where the picture has it and the reference hasn't, *missing* the other way round. A difference counts
when it reaches farther than the edge tolerance from where the reference changes material, or is solid for farther
than that: the first finds thin bridges and small dots, the second what fills a narrow gap. What counts is then
grown back to the whole of the difference that it is part of.

In gaps and tracks no wider than twice the tolerance everything is near an edge. There a difference that reaches the
middle is looked at too, as tolerable: its naming must find out whether it joins or parts anything.

What else differs around a blob, and in the whole picture, is counted here too (`Unrest`). A blob in the midst of
trembling edges means less than the same blob beside edges that lie still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

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

AROUND_PX = 16
"""So far beyond a blob's box the edges are looked at, to tell how still they lie."""

ASTRAY_PX = 2
"""An edge this much farther off than the tolerance isn't the reference's, however much that one trembles."""
FOREIGN_CELL_PX, FOREIGN_CELLS = 32, 3
"""So large are the cells, and so many of them across make a place, in which so much may differ:"""
FOREIGN_SHARE, FOREIGN_PER_EDGE_PX = 0.25, 1.8
"""A quarter of the area, or 1.8 px for each pixel of the reference's edges: two pictures whose edges tremble by 1.3 px
each differ by 1.5 px on an average. Where both is exceeded another product's tracks lie, or a hand."""
FEW_EDGES_PX = 10
"""A part of the picture with fewer edges than this says little of how still they lie."""

TILE_PX = 64
"""What is rare in a reference is looked for in tiles of this size, and looked at only where it is."""

_STEPS_PER_PX = 16
_SQUARE = np.ones((3, 3), np.uint8)
_FARTHER = np.ones((2 * ASTRAY_PX + 1,) * 2, np.uint8)
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

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the body, without its surroundings."""
        x, y, width, height = cv2.boundingRect(self.body)
        return self.x + x, self.y + y, width, height


class Unrest(NamedTuple):
    """How much differs in a part of the picture, in pixels for each pixel of the reference's edges there.

    Attributes:
        same, other: of the blob's own kind (extra or missing copper), and of the other kind.
        same_far, other_far: of these, what lies beyond the edge tolerance.
        farther: of both kinds, what lies beyond the tolerance by another pixel.
    """

    same: float
    other: float
    same_far: float
    other_far: float
    farther: float


class ToleratedReference:
    """The reference's copper with the bands in which an edge may tremble."""

    def __init__(self, copper: Mask, tolerance_px: int) -> None:
        self.copper = copper
        self.tolerance_px = tolerance_px
        self.kernel = _disk(tolerance_px)
        materials = (copper, _complement(copper))
        # A place is of one material only: what is said of either needs one mask for both.
        self.deep = np.bitwise_or(*(_eroded(each, self.kernel) for each in materials))
        self.deeper = np.asarray(cv2.erode(self.deep, _SQUARE), dtype=np.uint8)
        self.middle = np.bitwise_or(*(_middle(each, tolerance_px + 1) for each in materials))
        self.border_px = BORDER_TOLERANCES * tolerance_px
        self.edge = _only(copper & _complement(np.asarray(cv2.erode(copper, _CROSS), dtype=np.uint8)), self.border_px)
        self.edge_px = cv2.countNonZero(self.edge)


class Differences:
    """Where one picture differs from the reference.

    Attributes:
        edge_px: how many pixels of the reference's edges the picture shows.
        inward_px: how much earlier than in the reference copper ends, on an average; less than 0 for later.
        different_share: of the picture, the share that differs.
        different_per_edge_px: how many pixels differ for each pixel of the reference's edges.
        astray_share: of the reference's edges, the share that has no edge of the picture near, within the tolerance and
            `ASTRAY_PX` more.
    """

    def __init__(self, reference: ToleratedReference, seen: Mask, shown: Mask | None) -> None:
        """Compare a picture with the reference.

        Args:
            reference: what is expected.
            seen: the picture's copper, lying on the reference, 0 or 255.
            shown: 255 where the picture shows the reference's place at all, or None for everywhere.
        """
        self._reference = reference
        self._seen = seen
        different = seen ^ reference.copper
        edge, edge_px = reference.edge, reference.edge_px
        if shown is not None:
            different &= shown
            edge = edge & shown
            edge_px = cv2.countNonZero(edge)
        self._unseen = _complement(seen)
        self._different = _only(different, reference.border_px)
        self._far = self._different & reference.deep
        self._farther = self._far & reference.deeper
        solid = _eroded(seen, reference.kernel) | _eroded(self._unseen, reference.kernel)
        self._core = self._far | (self._different & solid)
        self.edge_px = edge_px
        different_px, far_px = cv2.countNonZero(self._different), cv2.countNonZero(self._far)
        extra_px, far_extra_px = (cv2.countNonZero(each & seen) for each in (self._different, self._far))
        self._counts = _Counts(different_px, extra_px, far_px, far_extra_px, cv2.countNonZero(self._farther))
        self.inward_px = ((different_px - far_px) - 2 * (extra_px - far_extra_px)) / max(1, edge_px)
        self.different_share = different_px / seen.size
        self.different_per_edge_px = different_px / max(1, edge_px)
        astray = edge & np.asarray(cv2.erode(solid, _FARTHER), dtype=np.uint8)
        self.astray_share = cv2.countNonZero(astray) / max(1, edge_px)

    @cached_property
    def _foreign(self) -> NDArray[np.bool_] | None:
        """The cells in which more differs than trembling edges make, or None for none."""
        height, width = self._seen.shape
        if self._counts.different < FOREIGN_SHARE * (FOREIGN_CELLS * FOREIGN_CELL_PX) ** 2 / 2:
            return None
        cells = (max(1, width // FOREIGN_CELL_PX), max(1, height // FOREIGN_CELL_PX))
        different, edge = (
            cv2.blur(
                cv2.resize(mask, cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, (FOREIGN_CELLS,) * 2
            )
            for mask in (self._different, self._reference.edge)
        )
        foreign: NDArray[np.bool_] = (different > FOREIGN_SHARE) & (different > FOREIGN_PER_EDGE_PX * edge)
        return foreign if foreign.any() else None

    def is_foreign(self, blob: Blob) -> bool:
        """Whether a blob lies where the picture shows something else than trembling edges make of the reference."""
        if self._foreign is None:
            return False
        x, y, width, height = blob.box
        rows, columns = self._foreign.shape
        row = min(rows - 1, (y + height // 2) * rows // self._seen.shape[0])
        column = min(columns - 1, (x + width // 2) * columns // self._seen.shape[1])
        return bool(self._foreign[row, column])

    def blobs(self) -> Iterator[Blob]:
        """Yield the differences that reach beyond the tolerance, and the tolerable ones, largest outlines first."""
        middle = self._different & self._reference.middle
        # What is there is copper where it is extra, substrate where copper is missing.
        yield from self._blobs_of("extra", self._seen, self._different, self._core, middle)
        yield from self._blobs_of("missing", self._unseen, self._different, self._core, middle)

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
        grow = _disk(self._reference.tolerance_px + 1)
        margin = self._reference.tolerance_px + 1 + RING_PX + 1
        copper = self._reference.copper
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
                expected=copper[window] if kind == "extra" else _complement(copper[window]),
            )

    def unrest(self, kind: Kind) -> Unrest:
        """How much differs in the whole picture, as a blob of this kind has it to do with."""
        return self._counts.unrest(kind, self.edge_px)

    def unrest_around(self, blob: Blob) -> Unrest:
        """How much differs within `AROUND_PX` of a blob's box, but for the blob itself."""
        x, y, width, height = blob.box
        left, top = max(0, x - AROUND_PX), max(0, y - AROUND_PX)
        part = (slice(top, y + height + AROUND_PX), slice(left, x + width + AROUND_PX))
        others = self._different[part].copy()
        body = cv2.dilate(blob.body, _SQUARE)[y - blob.y - 1 :, x - blob.x - 1 :][: height + 2, : width + 2]
        rows, columns = y - 1 - top, x - 1 - left
        others[rows : rows + height + 2, columns : columns + width + 2][body > 0] = 0
        counts = _Counts(0, 0, 0, 0, 0)
        if different_px := cv2.countNonZero(others):
            seen, far = self._seen[part], others & self._far[part]
            counts = _Counts(
                different_px,
                cv2.countNonZero(others & seen),
                cv2.countNonZero(far),
                cv2.countNonZero(far & seen),
                cv2.countNonZero(far & self._farther[part]),
            )
        return counts.unrest(blob.kind, cv2.countNonZero(self._reference.edge[part]))


@dataclass(frozen=True)
class _Counts:
    """How many pixels of a part differ: in all, where copper is extra, and of both what lies beyond the tolerance."""

    different: int
    extra: int
    far: int
    far_extra: int
    farther: int

    def unrest(self, kind: Kind, edge_px: int) -> Unrest:
        per_px = 1 / (edge_px + FEW_EDGES_PX)
        same, same_far = self.extra, self.far_extra
        if kind == "missing":
            same, same_far = self.different - same, self.far - same_far
        return Unrest(
            same=same * per_px,
            other=(self.different - same) * per_px,
            same_far=same_far * per_px,
            other_far=(self.far - same_far) * per_px,
            farther=self.farther * per_px,
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
