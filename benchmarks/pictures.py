"""What is sent: raw pictures of noise, and encoded ones that look like something."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

SIZES = {"0.4MP": (752, 480), "2MP": (1920, 1200), "12MP": (4096, 3000), "20MP": (5472, 3648)}
"""Width and height in pixels, three bytes each."""


def picture(width: int, height: int, color_space: str = "RGB") -> NDArray[np.uint8]:
    """Noise, which nothing can make smaller."""
    shape = (height, width) if color_space == "MONO" else (height, width, 3)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def encoded(encoding: str, width: int, height: int) -> bytes:
    """Slopes with a little noise, as a JPEG of quality 90 or a PNG."""
    from PIL import Image

    rows, columns = np.mgrid[0:height, 0:width]
    slopes = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=2)
    noisy = slopes + np.random.default_rng(1).integers(-4, 5, slopes.shape)
    written = io.BytesIO()
    options = {"quality": 90} if encoding == "jpeg" else {"compress_level": 1}
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(written, encoding, **options)
    return written.getvalue()
