"""Fonts for labels that are drawn into a picture: the one that comes with Pillow, else one of this machine.

Pillow's own has Latin letters alone. A font without a letter draws an empty box and says nothing, so every letter is
looked for: it is there if it is drawn otherwise than a character that no font has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from procvision_tools.extras import need

MISSING = "\uffff"
"""No character, by Unicode: what is drawn for it is drawn for whatever a font lacks."""
SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".otc"})
PREFERRED = (
    "notosanscjk",
    "notosanssc",
    "sourcehansans",
    "wqy",
    "droidsansfallback",
    "dejavusans.",
    "notosans-regular",
)
"""Parts of names, best first: of the fonts that have the letters a plain one is taken."""
MAX_FONTS = 3000
"""So many files are looked at."""


def font_for(text: str, size: float) -> Any | None:
    """Give a font that has every letter of a text, in that size; None where there is none on this machine.

    Raises `MissingExtraError` without Pillow.
    """
    letters = "".join(sorted({char for char in text if not char.isspace()}))
    own = need("PIL.ImageFont", "Pillow", "a picture with boxes").load_default(size=size)
    if _has(own, letters):
        return own
    path = _file_with(letters, tuple(map(str, folders())))
    return None if path is None else _opened(path, size)


def folders() -> list[Path]:
    """Give the folders where fonts lie on this system."""
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts")]
    if sys.platform == "darwin":
        return [Path("/Library/Fonts"), Path("/System/Library/Fonts"), Path.home() / "Library/Fonts"]
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    own = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return [Path(folder, "fonts") for folder in [own, *shared.split(":")] if folder]


@lru_cache(maxsize=256)
def _file_with(letters: str, below: tuple[str, ...]) -> str | None:
    for path in _files(below):
        font = _opened(path, 16)
        if font is not None and _has(font, letters):
            return path
    return None


@lru_cache(maxsize=4)
def _files(below: tuple[str, ...]) -> tuple[str, ...]:
    def rank(path: str) -> tuple[int, str]:
        name = Path(path).name.lower()
        return next((at for at, part in enumerate(PREFERRED) if part in name), len(PREFERRED)), name

    found = [path for folder in below for path in _below(folder)]
    return tuple(sorted(found[:MAX_FONTS], key=rank))


def _below(folder: str) -> Iterator[str]:
    for home, _, names in os.walk(folder):
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES:
                yield str(Path(home, name))


def _opened(path: str, size: float) -> Any | None:
    try:
        return need("PIL.ImageFont", "Pillow", "a picture with boxes").truetype(path, size)
    except (OSError, ValueError):  # a damaged file, or none that FreeType reads
        return None


def _has(font: Any, letters: Iterable[str]) -> bool:
    try:
        missing = _drawn(font, MISSING)
        return all(_drawn(font, letter) != missing for letter in letters)
    except (OSError, ValueError, UnicodeError):
        return False


def _drawn(font: Any, letter: str) -> tuple[Any, bytes]:
    mask, offset = font.getmask2(letter, mode="L")
    return (mask.size, offset), bytes(mask)
