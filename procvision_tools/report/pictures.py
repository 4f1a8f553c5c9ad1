"""Pictures to and from bytes, through Pillow."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import write_private
from procvision_tools.extras import need
from procvision_tools.report.inspection import Picture
from procvision_tools.sources.picture_files import load

MAX_SIDE_PX = 2400
"""A page shows pictures no larger than that; the boxes keep the picture's own coordinates."""
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


def data_uri(picture: Picture) -> str:
    """Give a picture as a data URI, made smaller above `MAX_SIDE_PX`. Raises `MissingExtraError` without Pillow."""
    image = _image_of(picture, "a page with pictures")
    if max(image.size) > MAX_SIDE_PX:
        image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    encoded, kind = _encode(image, "PNG"), "png"
    if len(encoded) > MAX_PNG_BYTES:
        encoded, kind = _encode(image, "JPEG", quality=88), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"


def _image_of(picture: Picture, purpose: str) -> Any:
    return need("PIL.Image", "Pillow", purpose).fromarray(np.ascontiguousarray(picture))


def _encode(image: Any, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, optimize=True, **options)
    return out.getvalue()
