"""JPEG and PNG to RGB, strictly: a cut or damaged picture is an error, never a partly grey one.

The rules: the encoded header must agree with `image_meta` before anything is decoded; alpha is dropped; 16 bits a
sample become 8 by taking the high byte, or of a grey PNG, where `image_meta.bits` says that fewer are used, the 8
highest of those; CMYK becomes RGB as R = C * K / 255 of the inverted inks that Adobe's
encoders store (ink values that are not inverted are inverted first); EXIF orientation is ignored, since the pixels
are what the camera saw; grey becomes three equal channels.
JPEG goes through libjpeg-turbo by simplejpeg in its strict mode, because other decoders paint what is missing grey
and say nothing; PNG goes through Pillow. What these let through is checked before, by `jpeg` and `png`: scans, rows
and palettes that never came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images import jpeg, png
from procvision_sdk.images.view import high_bits

if TYPE_CHECKING:
    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.view import RgbArray


def decode(data: bytes | memoryview, meta: ImageMeta, room: bytearray | None = None) -> RgbArray:
    """The picture as a read-only H x W x 3 uint8 RGB array: of its own memory, or in `room` where that can be used.

    `room` has H * W * 3 bytes; the caller sees to it that nothing else is read there as long as the array is in use.
    Raises CallRefusedError (1002) of kind `image_mismatch`, `image_damaged` or `decoder_missing`.
    """
    array = _decode_jpeg(data, meta, room) if meta.encoding == "jpeg" else _decode_png(bytes(data), meta)
    array.flags.writeable = False
    return array


def _decode_jpeg(data: bytes | memoryview, meta: ImageMeta, room: bytearray | None) -> RgbArray:
    try:
        import simplejpeg
    except ImportError:
        raise _missing("simplejpeg", "JPEG") from None
    raw = bytes(data)
    try:
        header = jpeg.check_whole(raw)
        height, width, color, _ = simplejpeg.decode_jpeg_header(raw, strict=True)
        _check_size(width, height, meta)
        _check_bits(meta, 8)
        if color in ("CMYK", "YCCK"):
            return _cmyk_to_rgb(simplejpeg.decode_jpeg(raw, "CMYK", strict=True), inverted=header.adobe)
        grey = color == "Gray"
        pixels = simplejpeg.decode_jpeg(raw, "GRAY" if grey else "RGB", strict=True, buffer=room)
    except ValueError as error:
        raise _damaged("JPEG", error) from None
    decoded: RgbArray = np.broadcast_to(pixels, (height, width, 3)) if grey else pixels
    return decoded


def _cmyk_to_rgb(cmyk: np.ndarray, *, inverted: bool) -> RgbArray:
    inks = cmyk.astype(np.uint16) if inverted else 255 - cmyk.astype(np.uint16)
    rgb: RgbArray = (inks[:, :, :3] * inks[:, :, 3:] // 255).astype(np.uint8)
    return rgb


def _decode_png(raw: bytes, meta: ImageMeta) -> RgbArray:
    try:
        header = png.header_of(raw)
        _check_size(header.width, header.height, meta)
        if not (header.bits == 16 and header.grey):
            _check_bits(meta, max(header.bits, 8))
        pixels = png.check_whole(raw)
    except png.PngError as error:
        raise _damaged("PNG", error) from None
    try:
        from io import BytesIO

        from PIL.PngImagePlugin import PngImageFile
    except ImportError:
        raise _missing("pillow", "PNG") from None
    # Opened as what it is: Image.open has a bound of its own, below that of image_meta, which was checked.
    try:
        with PngImageFile(BytesIO(pixels.pixel_chunks)) as picture:
            if picture.mode.startswith("I"):
                return _of_grey(high_bits(np.asarray(picture).astype(np.uint16), meta.bits or 16))
            if picture.mode == "P":
                _check_indexes(int(np.asarray(picture).max()), pixels.colours)
            elif header.mono:
                return _of_grey(np.asarray(picture if picture.mode == "L" else picture.convert("L")))
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise _damaged("PNG", error) from None


def _of_grey(grey: np.ndarray) -> RgbArray:
    """Return one channel, seen three times."""
    seen: RgbArray = np.broadcast_to(grey[:, :, np.newaxis], (*grey.shape, 3))
    return seen


def _check_indexes(highest: int, colours: int) -> None:
    if highest >= colours:
        raise _damaged("PNG", f"a pixel has the colour {highest} of a palette of {colours}, counted from 0")


def _check_size(width: int, height: int, meta: ImageMeta) -> None:
    if (width, height) != (meta.width, meta.height):
        raise CallRefusedError(
            ErrorCode.IMAGE_LOAD_FAILED,
            "image_mismatch",
            f"the encoded picture is {width} x {height}, image_meta says {meta.width} x {meta.height}: not decoded",
        )


def _check_bits(meta: ImageMeta, bits: int) -> None:
    if meta.bits not in (None, bits):
        raise CallRefusedError(
            ErrorCode.IMAGE_LOAD_FAILED,
            "image_mismatch",
            f"the encoded picture has {bits} bits a sample, image_meta says {meta.bits}; "
            "fewer than there are may be used of a grey PNG with 16",
        )


def _damaged(what: str, why: object) -> CallRefusedError:
    return CallRefusedError(ErrorCode.IMAGE_LOAD_FAILED, "image_damaged", f"this {what} is damaged: {why}")


def _missing(package: str, what: str) -> CallRefusedError:
    return CallRefusedError(
        ErrorCode.IMAGE_LOAD_FAILED,
        "decoder_missing",
        f"{what} pictures need the package {package}; hint: pip install 'procvision[images]'",
    )
