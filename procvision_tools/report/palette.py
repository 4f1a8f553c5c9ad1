"""One colour a label, told apart by people who see colours differently (after the palette of Okabe and Ito).

Its green is not among them: green is the colour of OK.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "open": "#d55e00",
        "short": "#b8448f",
        "mousebite": "#e69f00",
        "spur": "#8b5fd6",
        "copper": "#0072b2",
        "pin-hole": "#56b4e9",
    }
)


def colour_of(label: str) -> str:
    """Give a label's colour as #rrggbb, the same one every time."""
    known = COLOURS.get(label)
    if known is not None:
        return known
    others = tuple(COLOURS.values())
    return others[zlib.crc32(label.encode("utf-8", "replace")) % len(others)]


def text_on(colour: str) -> str:
    """Give black or white, whichever has more contrast with a colour (#rrggbb): 4.58 or more, whatever the colour."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours (#rrggbb), 1 to 21.

    https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio; texts need 4.5, what is drawn 3 (level AA).
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
