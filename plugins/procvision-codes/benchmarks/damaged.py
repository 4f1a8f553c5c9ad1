"""How many damaged codes are read, and how many misread, beside plain zxing-cpp: the second table of the README.

    python plugins/procvision-codes/benchmarks/damaged.py

EAN-13, EAN-8, UPC-A, UPC-E, Code 128, Data Matrix and QR codes with contents of chance, made by zxing-cpp's writer and
damaged by chance: print too thick or thin, scratches, a turn of up to 12 degrees, perspective, 1.2 to 3.5 px a module,
blur, motion, low contrast, noise. Plain is one call of zxing-cpp for the symbology at hand, with its defaults. A
content counts for `code-reader` if it is believed: an uncertain one is no OK, and stands in a column of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import zxingcpp

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from code_pictures import SAMPLES, Gray

from procvision_codes import symbologies
from procvision_codes.checks import check_digit
from procvision_codes.reading import read_codes

KINDS = ("EAN-13", "EAN-8", "UPC-A", "UPC-E", "Code128", "DataMatrix", "QR")
_DIGITS = {"EAN-13": 12, "EAN-8": 7, "UPC-A": 11}
Rng = np.random.Generator


def printed(rng: Rng, symbology: str) -> tuple[Gray, bytes]:
    """Return a code of chance, 4 px a module with a quiet zone, and its content as it is read undamaged."""
    while True:
        if symbology == "UPC-E":
            text = "0" + "".join(map(str, rng.integers(0, 10, 6)))
        elif symbology in _DIGITS:
            text = "".join(map(str, rng.integers(0, 10, _DIGITS[symbology])))
            text += str(check_digit(text))
        else:
            text = "SN-" + "".join(map(str, rng.integers(0, 10, 9)))
        kind = zxingcpp.BarcodeFormat.UPCA if symbology == "UPC-A" else SAMPLES[symbology][0]
        try:
            code = zxingcpp.create_barcode(text, kind)
        except ValueError:  # UPC-E has no place for some numbers
            continue
        picture = np.pad(np.array(code.to_image(scale=4), dtype=np.uint8), 40, constant_values=255)
        whole = plain(picture, symbology)
        if len(whole) == 1:
            return picture, whole[0]


def plain(picture: Gray, symbology: str) -> list[bytes]:
    """Return what zxing-cpp reads by itself."""
    return [read.bytes for read in zxingcpp.read_barcodes(picture, formats=symbologies.formats((symbology,)))]


def damaged(rng: Rng, picture: Gray) -> Gray:
    """Return the picture as a bad printer and a bad camera would leave it."""
    seen = picture.astype(np.float32)
    height, width = seen.shape
    if rng.random() < 0.4:
        grown = np.ones((1, int(rng.integers(2, 4))), np.uint8)
        seen = cv2.erode(seen, grown) if rng.random() < 0.5 else cv2.dilate(seen, grown)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 6))):
            ends = [(int(rng.uniform(0, width)), int(rng.uniform(0, height))) for _ in range(2)]
            cv2.line(seen, *ends, float(rng.choice([0, 128, 255])), int(rng.integers(2, 16)))
    if rng.random() < 0.4:
        motion = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-12, 12), 1)
        seen = cv2.warpAffine(seen, motion, (width, height), borderValue=255)
    if rng.random() < 0.3:
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        bent = corners + rng.uniform(-0.1, 0.1, (4, 2)).astype(np.float32) * min(width, height)
        seen = cv2.warpPerspective(seen, cv2.getPerspectiveTransform(corners, bent), (width, height), borderValue=255)
    scale = rng.uniform(1.2, 3.5) / 4
    seen = cv2.resize(seen, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.6:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.3, 1.4))
    if rng.random() < 0.3:
        seen = cv2.blur(seen, (int(rng.integers(2, 7)), 1))
    dark, bright = rng.uniform(0, 110), rng.uniform(140, 255)
    seen = dark + seen / 255 * (bright - dark)
    seen = seen + rng.normal(0, rng.uniform(0, 30), seen.shape)
    return np.ascontiguousarray(np.clip(np.pad(seen, 30, mode="edge"), 0, 255), dtype=np.uint8)


def main(count: int) -> None:
    """Print a row a symbology."""
    print("| symbology | codes | zxing-cpp right | wrong | code-reader right | wrong | uncertain: right | wrong |")
    print(f"|{'---|' * 8}")
    total: Counter[str] = Counter()
    for symbology in KINDS:
        told: Counter[str] = Counter()
        for number in range(count):
            rng = np.random.default_rng([*symbology.encode(), number])
            whole, content = printed(rng, symbology)
            picture = damaged(rng, whole)
            for read in plain(picture, symbology)[:1]:
                told["plain right" if read == content else "plain wrong"] += 1
            for code in read_codes(picture, (symbology,)).codes[:1]:
                believed = "" if code.doubt is None else "uncertain "
                told[believed + ("right" if code.content == content else "wrong")] += 1
        total.update(told)
        print(_row(symbology, count, told), flush=True)
    print(_row("all", count * len(KINDS), total))


def _row(name: str, count: int, told: Counter[str]) -> str:
    columns = ("plain right", "plain wrong", "right", "wrong", "uncertain right", "uncertain wrong")
    return f"| {name} | {count} | {' | '.join(str(told[column]) for column in columns)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600, help="Codes of each symbology.")
    main(parser.parse_args().count)
