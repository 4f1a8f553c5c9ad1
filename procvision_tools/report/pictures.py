"""Pictures to and from bytes, through Pillow."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import write_private
from procvision_tools.extras import need
from procvision_tools.report.inspection import Picture
from procvision_tools.report.tags import Frame
from procvision_tools.sources.picture_files import load

MAX_SIDE_PX = 2400
"""A page shows pictures no larger than that; the boxes keep the picture's own coordinates."""
MAX_PARTS, MAX_PART_PX = 32, 800
"""Of a picture that is shown smaller, so many parts with all their pixels, none larger than that."""
THUMBNAIL_PX = 72
MAX_PNG_BYTES = 1_500_000
"""A picture that is larger as PNG goes into a page as JPEG."""


def read_picture(path: Path, bits: int | None = None) -> Picture:
    """Read a picture file as the algorithm sees it: H x W x 3 RGB or, where it has one channel, H x W.

    Raises OSError where it can't be read or is none, `MissingExtraError` without Pillow.
    """
    need("PIL.Image", "Pillow", "reading a picture")
    try:
        found = load(path)
        pixels = found.pixels(bits)
    except ProcVisionError as error:
        raise OSError(str(error)) from error
    return pixels[:, :, 0] if found.header.color_space == "MONO" else pixels


def write_png(path: Path, picture: Picture) -> None:
    """Write an H x W or H x W x 3 picture as PNG. Raises OSError, and `MissingExtraError` without Pillow."""
    write_private(path, _encode(_image_of(picture, "writing a picture"), "PNG"))


@frozen
class Shown:
    """A picture as a page has it."""

    href: str
    """A data URI."""
    width: int
    """Its width as it is shown; the picture's own where it was not made smaller."""
    parts: tuple[tuple[Frame, str], ...] = ()
    """Of one that was made smaller, parts with all their pixels, and where in the picture they lie."""


def show(picture: Picture, parts: Iterable[Frame] = (), max_side: int | None = None) -> Shown:
    """Give a picture for a page, smaller above ``max_side`` (by default `MAX_SIDE_PX`) and then whole in ``parts``.

    Raises `MissingExtraError` without Pillow.
    """
    image = _image_of(picture, "a page with pictures")
    limit = max_side or MAX_SIDE_PX
    if max(image.size) <= limit:
        return Shown(_uri(image), image.width)
    found: list[tuple[Frame, str]] = []
    for part in parts:
        left, top = math.floor(part.x), math.floor(part.y)
        right = min(math.ceil(part.x + part.width), image.width)
        bottom = min(math.ceil(part.y + part.height), image.height)
        frame = Frame(left, top, right - left, bottom - top)
        fits = 0 < frame.width <= MAX_PART_PX and 0 < frame.height <= MAX_PART_PX
        if fits and len(found) < MAX_PARTS and all(frame != known for known, _ in found):
            found.append((frame, _uri(image.crop((left, top, right, bottom)))))
    image.thumbnail((limit, limit))
    return Shown(_uri(image, small=max_side is not None), image.width, tuple(found))


def thumbnail(picture: Picture) -> str:
    """Give a picture as it is seen at a glance, as a data URI. Raises `MissingExtraError` without Pillow."""
    image = _image_of(picture, "a page with pictures")
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _data_uri(_encode(image, "JPEG", quality=70), "jpeg")


def _uri(image: Any, *, small: bool = False) -> str:
    if small:
        return _data_uri(_encode(image, "JPEG", quality=75), "jpeg")
    encoded = _encode(image, "PNG")
    if len(encoded) > MAX_PNG_BYTES:
        return _data_uri(_encode(image, "JPEG", quality=88), "jpeg")
    return _data_uri(encoded, "png")


def _data_uri(encoded: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"


def _image_of(picture: Picture, purpose: str) -> Any:
    return need("PIL.Image", "Pillow", purpose).fromarray(np.ascontiguousarray(picture))


def _encode(image: Any, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, optimize=True, **options)
    return out.getvalue()
