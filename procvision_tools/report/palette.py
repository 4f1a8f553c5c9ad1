"""One colour a label, told apart by people who see colours differently (the palette of Okabe and Ito)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "open": "#d55e00",
        "short": "#b8448f",
        "mousebite": "#e69f00",
        "spur": "#009e73",
        "copper": "#0072b2",
        "pin-hole": "#56b4e9",
    }
)
_LIGHT = 150
"""Above this luminance (0 to 255) a colour carries black text, below it white."""


def colour_of(label: str) -> str:
    """Give a label's colour as #rrggbb, the same one every time."""
    known = COLOURS.get(label)
    if known is not None:
        return known
    others = tuple(COLOURS.values())
    return others[zlib.crc32(label.encode("utf-8", "replace")) % len(others)]


def text_on(colour: str) -> str:
    """Give black or white, whichever is read better on a colour (#rrggbb)."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT else "#ffffff"
