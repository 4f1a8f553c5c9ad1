"""Pictures and what there is to say about them, computed without the algorithm."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOX = 4
SHAPES = ((48, 64), (96, 128), (240, 320))


def picture(random_: random.Random) -> NDArray[np.uint8]:
    height, width = random_.choice(SHAPES)
    data = random_.randbytes(height * width * 3)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def number(pixels: NDArray[np.uint8]) -> int:
    return zlib.adler32(pixels.tobytes())


def wrong(result: Any, pixels: NDArray[np.uint8], reference: NDArray[np.uint8] | None) -> str | None:
    """What is wrong with an answer; None if nothing is."""
    expected = number(pixels)
    verdict = "OK" if expected % 2 == 0 else "NG"
    if result.verdict != verdict:
        return f"the verdict is {result.verdict}, it should be {verdict}"
    if result.debug.get("number") != expected or not result.debug.get("unchanged"):
        return f"the picture's number is {result.debug.get('number')}, it should be {expected}"
    if result.debug.get("reference") != (None if reference is None else number(reference)):
        return f"the session's reference is {result.debug.get('reference')}"
    if verdict == "NG":
        height, width = pixels.shape[:2]
        box = result.defects[0]
        if (box.x, box.y) != (expected % (width - BOX), expected % (height - BOX)):
            return f"the defect is at {box.x}, {box.y}"
    return None
