"""A camera whose pictures are noise: none compresses better than a sensor's, and no two are one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from procvision_runner import Picture
from procvision_station.kinds import Fired


class Sheet:
    """Noise that is twice as wide and high as the pictures that are cut out of it."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._noise = np.random.default_rng(1).normal(128, 3, (2 * height, 2 * width)).astype(np.uint8)
        self._draw = np.random.default_rng(2)

    def picture(self) -> Picture:
        """Cut a picture out at a place that is drawn."""
        width, height = self.size
        y, x = self._draw.integers(0, height), self._draw.integers(0, width)
        return Picture.of(self._noise[y : y + height, x : x + width].copy())


class NoiseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the camera `noise`."""

    width: Annotated[int, Meta(ge=16, description="In pixels")] = 1920
    height: Annotated[int, Meta(ge=16, description="In pixels")] = 1080


class NoiseCamera:
    """The camera as a station's kind, for a station that runs by its command."""

    options = NoiseOptions

    def __init__(self, options: NoiseOptions, folder: Path) -> None:
        self._sheet = Sheet(options.width, options.height)

    def grab(self, fired: Fired) -> Picture:
        """Give the next picture."""
        return self._sheet.picture()

    def close(self) -> None:
        """Do nothing."""
