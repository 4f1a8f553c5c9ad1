"""Pictures of codes, made with zxing-cpp's own writer, and what stands in for shared memory."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray
from zxingcpp import BarcodeFormat

Gray = NDArray[np.uint8]
SAMPLES: dict[str, tuple[BarcodeFormat, str, dict[str, Any]]] = {
    "DataMatrix": (BarcodeFormat.DataMatrix, "SN-4711-A", {}),
    "QR": (BarcodeFormat.QRCode, "https://example.org/a?b=1", {}),
    "MicroQR": (BarcodeFormat.MicroQRCode, "12345", {}),
    "rMQR": (BarcodeFormat.RMQRCode, "LOT 12", {}),
    "Aztec": (BarcodeFormat.Aztec, "SEAT 12A", {}),
    "PDF417": (BarcodeFormat.PDF417, "WAYBILL 0815", {}),
    "MaxiCode": (BarcodeFormat.MaxiCode, "PARCEL", {}),
    "Code128": (BarcodeFormat.Code128, "PN-1234-56", {}),
    "Code39": (BarcodeFormat.Code39, "ASSET7", {}),
    "Code93": (BarcodeFormat.Code93, "ASSET9", {}),
    "Codabar": (BarcodeFormat.Codabar, "A1234567A", {}),
    "ITF": (BarcodeFormat.ITF, "00012345600012", {}),
    "EAN-13": (BarcodeFormat.EAN13, "5901234123457", {}),
    "EAN-8": (BarcodeFormat.EAN8, "96385074", {}),
    "UPC-E": (BarcodeFormat.UPCE, "01234565", {}),
    "DataBar": (BarcodeFormat.DataBarExp, "(01)09501101020917(10)LOT1", {"gs1": True}),
}


def code(symbology: str, text: str | bytes | None = None, scale: int = 4, **more: Any) -> Gray:
    """A code as it is printed, with a quiet zone; `scale` is the module's size in pixels."""
    kind, sample, options = SAMPLES[symbology]
    made = zxingcpp.create_barcode(sample if text is None else text, kind, **(options if text is None else {}), **more)
    return np.pad(np.array(made.to_image(scale=scale), dtype=np.uint8), 4 * scale, constant_values=255)


def placed(
    *codes: Gray,
    size: tuple[int, int] = (640, 480),
    at: tuple[tuple[int, int], ...] = ((60, 60), (60, 260), (340, 60)),
    ground: int = 220,
) -> Gray:
    """Codes on an even picture of (width, height), or of more where they need it."""
    places = list(zip(codes, at, strict=False))
    width = max([size[0], *(x + each.shape[1] + 20 for each, (x, _) in places)])
    height = max([size[1], *(y + each.shape[0] + 20 for each, (_, y) in places)])
    picture = np.full((height, width), ground, np.uint8)
    for each, (x, y) in places:
        picture[y : y + each.shape[0], x : x + each.shape[1]] = each
    return picture


def turned(picture: Gray, degrees: float, ground: int = 255) -> Gray:
    """The whole picture turned about its centre, nothing cut."""
    height, width = picture.shape
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    size = int(width * cos + height * sin) + 2, int(width * sin + height * cos) + 2
    motion = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    motion[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.asarray(cv2.warpAffine(picture, motion, size, borderValue=ground), dtype=np.uint8)


MANIFEST: dict[str, Any] = json.loads(files("procvision_codes").joinpath("manifest.json").read_bytes())
DEFAULTS: dict[str, Any] = {p["key"]: p["default"] for p in MANIFEST["steps"][0]["params"] if "default" in p}
