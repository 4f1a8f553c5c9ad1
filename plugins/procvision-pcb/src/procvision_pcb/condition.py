"""What a whole picture is like beside its reference: how blurred, how noisy, how far its edges lie in or out.

Each of these makes differences everywhere that are no defects. Up to its bound a picture is compared; beyond it nobody
could tell a defect from what the camera or the etching did, so the picture is refused, with what differs.

Blur: at a known distance from a straight edge a Gaussian blur leaves a known share of the contrast. The share is
averaged over all edges of the reference, which takes the noise out. Noise: J. Immerkaer, "Fast noise variance
estimation", Computer Vision and Image Understanding 64 (1996), inside the materials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.binarise import Gray, Mask
from procvision_pcb.difference import ASTRAY_PX
from procvision_pcb.errors import NotComparableError

MAX_BLUR_PX = 2.15
"""Standard deviation beyond the reference's own blur, as it is measured: a tenth less than it is. Gaps and tracks of
three pixels close about here."""
MAX_NOISE = 0.14
"""Standard deviation in parts of the contrast. A threshold in the middle then puts one pixel in six thousand into the
wrong material. At 0.15 it is one in two thousand, and where two of them meet at an edge good boards become NG."""
MAX_INWARD_TOLERANCES = 0.8
"""How far edges may lie in or out on an average, in edge tolerances."""
MAX_ASTRAY_SHARE = 0.1
"""Of the reference's edges, so many may have no edge of the picture near them. Of DeepPCB's pairs none has more than
0.05, however ragged they are made; mirrored, turned and exchanged pictures that correlate have 0.12 and more, unless
they look the same."""
MAX_DIFFERENT_SHARE, MAX_DIFFERENT_PER_EDGE_PX = 0.08, 2.2
"""So much of the picture may differ, if it is more for each pixel of the reference's edges than trembling edges make.
On two boards that are full of tracks an edge is near everywhere, and only this tells them apart. Of DeepPCB's pairs
none differs in more than 0.03 of the picture."""
BAND_PX = 2.5
"""Blur is measured so far from the edges."""
MIN_BAND_PX = 50
"""With fewer such pixels of either material there is nothing to measure at."""
CUT_OFF_LOSS = 0.67
"""Where black and white cut half of the noise off, a third of it isn't seen (measured on drawn noise)."""
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_LAPLACIAN_GAIN = math.sqrt(math.pi / 2) / 6
_SQUARE = np.ones((3, 3), np.uint8)
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Sharpness:
    """What a picture with values between copper and substrate is like.

    Attributes:
        blur_px: standard deviation of a Gaussian that would blur edges so much.
        noise: standard deviation, in parts of the contrast.
    """

    blur_px: float
    noise: float


@dataclass(frozen=True)
class Condition:
    """What a picture as a whole is like beside its reference.

    Attributes:
        sharpness: blur and noise.
        inward_px: how much earlier than in the reference copper ends, on an average; less than 0 for later.
        different_share: of the picture, the share that differs.
        different_per_edge_px: how many pixels differ for each pixel of the reference's edges.
        astray_share: of the reference's edges, the share that has no edge of the picture near.
    """

    sharpness: Sharpness
    inward_px: float
    different_share: float
    different_per_edge_px: float
    astray_share: float


SHARP = Sharpness(0.0, 0.0)
"""What a binarised picture is."""


def sharpness(lying: Gray, gray: Gray, copper: Mask) -> Sharpness:
    """Measure a picture.

    Args:
        lying: the picture, lying on `copper` as well as it can.
        gray: the same without any interpolation, which takes noise out, and lying to a few pixels.
        copper: what is copper in it or in its reference, 0 or 255.
    """
    materials = [copper, np.asarray(cv2.bitwise_not(copper), dtype=np.uint8)]
    inner = [_deeper(each, 5) for each in materials]
    levels = [cv2.mean(lying, mask)[0] for mask in inner]
    contrast = levels[0] - levels[1]
    if abs(contrast) < 1 or min(cv2.countNonZero(mask) for mask in inner) < MIN_BAND_PX:
        return SHARP
    bands = [_deeper(each, 2) ^ _deeper(each, 3) for each in materials]
    if min(cv2.countNonZero(band) for band in bands) < MIN_BAND_PX:
        return SHARP
    at = [cv2.mean(lying, band)[0] for band in bands]
    kept = min(max((1 + (at[0] - at[1]) / contrast) / 2, 0.501), 1 - 1e-9)
    inside = inner[0] | inner[1]
    ripple = np.abs(cv2.filter2D(gray, cv2.CV_32F, _LAPLACIAN))
    cut_off = 1 - cv2.mean(cv2.inRange(gray, 1, 254), inside)[0] / 255
    noise = _LAPLACIAN_GAIN * cv2.mean(ripple, inside)[0] / (1 - CUT_OFF_LOSS * min(cut_off, 0.5))
    return Sharpness(BAND_PX / _NORMAL.inv_cdf(kept), noise / abs(contrast))


def check(seen: Condition, reference: Sharpness, tolerance_px: int) -> None:
    """Refuse a picture that differs from its reference as a whole.

    Args:
        seen: what the picture is like.
        reference: what the reference's picture was like.
        tolerance_px: the edge tolerance.

    Raises:
        NotComparableError: with what differs most plainly, the bound and the value.
    """
    if seen.sharpness.noise > MAX_NOISE:
        raise NotComparableError(
            f"picture: its noise is {seen.sharpness.noise:.0%} of the contrast between copper and substrate,"
            f" at most {MAX_NOISE:.0%} are allowed",
            reason="noise",
            hint="check the light, the exposure and the camera's gain",
        )
    if math.sqrt(max(0.0, seen.sharpness.blur_px**2 - reference.blur_px**2)) > MAX_BLUR_PX:
        raise NotComparableError(
            f"picture: its edges are blurred by {seen.sharpness.blur_px:.1f} px,"
            f" the reference's by {reference.blur_px:.1f} px, at most {MAX_BLUR_PX} px more are allowed",
            reason="blur",
            hint="check the focus and the exposure time, and clean the lens",
        )
    check_edges(seen.inward_px, tolerance_px)
    if seen.different_share > MAX_DIFFERENT_SHARE and seen.different_per_edge_px > MAX_DIFFERENT_PER_EDGE_PX:
        raise NotComparableError(
            f"picture: {seen.different_share:.0%} of it are of the other material than in the reference,"
            f" at most {MAX_DIFFERENT_SHARE:.0%} may be where so few edges lie",
            reason="area",
            hint="is it the same product, the right way round, and uncovered?",
        )
    if seen.astray_share > MAX_ASTRAY_SHARE:
        raise NotComparableError(
            f"picture: {seen.astray_share:.0%} of the reference's edges have none within {tolerance_px + ASTRAY_PX} px,"
            f" at most {MAX_ASTRAY_SHARE:.0%} may be astray",
            reason="astray",
            hint="is it the same product, the right way round, uncovered, and in focus?",
        )


def check_edges(inward_px: float, tolerance_px: int) -> None:
    """Refuse a picture whose copper ends earlier or later than the reference's all over.

    Raises:
        NotComparableError: with the bound and the value.
    """
    bound = MAX_INWARD_TOLERANCES * tolerance_px
    if abs(inward_px) > bound:
        way = "inside" if inward_px > 0 else "outside"
        raise NotComparableError(
            f"picture: copper's edges lie {abs(inward_px):.1f} px {way} the reference's all over,"
            f" at most {bound:.1f} px are allowed",
            reason="edges",
            hint="check the etching, the exposure and the light, or raise edge_tolerance",
        )


def _deeper(mask: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    """What of a material is farther than so many pixels from its edge."""
    eroded = cv2.erode(mask, _SQUARE, iterations=px, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    return np.asarray(eroded, dtype=np.uint8)
