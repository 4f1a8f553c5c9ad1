"""Symbologies by the names an operator writes, and what zxing-cpp calls them."""

from __future__ import annotations

import re

from zxingcpp import BarcodeFormat, BarcodeFormats

from procvision_codes.errors import SettingsError

_FORMATS = {
    "DataMatrix": BarcodeFormat.DataMatrix,
    "QR": BarcodeFormat.QRCodeModel2,
    "MicroQR": BarcodeFormat.MicroQRCode,
    "rMQR": BarcodeFormat.RMQRCode,
    "Aztec": BarcodeFormat.Aztec,
    "PDF417": BarcodeFormat.PDF417,
    "MaxiCode": BarcodeFormat.MaxiCode,
    "Code128": BarcodeFormat.Code128,
    "Code39": BarcodeFormat.Code39,
    "Code93": BarcodeFormat.Code93,
    "Codabar": BarcodeFormat.Codabar,
    "ITF": BarcodeFormat.ITF,
    "EAN-13": BarcodeFormat.EAN13,
    "EAN-8": BarcodeFormat.EAN8,
    "UPC-A": BarcodeFormat.UPCA,
    "UPC-E": BarcodeFormat.UPCE,
    "DataBar": BarcodeFormat.DataBar,
}
_READ_AS = {
    "QRCode": "QR", "QRCodeModel1": "QR", "QRCodeModel2": "QR", "MicroQRCode": "MicroQR", "RMQRCode": "rMQR",
    "AztecCode": "Aztec", "AztecRune": "Aztec", "CompactPDF417": "PDF417", "MicroPDF417": "PDF417",
    "Code39Std": "Code39", "Code39Ext": "Code39", "ITF14": "ITF", "EAN13": "EAN-13", "EAN8": "EAN-8",
    "UPCA": "UPC-A", "UPCE": "UPC-E", "DataBarOmni": "DataBar", "DataBarStk": "DataBar", "DataBarStkOmni": "DataBar",
    "DataBarLtd": "DataBar", "DataBarExp": "DataBar", "DataBarExpStk": "DataBar",
}  # fmt: skip
NAMES = tuple(_FORMATS)
LINEAR = ("Code128", "Code39", "Code93", "Codabar", "ITF", "EAN-13", "EAN-8", "UPC-A", "UPC-E", "DataBar")
STACKED = ("PDF417",)
RETAIL = ("EAN-13", "EAN-8", "UPC-A", "UPC-E")
"""Their one check digit lets a misread pass in one case of ten, and in more where bars are hidden or merged."""
_GROUPS = {
    "any": NAMES,
    "matrix": ("DataMatrix", "QR", "MicroQR", "rMQR", "Aztec", "MaxiCode"),
    "linear": LINEAR,
    "retail": RETAIL,
}
GTIN_CARRIERS = frozenset([*_GROUPS["retail"], "ITF"])
"""Symbols that carry a GTIN without an application identifier (GS1 General Specifications, section 5)."""


def named(text: str) -> tuple[str, ...]:
    """The symbologies that a list such as "DataMatrix, QR" or "linear" asks for.

    Capitals, spaces and hyphens don't matter. Raises SettingsError for a name that isn't known, and for none.
    """
    known = {_plain(name): (name,) for name in NAMES} | {_plain(name): group for name, group in _GROUPS.items()}
    wanted: set[str] = set()
    for part in text.split(","):
        group = known.get(_plain(part))
        if group is None:
            raise SettingsError(
                f"symbologies names {part.strip()!r}, which isn't known",
                hint=f"known are {', '.join([*_GROUPS, *NAMES])}, several with commas between them",
            )
        wanted.update(group)
    return tuple(name for name in NAMES if name in wanted)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def formats(names: tuple[str, ...]) -> BarcodeFormats:
    """zxing-cpp's set of formats."""
    return BarcodeFormats([_FORMATS[name] for name in names])


def name_of(read: BarcodeFormat) -> str:
    """The operator's name of what was read."""
    name = read.name
    return _READ_AS.get(name, name)
