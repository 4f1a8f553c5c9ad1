"""Picture files as they go to the host: encoded, undecoded, with what their header says of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from procvision_sdk.errors import CallRefusedError, ErrorCode, ProcVisionError
from procvision_sdk.images import jpeg, png
from procvision_sdk.images.files import ENCODED_SLACK_BYTES, MAX_ENCODED_BYTES_A_PIXEL
from procvision_sdk.images.meta import MAX_PIXELS, ColorSpace, Encoding
from procvision_sdk.images.picture import Picture
from procvision_sdk.regular_files import opened_regular, read_regular, read_start
from procvision_tools.names import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_sdk.images.view import RgbArray

MAX_FILE_BYTES = MAX_PIXELS * MAX_ENCODED_BYTES_A_PIXEL + ENCODED_SLACK_BYTES
"""No encoded picture within the protocol's bound has more."""
_SAMPLED = 8
"""So many pictures of 16 bits are looked into."""
_USUAL_BITS = (10, 12, 14)
"""Of cameras whose samples are written into 16."""
_START_BYTES = 64 * 1024
"""Where a header mostly ends; one that doesn't is read with the whole file."""


class PictureFileError(ProcVisionError):
    """A file holds no picture that could be sent."""

    error_code = ErrorCode.IMAGE_LOAD_FAILED


class UnreadFileError(PictureFileError):
    """A file can't be read: it is gone, or its place doesn't answer. Of the picture this says nothing."""


@frozen
class Header:
    """What a file says of its picture before a pixel is decoded."""

    width: int
    height: int
    color_space: ColorSpace
    encoding: Encoding
    bits: int
    """Of a sample."""
    orientation: int
    """EXIF's, 1 to 8. It is not applied: the pixels are what the camera saw."""


@frozen
class PictureFile:
    """An encoded picture: its bytes, size in pixels, ``RGB`` or ``MONO``, and ``jpeg`` or ``png``."""

    path: Path
    data: bytes = field(repr=False)
    header: Header

    @property
    def width(self) -> int:
        """In pixels."""
        return self.header.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.header.height

    def picture(self, bits: int | None = None) -> Picture:
        """Give it as a call takes it. Raises PictureFileError for a size that no picture has.

        Of samples of 16 bits ``bits`` are used, where it is given; a file of 8 bits has nothing to choose.
        """
        told = self.header
        try:
            return Picture.encoded(
                self.data,
                told.width,
                told.height,
                told.color_space,
                encoding=told.encoding,
                bits=bits if told.bits > 8 else None,
            )
        except ValueError as error:
            raise PictureFileError(f"{shown(self.path)}: {error}") from error

    def pixels(self, bits: int | None = None) -> RgbArray:
        """Decode it as the host does: H x W x 3 uint8 RGB, read-only. Raises CallRefusedError."""
        from procvision_sdk.images.decode import decode
        from procvision_sdk.images.meta import ImageMeta

        told = self.header
        return decode(
            self.data,
            ImageMeta(
                width=told.width,
                height=told.height,
                color_space=told.color_space,
                encoding=told.encoding,
                bits=bits if told.bits > 8 else None,
            ),
        )


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

    def picture(self, bits: int | None = None) -> Picture:  # noqa: ARG002 - a camera says its own
        """Give it as a call takes it."""
        return self.taken

    def seen(self) -> NDArray[np.uint8]:
        """Give it as the algorithm sees it: H x W or H x W x 3 RGB uint8, of more than 8 bits the upper 8."""
        from procvision_sdk.images.view import high_bits

        pixels: Any = self.taken.pixels
        return pixels if self.taken.bits is None else high_bits(pixels, self.taken.bits)


def load(path: Path) -> PictureFile:
    """Read a JPEG or PNG file and its header.

    Raises UnreadFileError where it can't be read, PictureFileError where it has no whole header of either kind.
    """
    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise UnreadFileError(f"{shown(path)} can't be read: {error.strerror or error}") from error
    return PictureFile(path, data, header_of(path, data))


def look(path: Path) -> Header:
    """Read a file's header, and of the rest as little as possible. Raises PictureFileError as `load` does."""
    try:
        with opened_regular(path) as (descriptor, status):
            start = read_start(descriptor, _START_BYTES)
    except OSError as error:
        raise UnreadFileError(f"{shown(path)} can't be read: {error.strerror or error}") from error
    try:
        return header_of(path, start)
    except PictureFileError:
        if len(start) >= status.st_size:
            raise
        return load(path).header


def check_reference(path: Path | None) -> None:
    """Raise PictureFileError for a reference that is no picture, before anything is inspected with it."""
    if path is not None:
        look(path)


def unused_bits(paths: Iterable[Path], bits: int | None) -> tuple[str, ...]:
    """Give a note where grey PNGs of 16 bits a sample use fewer, and nobody said so: they are seen nearly black.

    Looks at the first few of them. Nothing is guessed: what uses the lower bits alone may be dark.
    """
    highest, seen = 0, 0
    for path in paths if bits is None else ():
        try:
            header = look(path)
            if header.bits == 16 and header.color_space == "MONO":
                highest, seen = max(highest, int(load(path).pixels().max())), seen + 1
        except (PictureFileError, CallRefusedError):
            continue
        if seen == _SAMPLED:
            break
    used = 8 + highest.bit_length()
    fitting = next((likely for likely in _USUAL_BITS if likely >= used), None)
    if not highest or fitting is None:
        return ()
    return (
        f"grey PNGs with 16 bits a sample use the lowest {used} alone: of a {fitting}-bit camera? --bits {fitting}",
    )


def header_of(path: Path, data: bytes) -> Header:
    """Read the header of a file's first bytes; ``path`` is what errors name. Raises PictureFileError."""
    try:
        if data.startswith(png.SIGNATURE):
            found = png.header_of(data)
            mono = found.mono
            return Header(found.width, found.height, "MONO" if mono else "RGB", "png", found.bits, found.orientation)
        if data.startswith(jpeg.START):
            told = jpeg.header_of(data)
            mono = told.components == 1
            return Header(told.width, told.height, "MONO" if mono else "RGB", "jpeg", told.bits, told.orientation)
    except ValueError as error:
        raise PictureFileError(f"{shown(path)} is damaged: {error}\nhint: save it again") from error
    start = data[:8].hex(" ") or "nothing"
    raise PictureFileError(
        f"{shown(path)} is no picture: JPEG and PNG are read, this starts with {start}"
        "\nhint: convert it, for example to PNG"
    )
