"""How well a code was read: what zxing-cpp tells, and what can be measured in the picture.

None of it is a grade of ISO/IEC 15415 or 15416: those ask for a calibrated camera, light and aperture.
"""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np

from procvision_codes.geometry import Corners, box_of, sides_px
from procvision_codes.picture import Gray

_MAX_SAMPLED_PX = 512 * 512
"""Enough to tell dark from bright."""


def contrast(gray: Gray, corners: Corners) -> float:
    """The difference of the mean bright and the mean dark within a code, 0 to 1 of the full range.

    Bright and dark are told apart by Otsu's threshold.
    """
    x, y, width, height = box_of(corners, (gray.shape[1], gray.shape[0]))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(corners - (x, y)).astype(np.int32), 1)
    inside = gray[y : y + height, x : x + width][mask > 0]
    if inside.size > _MAX_SAMPLED_PX:
        inside = inside[:: inside.size // _MAX_SAMPLED_PX]
    if inside.size < 2 or inside.min() == inside.max():
        return 0.0
    threshold, _ = cv2.threshold(inside.reshape(1, -1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = inside > threshold
    return float(inside[bright].mean() - inside[~bright].mean()) / 255


def module_px(symbology: str, version: str, corners: Corners) -> float | None:
    """The size of a module in pixels, where the code's version says how many there are across."""
    size = re.fullmatch(r"R?(\d+)x(\d+)", version)
    if size is not None:
        rows, columns = int(size[1]), int(size[2])
    elif symbology == "QR" and version.isdigit():
        rows = columns = 17 + 4 * int(version)  # ISO/IEC 18004
    elif symbology == "MicroQR" and re.fullmatch(r"M[1-4]", version):
        rows = columns = 9 + 2 * int(version[1])
    else:
        return None
    across, down = sides_px(corners)
    return ((across + 1) / columns + (down + 1) / rows) / 2


def from_reader(extra: object) -> dict[str, Any]:
    """zxing-cpp's extra facts: `unused_error_correction` (0 to 1: what was left of the error correction) and the
    symbol's version, each only where it is told.
    """
    facts: dict[str, Any] = {}
    if isinstance(extra, dict):
        unused, version = extra.get("UEC"), extra.get("Version")
        if isinstance(unused, (int, float)) and 0 <= unused <= 1:
            facts["unused_error_correction"] = float(unused)
        if isinstance(version, (str, int)):
            facts["version"] = str(version)
    return facts
