"""What a call says of its picture: `image_meta`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from procvision_sdk.errors import CallRefusedError, ErrorCode

ColorSpace: TypeAlias = Literal["RGB", "BGR", "MONO"]
Encoding: TypeAlias = Literal["raw", "jpeg", "png"]

MAX_PIXELS = 200_000_000
"""The protocol's default pixel limit: 200 megapixels."""

CHANNELS: Mapping[str, int] = {"RGB": 3, "BGR": 3, "MONO": 1}
MAX_BITS = 16


def raw_bytes(width: int, height: int, color_space: ColorSpace, bits: int | None = None) -> int:
    """Return how many bytes a picture takes when it isn't encoded: a sample of more than 8 bits takes two."""
    return width * height * CHANNELS[color_space] * (2 if bits is not None and bits > 8 else 1)


class ImageMeta(msgspec.Struct, kw_only=True, frozen=True):
    """`width` and `height` in pixels, `timestamp_ms` in Unix milliseconds. Fields it doesn't know are ignored."""

    width: int
    height: int
    timestamp_ms: int | None = None
    camera_id: str | None = None
    color_space: ColorSpace = "RGB"
    encoding: Encoding = "raw"
    bits: int | None = None
    """How many bits of a sample are used, 8 to 16. None: 8 where it is raw, else what the file says."""

    @property
    def channels(self) -> int:
        """Samples a pixel, as they lie in memory."""
        return CHANNELS[self.color_space]

    @property
    def raw_bytes(self) -> int:
        """How many bytes the picture takes when it isn't encoded."""
        return raw_bytes(self.width, self.height, self.color_space, self.bits)


def check_meta(value: Mapping[str, Any], max_pixels: int = MAX_PIXELS) -> ImageMeta:
    """`image_meta` as a typed object.

    Raises CallRefusedError (1006, kind `image_meta`) naming the field, the bound and the value.
    """
    try:
        meta = msgspec.convert(value, ImageMeta)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from None
    if meta.width < 1 or meta.height < 1:
        raise _refused(f"width and height are at least 1 pixel, these are {meta.width} x {meta.height}")
    if meta.bits is not None and not 8 <= meta.bits <= MAX_BITS:
        raise _refused(f"bits is {meta.bits}: a sample has 8 to {MAX_BITS}")
    if meta.width * meta.height > max_pixels:
        raise _refused(
            f"{meta.width} x {meta.height} pixels are more than the limit of {max_pixels}; "
            "hint: the host's option --max-megapixels raises it"
        )
    return meta


def _refused(text: str) -> CallRefusedError:
    return CallRefusedError(ErrorCode.INVALID_PARAMS, "image_meta", f"image_meta: {text}")
