"""What a camera does to a board: a small shift, soft edges, noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def photograph(
    picture: NDArray[np.uint8],
    seed: int = 0,
    *,
    shift_px: tuple[float, float] = (0.0, 0.0),
    blur_px: float = 0.0,
    noise: float = 0.0,
) -> NDArray[np.uint8]:
    """Give an H x W uint8 picture as a sensor would see it: a new array of the same shape.

    ``shift_px`` moves the board right and down, by parts of a pixel too (its edge is continued where the picture ends);
    ``blur_px`` is the standard deviation of the lens' blur; ``noise`` that of the sensor's noise, in grey levels.
    """
    seen = picture.astype(np.float32)
    for axis, shift in ((1, shift_px[0]), (0, shift_px[1])):
        whole = math.floor(shift)
        part = np.float32(shift - whole)
        seen = (1 - part) * _moved(seen, whole, axis) + part * _moved(seen, whole + 1, axis)
    if blur_px > 0:
        reach = math.ceil(3 * blur_px)
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur_px) ** 2)
        taps /= taps.sum()
        for axis in (0, 1):
            seen = sum(
                (np.float32(tap) * _moved(seen, offset, axis) for offset, tap in enumerate(taps, -reach)),
                start=np.zeros_like(seen),
            )
    if noise > 0:
        seen = seen + np.random.default_rng(seed).normal(0, noise, seen.shape).astype(np.float32)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def _moved(values: NDArray[np.float32], by: int, axis: int) -> NDArray[np.float32]:
    length = values.shape[axis]
    source = np.clip(np.arange(length) - by, 0, length - 1)
    return np.take(values, source, axis=axis)
