"""Bytes of a picture as the array an algorithm gets: H x W x 3, uint8, RGB, read-only, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from procvision_sdk.images.meta import ColorSpace

    RgbArray = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


def rgb_view(buffer: memoryview | bytes, width: int, height: int, color_space: ColorSpace, offset: int = 0) -> RgbArray:
    """A read-only RGB view of raw pixels.

    RGB is a plain view, BGR a view with the channels reversed, MONO one channel seen three times. The result is
    valid as long as the buffer's content is: in a host, until the call returns. Copy what is to be kept.
    """
    channels = 1 if color_space == "MONO" else 3
    flat = np.frombuffer(buffer, np.uint8, width * height * channels, offset)
    pixels = flat.reshape(height, width, channels)
    if color_space == "BGR":
        pixels = pixels[:, :, ::-1]
    elif color_space == "MONO":
        pixels = np.broadcast_to(pixels, (height, width, 3))
    pixels.flags.writeable = False
    return pixels
