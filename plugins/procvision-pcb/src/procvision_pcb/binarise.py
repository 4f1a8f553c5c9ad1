"""Pictures to copper masks.

What is copper is decided by one threshold for the whole picture (Otsu's), taken from the picture itself, so that
exposure and gain drop out. Once a picture lies on its reference, `threshold_by_reference` can do better: the
reference says where copper and where substrate must be seen, so their brightness is measured near every place, which
takes out uneven light.

Method: N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979).
"""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_pcb.errors import NotComparableError

Mask = NDArray[np.uint8]
"""H x W, 0 or 255."""
Gray = NDArray[np.uint8]
"""H x W, 0 to 255."""
Copper = Literal["dark", "bright"]

MIN_SIDE_PX = 32
"""Smaller pictures hold no structure that could be registered."""
MIN_CONTRAST_LEVELS = 24
"""The least distance between the mean brightness of copper and substrate. Sensor noise and JPEG stay below it."""
MIN_MATERIAL_PX = 100
"""The least area that copper and substrate must each take up."""
GREY_SHARE_FOR_LOCAL = 0.02
"""Pictures with fewer in-between values than this are already binarised: local thresholds can't change them."""
SAMPLE_ROWS = 3
"""Every third row makes as good a histogram as all, unless one material is so rare that it takes all. Not every second
or fourth: tracks and pads like to lie on even grids, and then their edges do, too."""
LEVELS = np.arange(256.0)
LIGHT_CELL_PX = 32
"""The grid on which uneven light is measured."""
NEAR_CELLS, FAR_CELLS = 1.0, 2.5
"""How far around a place, in cells, each material's brightness and the light are measured (standard deviation)."""
LIGHT_PRIOR = 0.05
"""A material that takes up less of the surroundings than this is believed less than the light."""


def to_gray(picture: NDArray[np.uint8], what: str) -> Gray:
    """The brightness of a picture.

    Args:
        picture: H x W, or H x W x 3 RGB, uint8. Views of MONO and BGR pixels aren't copied.
        what: the picture's name in an error message.

    Raises:
        NotComparableError: of another shape or type, or smaller than `MIN_SIDE_PX` on a side.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise NotComparableError(
            f"{what}: expected uint8, H x W or H x W x 3, got {picture.dtype} {'x'.join(map(str, picture.shape))}",
            reason="format",
            hint="give the camera's picture as 8 bit RGB or MONO",
        )
    if min(picture.shape[:2]) < MIN_SIDE_PX:
        raise NotComparableError(
            f"{what}: {picture.shape[1]} x {picture.shape[0]} px, each side must be at least {MIN_SIDE_PX} px",
            reason="format",
            hint="check the camera's region of interest",
        )
    if picture.ndim == 2:
        return np.ascontiguousarray(picture)
    if picture.strides[2] == 0:
        return np.ascontiguousarray(picture[:, :, 0])
    if picture.strides[2] < 0:  # a view of BGR pixels: turned back it is contiguous, copied it would be slow
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture[:, :, ::-1]), cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def threshold_globally(gray: Gray, copper: Copper, what: str) -> tuple[Mask, bool]:
    """Copper by one threshold.

    Args:
        gray: the picture.
        copper: whether copper is the darker or the brighter of the two.
        what: the picture's name in an error message.

    Returns:
        The copper mask, and whether the picture has enough in-between values for `threshold_by_reference`.

    Raises:
        NotComparableError: the picture shows no two materials, so nothing in it could be compared.
    """
    if copper not in get_args(Copper):
        raise ValueError(f"copper: expected one of {get_args(Copper)}, got {copper!r}")
    for sample in (gray[::SAMPLE_ROWS], gray):
        histogram = cv2.calcHist([sample], [0], None, [256], [0, 256]).ravel().astype(np.float64)
        level, counts, means = _otsu(histogram)
        if counts.min() >= MIN_MATERIAL_PX:
            break
    else:
        raise NotComparableError(
            f"{what}: copper and substrate must each take up at least {MIN_MATERIAL_PX} px,"
            f" one has {counts.min():.0f} px",
            reason="contrast",
            hint="is the picture all dark, all bright, or not of a board?",
        )
    contrast = float(means[1] - means[0])
    if contrast < MIN_CONTRAST_LEVELS:
        raise NotComparableError(
            f"{what}: copper and substrate differ by {contrast:.0f} grey levels,"
            f" at least {MIN_CONTRAST_LEVELS} are needed",
            reason="contrast",
            hint="check the light and the exposure",
        )
    kind = cv2.THRESH_BINARY_INV if copper == "dark" else cv2.THRESH_BINARY
    mask = np.asarray(cv2.threshold(gray, level, 255, kind)[1], dtype=np.uint8)
    quarter = contrast / 4
    between = (means[0] + quarter < LEVELS) & (means[1] - quarter > LEVELS)
    return mask, bool(histogram[between].sum() > GREY_SHARE_FOR_LOCAL * sample.size)


def evenly_lit(gray: Gray) -> Gray:
    """The picture divided by what is brightest around each place: a guess at the light, without a reference.

    It is wrong inside areas of the darker material that are wider than a quarter of the picture.

    Args:
        gray: the picture.
    """
    height, width = gray.shape
    cells = (max(8, width // 16), max(8, height // 16))
    small = cv2.resize(gray, cells, interpolation=cv2.INTER_AREA)
    around = np.ones((cells[1] // 8 * 2 + 1, cells[0] // 8 * 2 + 1), np.uint8)
    light = cv2.GaussianBlur(cv2.dilate(small, around).astype(np.float32), (0, 0), max(cells) / 16)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(gray * (200 / np.maximum(light, 1)), 0, 255), dtype=np.uint8)


def threshold_by_reference(gray: Gray, reference: Mask, copper: Copper) -> Mask:
    """Copper by a threshold that follows uneven light.

    Both materials' brightness is measured around every place, where the reference has them. The threshold is the
    middle between the two; where one of them isn't near, or isn't as different from the other as it should be, because
    what the reference has is missing, it is what the light there makes of the whole picture's middle.

    Args:
        gray: the picture, lying on the reference.
        reference: its copper, 0 or 255.
        copper: whether copper is the darker or the brighter of the two.
    """
    height, width = gray.shape
    cells = (max(1, width // LIGHT_CELL_PX), max(1, height // LIGHT_CELL_PX))
    inside = np.ones((5, 5), np.uint8)  # edges are mixed
    masks = [np.asarray(cv2.erode(mask, inside), dtype=np.uint8) for mask in (reference, cv2.bitwise_not(reference))]
    shares = [_cells(mask, cells) / np.float32(255) for mask in masks]
    sums = [_cells(gray & mask, cells) for mask in masks]
    means = [float(total.sum() / max(share.sum(), 1e-6)) for total, share in zip(sums, shares, strict=True)]
    light = _blurred(sums[0] + sums[1], FAR_CELLS) / (
        _blurred(shares[0] * np.float32(means[0]) + shares[1] * np.float32(means[1]), FAR_CELLS) + np.float32(1e-3)
    )
    near = [
        (_blurred(total, NEAR_CELLS) + LIGHT_PRIOR * light * mean) / (_blurred(share, NEAR_CELLS) + LIGHT_PRIOR)
        for total, share, mean in zip(sums, shares, means, strict=True)
    ]
    contrast = means[1] - means[0]
    believable = (near[1] - near[0]) * np.sign(contrast) > 0.5 * light * abs(contrast)
    middles = np.where(believable, (near[0] + near[1]) / 2, light * (means[0] + means[1]) / 2).astype(np.float32)
    level = cv2.resize(middles, (width, height), interpolation=cv2.INTER_LINEAR)
    bright = cv2.compare(gray.astype(np.float32), level, cv2.CMP_GT)
    return np.asarray(cv2.bitwise_not(bright) if copper == "dark" else bright, dtype=np.uint8)


def _otsu(histogram: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The level that parts dark (up to it) from bright best, how many pixels each has, and their means.

    Of equally good levels, as a binarised picture has them, the middle one is taken.
    """
    dark = np.cumsum(histogram)
    dark_sum = np.cumsum(histogram * LEVELS)
    bright, bright_sum = dark[-1] - dark, dark_sum[-1] - dark_sum
    means = np.array([dark_sum, bright_sum]) / np.maximum([dark, bright], 1)
    spread = dark * bright * (means[1] - means[0]) ** 2
    best = np.flatnonzero(spread >= spread.max() * (1 - 1e-12))
    level = int(best[len(best) // 2])
    return float(level), np.array([dark[level], bright[level]]), means[:, level]


def _cells(image: NDArray[np.uint8], cells: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, cells, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _blurred(cells: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(cells, (0, 0), sigma), dtype=np.float32)
