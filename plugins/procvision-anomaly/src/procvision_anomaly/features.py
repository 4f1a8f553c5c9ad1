"""What a place of a surface looks like, in numbers, at three scales.

Two descriptions of each place, since neither tells everything. The *pattern* is the neighbourhood itself, pixel by
pixel, in what varies most among good ones: a missing thread breaks it. The *energy* is how strongly the surface varies
around the place in each direction, with its colour: a smooth spot in a grain of no order changes it, where no
neighbourhood is like another anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Rgb: TypeAlias = NDArray[np.uint8]

SCALES = (1, 2, 4)
"""By how much the picture is reduced for each scale."""
STRIDE_PX = 4
"""Places lie so far apart, at every scale in its own pixels."""
PATCH_PX = 9
LEAST_SCALED_PX = 28
"""Seven places: one that is seen whole, and three on each side that are not."""
WINDOW_SIGMA_PX = 4.0
"""How far around a place its energy is gathered."""
KINDS = ("pattern", "energy")


def working(picture: Rgb, longer_px: int) -> Floats:
    """The picture as it is looked at: reduced to `longer_px`, H x W x 3 as brightness and two differences of colour."""
    height, width = picture.shape[:2]
    factor = longer_px / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        picture = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    red, green, blue = (picture[..., channel].astype(np.float32) / 255 for channel in range(3))
    grey = (red + green + blue) / 3
    return np.dstack([grey, red - green, (red + green) / 2 - blue])


def scaled(seen: Floats) -> Iterator[tuple[int, Floats]]:
    """The scales of a picture; one that gets smaller than `LEAST_SCALED_PX` is left out."""
    for scale in SCALES:
        height, width = seen.shape[0] // scale, seen.shape[1] // scale
        if min(height, width) < LEAST_SCALED_PX:
            return
        reduced = seen if scale == 1 else cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA)
        yield scale, reduced.astype(np.float32, copy=False)


def described(seen: Floats, kind: str) -> Floats:
    """Rows x columns x values: each place's description of a kind."""
    return _pattern(seen) if kind == "pattern" else _energy(seen)


def _pattern(seen: Floats) -> Floats:
    """The pixels of the neighbourhood, less a softened picture: light that falls off is no defect."""
    grey = seen[..., 0]
    flat = grey - cv2.GaussianBlur(grey, (0, 0), 16)
    padded = np.pad(flat, PATCH_PX // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH_PX, PATCH_PX))[::STRIDE_PX, ::STRIDE_PX]
    return windows.reshape(*windows.shape[:2], -1)


def _energy(seen: Floats) -> Floats:
    grey = seen[..., 0]
    responses = [np.abs(cv2.filter2D(grey, -1, kernel, borderType=cv2.BORDER_REFLECT_101)) for kernel in _KERNELS]
    flat = cv2.GaussianBlur(grey, (0, 0), 1.5) - cv2.GaussianBlur(grey, (0, 0), 24)
    colours = [cv2.GaussianBlur(seen[..., channel], (0, 0), 2.5) for channel in (1, 2)]
    gathered = [np.sqrt(cv2.GaussianBlur(response, (0, 0), WINDOW_SIGMA_PX)) for response in responses]
    maps = [*gathered, cv2.GaussianBlur(flat, (0, 0), 2.5), *colours]
    return np.dstack([one[::STRIDE_PX, ::STRIDE_PX] for one in maps])


def _gabor(angle: float, wavelength_px: float) -> Floats:
    """A wave under a bell, of mean 0 and unit sum of magnitudes."""
    kernel = cv2.getGaborKernel((9, 9), wavelength_px / 2, angle, wavelength_px, 0.8, 0.0, cv2.CV_32F)
    kernel -= kernel.mean()
    made: Floats = (kernel / np.abs(kernel).sum()).astype(np.float32)
    return made


_KERNELS = tuple(_gabor(np.pi * turn / 4, wavelength) for wavelength in (3.0, 6.0) for turn in range(4))
