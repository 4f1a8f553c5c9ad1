"""Where parallel stripes are: what may be a bar code, at whatever angle.

zxing-cpp scans along rows and columns, so a bar code at 45 degrees is crossed by no scan line. The structure tensor
tells where the picture's gradients agree on one direction over some area; there the picture is turned upright.
What is found and can't be read is at least a place to point at.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_codes.geometry import Affine, Corners
from procvision_codes.picture import Gray, reduced_to

MAX_SEARCHED_PX = 4_000_000
"""Stripes are looked for in a picture of at most so many pixels."""
BLOCK_PX = 12
"""A block holds some bars of a code that can be read."""
MIN_COHERENCE = 0.6
"""0 is no direction, 1 one alone."""
MIN_ENERGY = 12.0**2
"""Mean squared gradient, in grey levels: below it is noise."""
MIN_BLOCKS_ALONG, MIN_BLOCKS_ACROSS = 4, 2
"""A straight edge is coherent too, but it is one or two blocks wide."""
SECTOR_DEGREES = 20
MAX_FOUND = 12
MAX_UPRIGHT_PX = 4_000_000
_QUIET = 0.12
"""How much of the length is added at both ends: a quiet zone is 10 narrow bars."""
_WIDE = 5.0
"""A PDF417 is rarely wider than five times its height."""


Blocks: TypeAlias = NDArray[np.float32]


class Stripes(NamedTuple):
    """A patch of stripes in the searched picture."""

    corners: Corners
    """Its rectangle; the first edge runs across the bars, as a scan line would."""
    weight: float
    """Area times gradient: how much of a bar code there may be."""


def find_stripes(gray: Gray) -> list[Stripes]:
    """Patches of stripes, the weightiest first, at most MAX_FOUND."""
    small = reduced_to(gray, MAX_SEARCHED_PX)
    rows, columns = small.shape[0] // BLOCK_PX, small.shape[1] // BLOCK_PX
    if min(rows, columns) < MIN_BLOCKS_ACROSS:
        return []
    small = small[: rows * BLOCK_PX, : columns * BLOCK_PX]
    scale = gray.shape[1] / small.shape[1] if gray.shape == small.shape else float(np.sqrt(gray.size / MAX_SEARCHED_PX))
    energy, coherence, angle = _tensor(small, (columns, rows))
    strong = (coherence > MIN_COHERENCE) & (energy > MIN_ENERGY)
    found: list[Stripes] = []
    for sector in range(0, 180, SECTOR_DEGREES):
        off = np.abs((angle - sector + 90) % 180 - 90)
        mask = (strong & (off <= SECTOR_DEGREES)).astype(np.uint8)
        count, labels = cv2.connectedComponents(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
        for label in range(1, count):
            patch = _patch((labels == label) & (mask > 0), energy, angle, max(1.0, scale))
            if patch is not None:
                found.append(patch)
    found.sort(key=lambda patch: -patch.weight)
    kept: list[Stripes] = []
    for patch in found:
        centre = patch.corners.mean(axis=0)
        if all(not _near(centre, other) for other in kept):
            kept.append(patch)
    return kept[:MAX_FOUND]


def _tensor(small: Gray, blocks: tuple[int, int]) -> tuple[Blocks, Blocks, Blocks]:
    """Energy, coherence and the gradient's direction in degrees, 0 to 180, for each block."""
    across = cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    down = cv2.Sobel(small, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    xx, yy, xy = (
        np.asarray(cv2.resize(product, blocks, interpolation=cv2.INTER_AREA), dtype=np.float32)
        for product in (across * across, down * down, across * down)
    )
    # A block alone holds too few bars of a coarse code.
    xx, yy, xy = (np.asarray(cv2.blur(each, (3, 3)), dtype=np.float32) for each in (xx, yy, xy))
    energy = xx + yy
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (energy + 1e-6)
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180
    return energy, coherence.astype(np.float32), angle.astype(np.float32)


def _patch(mask: NDArray[np.bool_], energy: Blocks, angle: Blocks, scale: float) -> Stripes | None:
    ys, xs = np.nonzero(mask)
    if xs.size < MIN_BLOCKS_ALONG * MIN_BLOCKS_ACROSS:
        return None
    weights = energy[ys, xs]
    doubled = np.radians(2 * angle[ys, xs])
    turn = 0.5 * np.arctan2((weights * np.sin(doubled)).sum(), (weights * np.cos(doubled)).sum())
    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    centres = (np.stack([xs, ys], axis=1) + 0.5) * BLOCK_PX
    u, v = centres @ along, centres @ across
    half = BLOCK_PX / 2
    u0, u1, v0, v1 = u.min() - half, u.max() + half, v.min() - half, v.max() + half
    if u1 - u0 < MIN_BLOCKS_ALONG * BLOCK_PX or v1 - v0 < MIN_BLOCKS_ACROSS * BLOCK_PX:
        return None
    corners = np.array([along * a + across * b for a, b in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]) * scale
    return Stripes(corners, float(weights.sum()) * scale * scale)


def _near(centre: NDArray[np.float64], other: Stripes) -> bool:
    first, _, third, _ = other.corners
    reach = float(np.linalg.norm(third - first)) / 2
    return bool(np.linalg.norm(centre - other.corners.mean(axis=0)) < reach / 2)


def upright(gray: Gray, stripes: Stripes, *, wide: bool = False) -> tuple[Gray, Affine]:
    """The patch turned so that its bars stand upright, with quiet zones, and the way back to the picture.

    A PDF417's start and stop patterns are stripes and what lies between them isn't: `wide` leaves several times the
    patch's height at both ends. Pixels outside the picture repeat its border.
    """
    first, second, _, fourth = stripes.corners
    length, height = float(np.linalg.norm(second - first)), float(np.linalg.norm(fourth - first))
    along, across = (second - first) / length, (fourth - first) / height
    margin_u = length * _QUIET + 2 * BLOCK_PX + (_WIDE * height if wide else 0)
    margin_v = 2.0 * BLOCK_PX if wide else 1.0 * BLOCK_PX
    width_px, height_px = length + 2 * margin_u, height + 2 * margin_v
    coarse = max(1.0, float(np.sqrt(width_px * height_px / MAX_UPRIGHT_PX)))
    corner = first - along * margin_u - across * margin_v
    back: Affine = np.column_stack([along * coarse, across * coarse, corner])
    size = max(1, int(width_px / coarse)), max(1, int(height_px / coarse))
    turned = cv2.warpAffine(
        gray, back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(turned, dtype=np.uint8), back
