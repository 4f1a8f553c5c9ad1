"""The picture as the reader wants it: grey, the region alone, in one piece of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_codes.geometry import Box

Gray: TypeAlias = NDArray[np.uint8]


def region_of(given: Mapping[str, Any] | None, size: tuple[int, int]) -> Box:
    """The whole pixels that a rect touches, or the whole picture; `size` is (width, height)."""
    if given is None:
        return 0, 0, *size
    x0, y0 = min(int(given["x"]), size[0] - 1), min(int(given["y"]), size[1] - 1)
    x1 = min(int(np.ceil(given["x"] + given["width"])), size[0])
    y1 = min(int(np.ceil(given["y"] + given["height"])), size[1])
    return x0, y0, max(1, x1 - x0), max(1, y1 - y0)


def gray_region(picture: NDArray[np.uint8], region: Box) -> Gray:
    """The brightness within a region of an H x W x 3 RGB picture, contiguous.

    Grey pictures that come as views of one channel cost a copy of that, reversed views (BGR) no reversal.
    """
    x, y, width, height = region
    part = picture[y : y + height, x : x + width]
    if part.strides[2] == 0:
        return np.ascontiguousarray(part[:, :, 0])
    if part.strides[2] < 0:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(part[:, :, ::-1]), cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def reduced_to(gray: Gray, max_px: int) -> Gray:
    """The picture with at most so many pixels, averaged; as it is if it has no more."""
    factor = np.sqrt(max_px / gray.size)
    if factor >= 1:
        return gray
    height, width = gray.shape
    size = max(1, int(width * factor)), max(1, int(height * factor))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
