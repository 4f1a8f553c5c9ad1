"""Picture files as they go to the host: encoded, undecoded, with what their header says of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import field, frozen

from procvision_runner.images.picture import Picture
from procvision_sdk.errors import ErrorCode, ProcVisionError
from procvision_sdk.images.meta import ColorSpace, Encoding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_MONO = (0, 4)
"""Colour types of grey, and grey with alpha."""
_JPEG_START = b"\xff\xd8"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame header: SOF0 to SOF15 without DHT, JPG and DAC."""
_JPEG_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
"""Markers that no length follows."""


Header: TypeAlias = tuple[int, int, ColorSpace]
"""Width and height in pixels, and what a pixel is made of."""


class PictureFileError(ProcVisionError):
    """A file holds no picture that could be sent."""

    error_code = ErrorCode.IMAGE_LOAD_FAILED


@frozen
class PictureFile:
    """An encoded picture: its bytes, size in pixels, ``RGB`` or ``MONO``, and ``jpeg`` or ``png``."""

    path: Path
    data: bytes = field(repr=False)
    width: int
    height: int
    color_space: ColorSpace
    encoding: Encoding

    def picture(self) -> Picture:
        """Give it as a call takes it. Raises PictureFileError for a size that no picture has."""
        try:
            return Picture.encoded(self.data, self.width, self.height, self.color_space, encoding=self.encoding)
        except ValueError as error:
            raise PictureFileError(f"{self.path}: {error}") from error


@frozen(eq=False)
class Frame:
    """A picture that no file holds, a camera's."""

    name: str
    taken: Picture = field(repr=False)

    @property
    def height(self) -> int:
        """In pixels."""
        return self.taken.height

    @property
    def width(self) -> int:
        """In pixels."""
        return self.taken.width

    def picture(self) -> Picture:
        """Give it as a call takes it."""
        return self.taken

    def seen(self) -> NDArray[np.uint8]:
        """Give it as the algorithm sees it: H x W or H x W x 3 RGB uint8, of more than 8 bits the upper 8."""
        from procvision_sdk.images.view import high_bits

        pixels: Any = self.taken.pixels
        return pixels if self.taken.bits is None else high_bits(pixels, self.taken.bits)


def load(path: Path) -> PictureFile:
    """Read a JPEG or PNG file and its header.

    Raises PictureFileError where it can't be read or has no whole header of either kind.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureFileError(f"{path} can't be read: {error.strerror or error}") from error
    encoding: Encoding
    if data.startswith(_PNG_SIGNATURE):
        found, encoding = _png_header(data), "png"
    elif data.startswith(_JPEG_START):
        found, encoding = _jpeg_header(data), "jpeg"
    else:
        start = data[:8].hex(" ") or "nothing"
        raise PictureFileError(
            f"{path} is no picture: JPEG and PNG are read, this starts with {start}"
            "\nhint: convert it, for example to PNG"
        )
    if found is None:
        raise PictureFileError(
            f"{path} is damaged: no whole {encoding.upper()} header in its {len(data)} bytes\nhint: save it again"
        )
    return PictureFile(path, data, *found, encoding)


def _png_header(data: bytes) -> Header | None:
    if len(data) < 26 or data[12:16] != b"IHDR":
        return None
    width, height, _, colour_type = struct.unpack(">IIBB", data[16:26])
    return width, height, "MONO" if colour_type in _PNG_MONO else "RGB"


def _jpeg_header(data: bytes) -> Header | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_BARE:
            at += 2
            continue
        if marker in _JPEG_FRAMES:
            if at + 10 > len(data):
                return None
            height, width, components = struct.unpack(">HHB", data[at + 5 : at + 10])
            return width, height, "MONO" if components == 1 else "RGB"
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return None
