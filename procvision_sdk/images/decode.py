"""JPEG and PNG to RGB, strictly: a cut or damaged picture is an error, never a partly grey one.

The rules: the encoded header must agree with `image_meta` before anything is decoded; alpha is dropped; 16 bits a
sample become 8 by taking the high byte, or of a grey PNG, where `image_meta.bits` says that fewer are used, the 8
highest of those; CMYK becomes RGB as R = C * K / 255 of the inverted inks that Adobe's
encoders store (ink values that are not inverted are inverted first); EXIF orientation is ignored, since the pixels
are what the camera saw; grey becomes three equal channels.
JPEG goes through libjpeg-turbo by simplejpeg in its strict mode, because other decoders paint what is missing grey
and say nothing. PNG goes through Pillow after every chunk's CRC was checked.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.view import high_bits

if TYPE_CHECKING:
    from PIL import Image

    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.view import RgbArray

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD = struct.Struct(">I4s")


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
        height, width, color, _ = simplejpeg.decode_jpeg_header(raw, strict=True)
        _check_size(width, height, meta)
        _check_bits(meta, 8)
        if color in ("CMYK", "YCCK"):
            return _cmyk_to_rgb(simplejpeg.decode_jpeg(raw, "CMYK", strict=True), inverted=b"Adobe" in raw[:4096])
        grey = color == "Gray"
        pixels = simplejpeg.decode_jpeg(raw, "GRAY" if grey else "RGB", strict=True, buffer=room)
    except ValueError as error:
        raise _damaged("JPEG", error) from None
    # libjpeg fills in what an abrupt end left out; an end marker is what tells a whole picture.
    if b"\xff\xd9" not in raw[-4096:]:
        raise _damaged("JPEG", "the end marker is missing")
    decoded: RgbArray = np.broadcast_to(pixels, (height, width, 3)) if grey else pixels
    return decoded


def _cmyk_to_rgb(cmyk: np.ndarray, *, inverted: bool) -> RgbArray:
    inks = cmyk.astype(np.uint16) if inverted else 255 - cmyk.astype(np.uint16)
    rgb: RgbArray = (inks[:, :, :3] * inks[:, :, 3:] // 255).astype(np.uint8)
    return rgb


def _decode_png(raw: bytes, meta: ImageMeta) -> RgbArray:
    width, height, depth, grey = _check_png_chunks(raw)
    _check_size(width, height, meta)
    if not (depth == 16 and grey):
        _check_bits(meta, max(depth, 8))
    try:
        from io import BytesIO

        from PIL import Image
    except ImportError:
        raise _missing("pillow", "PNG") from None
    # The size was checked against image_meta, whose pixels are limited: Pillow's own limit would only add another.
    try:
        with Image.open(BytesIO(raw), formats=("PNG",)) as picture:
            if picture.mode.startswith("I"):
                high = high_bits(np.asarray(picture).astype(np.uint16), meta.bits or 16)
                return np.repeat(high[:, :, np.newaxis], 3, axis=2)
            return np.asarray(_as_rgb(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged("PNG", error) from None


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture  # `convert` would copy it
    # A palette's transparency goes with its alpha, as a grey picture's does.
    return (picture.convert("RGBA") if picture.mode == "P" else picture).convert("RGB")


def _chunk_name(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")


def _check_png_chunks(raw: bytes) -> tuple[int, int, int, bool]:
    """Width, height, bits a sample and whether it is plain grey, once every chunk is whole and its CRC right."""
    if not raw.startswith(_PNG_SIGNATURE):
        raise _damaged("PNG", "the signature is missing")
    at = len(_PNG_SIGNATURE)
    header: tuple[int, int, int, bool] | None = None
    while True:
        if at + 12 > len(raw):
            raise _damaged("PNG", f"it is cut off at byte {len(raw)}")
        length, name = _CHUNK_HEAD.unpack_from(raw, at)
        end = at + 8 + length
        if end + 4 > len(raw):
            raise _damaged("PNG", f"it is cut off inside the chunk {_chunk_name(name)}")
        if zlib.crc32(memoryview(raw)[at + 4 : end]) != int.from_bytes(raw[end : end + 4], "big"):
            raise _damaged("PNG", f"the chunk {_chunk_name(name)} at byte {at} doesn't match its CRC")
        if header is None:
            if name != b"IHDR" or length != 13:
                raise _damaged("PNG", "it doesn't begin with its header")
            width, height, depth, color_type = struct.unpack_from(">IIBB", raw, at + 8)
            header = (width, height, depth, color_type == 0)
        if name == b"IEND":
            return header
        at = end + 4


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
