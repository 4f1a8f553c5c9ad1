"""Names a difference by what it connects.

Extra copper that touches nothing is spurious copper; that touches one piece of copper, a spur; two or more, a short.
Missing copper is the same with copper and substrate exchanged: what touches no substrate is a pin-hole, one piece of it
a mousebite, two or more an open. Pieces are counted in a narrow ring around the blob: two arms of one track that meet
elsewhere are two pieces, as they must be for a short between them to be one.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.difference import RING_PX, Blob, Kind

Label = Literal["open", "short", "mousebite", "spur", "copper", "pin-hole"]
LABELS: tuple[Label, ...] = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
MIN_PIECE_PX = 6
"""Smaller pieces in the ring are torn-off trembling edges."""
_NAMES: dict[Kind, tuple[Label, Label, Label]] = {
    "extra": ("copper", "spur", "short"),
    "missing": ("pin-hole", "mousebite", "open"),
}
JOINED = 2
"""A difference that touches so many pieces joins copper, or parts it."""
_RING = np.ones((2 * RING_PX + 1,) * 2, np.uint8)
_TOUCH = {8: np.ones((3, 3), np.uint8), 4: np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)}
COPPER_CONNECTIVITY = 4
"""Copper that meets at a corner conducts; then substrate that meets at a corner doesn't part it."""


def pieces_touched(blob: Blob) -> int:
    """How many pieces of its own material a blob touches: copper if it is extra, substrate if it is missing."""
    around = _widened(blob.body, _RING) & (1 - blob.body) & blob.seen & blob.expected
    connectivity = COPPER_CONNECTIVITY if blob.kind == "extra" else 12 - COPPER_CONNECTIVITY
    count, pieces = cv2.connectedComponents(around, connectivity=connectivity, ltype=cv2.CV_16U)
    touched = np.bincount(pieces[_widened(blob.body, _TOUCH[connectivity]) > 0], minlength=count) > 0
    large = np.bincount(pieces.ravel(), minlength=count) >= MIN_PIECE_PX
    return int(np.count_nonzero((touched & large)[1:]))


def _widened(body: NDArray[np.uint8], kernel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(body, kernel), dtype=np.uint8)


def name(kind: Kind, pieces: int) -> Label:
    """The name of a defect of this kind that touches so many pieces."""
    return _NAMES[kind][min(JOINED, pieces)]
