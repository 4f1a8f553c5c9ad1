"""Bytes of a picture as the array an algorithm gets: H x W x 3, uint8, RGB, read-only.

The rule for samples of more than 8 bits: of the bits that are used, the 8 highest. A sample that has more than it may
is an error, since a picture that is brighter than its camera can be is none; nothing wraps around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from procvision_sdk.errors import CallRefusedError, ErrorCode

if TYPE_CHECKING:
    from procvision_sdk.images.meta import ColorSpace

    RgbArray = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


def rgb_view(buffer: memoryview | bytes, width: int, height: int, color_space: ColorSpace, offset: int = 0) -> RgbArray:
    """Return a read-only RGB view of raw pixels, without a copy.

    RGB is a plain view, BGR a view with the channels reversed, MONO one channel seen three times. The result is
    valid as long as the buffer's content is: in a host, until the call returns. Copy what you keep.
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


def deep_rgb(
    buffer: memoryview | bytes, width: int, height: int, color_space: ColorSpace, bits: int, offset: int = 0
) -> RgbArray:
    """Return the same of pixels with two bytes a sample, little endian, of which `bits` are used: a copy.

    Raises CallRefusedError (1002, `image_mismatch`) for a sample that has more.
    """
    channels = 1 if color_space == "MONO" else 3
    samples = np.frombuffer(buffer, "<u2", width * height * channels, offset)
    return rgb_view(high_bits(samples, bits).data, width, height, color_space)


def high_bits(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return the 8 highest of the bits that are used, as uint8. Raises CallRefusedError (1002, `image_mismatch`)."""
    highest = int(samples.max(initial=0))
    if highest >> bits:
        raise CallRefusedError(
            ErrorCode.IMAGE_LOAD_FAILED,
            "image_mismatch",
            f"a sample is {highest}, with {bits} bits it is at most {2**bits - 1}; hint: what does the camera deliver?",
        )
    return (samples >> (bits - 8)).astype(np.uint8)
