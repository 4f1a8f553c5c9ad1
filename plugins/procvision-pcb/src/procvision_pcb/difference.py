"""Where a picture differs from its reference by more than a trembling edge.

Copper is *extra* where the picture has it and the reference hasn't, *missing* the other way round. A difference counts
when it reaches farther than the edge tolerance from where the reference changes material, or is solid for farther
than that: the first finds thin bridges and small dots, the second what fills a narrow gap. What counts is then
grown back to the whole of the difference that it is part of.
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
MIN_CORE_PX = 3
"""Less than this beyond the edge tolerance is noise."""
MERGE_PX = 3
"""Differences no farther apart than twice this are one."""


@dataclass(frozen=True)
class Blob:
    """One difference, in the reference's coordinates.

    Attributes:
        kind: extra or missing copper.
        x, y: the window's upper left corner.
        body: the window: the difference itself, with RING_PX or more around it where the picture has as much. 0 or 1.
        core_px: the area of it that is beyond the edge tolerance.
        seen: the same window of the picture's copper, 0 or 255; the complement where copper is missing.
        expected: the same window of the reference's copper, 0 or 255; the complement where copper is missing.
    """

    kind: Kind
    x: int
    y: int
    body: NDArray[np.uint8]
    core_px: int
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
        self.tolerance_px = tolerance_px
        self._kernel = _disk(tolerance_px)
        substrate = cv2.bitwise_not(copper)
        self.substrate: Mask = np.asarray(substrate, dtype=np.uint8)
        self._deep_copper = _erode(copper, self._kernel)
        self._deep_substrate = _erode(self.substrate, self._kernel)

    def blobs(self, seen: Mask, shown: Mask | None) -> Iterator[Blob]:
        """The differences.

        Args:
            seen: the picture's copper, lying on the reference, 0 or 255.
            shown: 255 where the picture shows the reference's place at all, or None for everywhere.
        """
        unseen = np.asarray(cv2.bitwise_not(seen), dtype=np.uint8)
        yield from self._one_kind("extra", seen, self.copper, self.substrate, self._deep_substrate, shown)
        yield from self._one_kind("missing", unseen, self.substrate, self.copper, self._deep_copper, shown)

    def _one_kind(
        self,
        kind: Kind,
        seen: Mask,
        expected: Mask,
        unexpected: Mask,
        deep: Mask,
        shown: Mask | None,
    ) -> Iterator[Blob]:
        """`seen` and `expected` are copper for what is extra, substrate for what is missing."""
        different = seen & unexpected
        if shown is not None:
            different &= shown
        core = different & (deep | _erode(seen, self._kernel))
        if not cv2.countNonZero(core):
            return
        merge = np.ones((2 * MERGE_PX + 1,) * 2, np.uint8)
        outlines, _ = cv2.findContours(cv2.dilate(core, merge), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        grow = _disk(self.tolerance_px + 1)
        margin = self.tolerance_px + 1 + RING_PX + 1
        rows, columns = seen.shape
        for outline in outlines:
            x, y, width, height = cv2.boundingRect(outline)
            left, top = max(0, x - margin), max(0, y - margin)
            window = (slice(top, min(rows, y + height + margin)), slice(left, min(columns, x + width + margin)))
            part = np.zeros(core[window].shape, np.uint8)
            cv2.drawContours(part, [outline], 0, 1, cv2.FILLED, offset=(-left, -top))
            part &= core[window]  # what lies in the outline, without what merging added to it
            core_px = int(np.count_nonzero(part))
            if core_px < MIN_CORE_PX:
                continue
            body = np.asarray(cv2.dilate(part, grow), dtype=np.uint8) & different[window]
            yield Blob(
                kind=kind,
                x=left,
                y=top,
                body=body,
                core_px=core_px,
                seen=seen[window],
                expected=expected[window],
            )


def _disk(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def _erode(mask: Mask, kernel: NDArray[np.uint8]) -> Mask:
    """What lies outside the picture counts as of the other material: a sliver along its border is a trembling edge."""
    return np.asarray(cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), dtype=np.uint8)
