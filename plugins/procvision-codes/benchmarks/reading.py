"""How much of what is there `code-reader` reads, and how long it takes, as the table of the README.

    python plugins/procvision-codes/benchmarks/reading.py

Codes of every symbology, made by zxing-cpp's writer with contents of their own, four pixels a module, on a grey
picture of 1600 x 1200, seen in the ways below. Read with the parameters' defaults and the symbology named.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from code_pictures import SAMPLES, Gray, code, placed, turned

from procvision_codes import symbologies
from procvision_codes.reading import read_codes

ROUNDS = 12
RNG = np.random.default_rng(20)
SIZE = (1600, 1200)


def _noisy(picture: Gray, sigma: float) -> Gray:
    return np.clip(picture + RNG.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8)


def _blurred(picture: Gray, sigma: float) -> Gray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.uint8)


def _uneven(picture: Gray) -> Gray:
    light = np.linspace(0.3, 1.0, picture.shape[1])
    return (picture * light).astype(np.uint8)


VIEWS: dict[str, Callable[[Gray, int], Gray]] = {
    "as it is": lambda picture, _: picture,
    "turned by any angle": lambda picture, turn: turned(picture, turn * 360 / ROUNDS + 7, ground=220),
    "6 % contrast": lambda picture, _: (120 + picture // 16).astype(np.uint8),
    "light 1 : 3 across": lambda picture, _: _uneven(picture),
    "blur of half a module": lambda picture, _: _blurred(picture, 2.0),
    "noise 25 of 255": lambda picture, _: _noisy(picture, 25),
    "blur 1 px, noise 15, turned": lambda picture, turn: _noisy(_blurred(turned(picture, turn * 29 + 3, 220), 1.0), 15),
    "light on dark": lambda picture, _: (255 - picture).astype(np.uint8),
}


def main() -> None:
    """Print a row a symbology: how many of ROUNDS were read in each view; last the median time."""
    print(f"| symbology | {' | '.join(VIEWS)} | ms |\n|{'---|' * (len(VIEWS) + 2)}")
    for symbology in SAMPLES:
        (whole,) = read_codes(code(symbology), symbologies.named(symbology)).codes
        cells: list[str] = []
        times: list[float] = []
        for change in VIEWS.values():
            good = 0
            for turn in range(ROUNDS):
                ground = 255 if symbology == "MaxiCode" else 220
                at = (60 + 17 * turn, 80 + 23 * turn)
                picture = np.ascontiguousarray(
                    change(placed(code(symbology), size=SIZE, at=(at,), ground=ground), turn)
                )
                began = time.perf_counter()
                found = read_codes(picture, symbologies.named(symbology))
                times.append(time.perf_counter() - began)
                good += [each.content for each in found.codes] == [whole.content]
            cells.append(f"{good}/{ROUNDS}")
        print(f"| {symbology} | {' | '.join(cells)} | {statistics.median(times) * 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
