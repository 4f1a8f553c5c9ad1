"""A picture on its way to a host: pixels, or an encoded file that the host decodes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, cast

import attrs

from procvision_sdk.images.meta import MAX_BITS, MAX_PIXELS, ColorSpace, Encoding, raw_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_sdk.calling import CallImage, LentPicture

    Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

Description: TypeAlias = tuple[int, int, ColorSpace, Encoding, int, int | None]
"""Width, height, color space, encoding, the payload's bytes, and the bits of a sample where they are more than 8."""

_OF_A_FILE = "read the file first; what OpenCV reads is BGR: Picture.of(cv2.imread(path), 'BGR')"
_HINTS = {
    "uint16": "Picture.of(picture, bits=12) says how many bits of a uint16 the camera uses",
    "str": _OF_A_FILE,
    "PosixPath": _OF_A_FILE,
    "list": "numpy.asarray(picture, numpy.uint8)",
}
"""What to do with what is no array of the right kind, by its name."""


@attrs.frozen(kw_only=True, eq=False)
class Picture:
    """A picture on its way to a host. `Picture.of`, `encoded` and `elsewhere` make one.

    Exactly one is set of `pixels` (H x W x 3 or H x W, uint8 or uint16), `data` (a file) and `shared_mem_id`.
    """

    width: int
    height: int
    color_space: ColorSpace
    encoding: Encoding = "raw"
    pixels: Pixels | None = None
    data: bytes | None = None
    bits: int | None = None
    """Of a sample; None for 8, and for a file of which all are used."""
    shared_mem_id: str | None = None
    """Of a picture that lies where the host can read it, and that the runner never sees."""

    @classmethod
    def of(cls, pixels: Pixels, color_space: ColorSpace | None = None, bits: int = 8) -> Picture:
        """Return an array's pixels as a picture: H x W x 3 uint8 (RGB, or BGR if so said), or H x W uint8 (MONO).

        With `bits`, 9 to 16, they are uint16, of which so many bits are used: the algorithm sees the 8 highest of them.
        Raises TypeError or ValueError for any other: 16 bits wrapped to 8 would be another picture.
        """
        if not 8 <= bits <= MAX_BITS:
            raise ValueError(f"a sample has 8 to {MAX_BITS} bits, this is {bits}")
        expected = "uint8" if bits == 8 else "uint16"
        if getattr(pixels, "dtype", None) != expected:
            kind = str(getattr(pixels, "dtype", type(pixels).__name__))
            hint = _HINTS.get(kind, f"picture.astype(numpy.{expected}), once its values are those of {bits} bits")
            raise TypeError(f"a picture of {bits} bits is an array of {expected}, this is {kind}; hint: {hint}")
        mono = pixels.ndim == 2
        if not mono and (pixels.ndim != 3 or pixels.shape[2] != 3):
            raise ValueError(f"a picture is H x W x 3 or H x W, this has the shape {pixels.shape}")
        if color_space is None:
            color_space = "MONO" if mono else "RGB"
        if (color_space == "MONO") != mono:
            raise ValueError(f"color_space {color_space} doesn't fit an array of shape {pixels.shape}")
        height, width = pixels.shape[:2]
        _check_size(width, height)
        return cls(width=width, height=height, color_space=color_space, pixels=pixels, bits=bits if bits > 8 else None)

    @classmethod
    def encoded(
        cls,
        data: bytes,
        width: int,
        height: int,
        color_space: ColorSpace = "RGB",
        encoding: Encoding = "jpeg",
        bits: int | None = None,
    ) -> Picture:
        """Return an encoded file as a picture, which the host decodes. Its header has `width` and `height`.

        Of a grey PNG with 16 bits a sample, `bits` says how many of them are used. Raises ValueError.
        """
        if encoding == "raw" or not data:
            raise ValueError(
                f"an encoded picture has bytes and is jpeg or png, this is {len(data)} bytes of {encoding}"
            )
        if bits is not None and not 8 <= bits <= MAX_BITS:
            raise ValueError(f"a sample has 8 to {MAX_BITS} bits, this is {bits}")
        _check_size(width, height)
        return cls(width=width, height=height, color_space=color_space, encoding=encoding, data=data, bits=bits)

    @classmethod
    def elsewhere(
        cls,
        shared_mem_id: str,
        width: int,
        height: int,
        color_space: ColorSpace = "RGB",
        encoding: Encoding = "raw",
        bits: int | None = None,
    ) -> Picture:
        """Return a picture that already lies where the host finds it, as `file:/mnt/line1/7.png`.

        It must stay there, unchanged, until the call is answered; nothing is copied, and no slot is taken.
        """
        if ":" not in shared_mem_id:
            raise ValueError(f"{shared_mem_id!r:.90} is no id: it begins with the scheme of a backend, as file:/PATH")
        _check_size(width, height)
        return cls(
            width=width,
            height=height,
            color_space=color_space,
            encoding=encoding,
            bits=bits,
            shared_mem_id=shared_mem_id,
        )

    @property
    def payload_bytes(self) -> int:
        """How much of a slot it takes."""
        if self.data is not None:
            return len(self.data)
        return raw_bytes(self.width, self.height, self.color_space, self.bits)

    @property
    def described(self) -> Description:
        """What a slot's header says of it."""
        return (self.width, self.height, self.color_space, self.encoding, self.payload_bytes, self.bits)


class DescribedPicture(Protocol):
    """What `image_meta` says of a picture, wherever it lies."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def color_space(self) -> ColorSpace:
        """How the channels lie."""

    @property
    def encoding(self) -> Encoding:
        """`raw`, or the file's."""

    @property
    def bits(self) -> int | None:
        """Of a sample; None for 8, and for a file."""


def is_lent(image: CallImage) -> TypeGuard[LentPicture]:
    """Return whether an image is memory that a runner lent, of whatever runner."""
    return hasattr(image, "array") and hasattr(image, "release")


def as_picture(image: CallImage) -> Picture:
    """Return an array, or the array of a lent picture, as a Picture. Raises TypeError or ValueError for no picture."""
    if isinstance(image, Picture):
        return image
    if is_lent(image):
        return Picture.of(image.array, image.color_space, image.bits or 8)
    return Picture.of(cast("Pixels", image))


def image_meta(picture: DescribedPicture, camera_id: str | None, timestamp_ms: int | None) -> dict[str, Any]:
    """Return what a call says of its picture. The time is now where none is given."""
    meta: dict[str, Any] = {
        "width": picture.width,
        "height": picture.height,
        "timestamp_ms": time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms,
        "color_space": picture.color_space,
    }
    if picture.encoding != "raw":
        meta["encoding"] = picture.encoding
    if picture.bits is not None:
        meta["bits"] = picture.bits
    if camera_id is not None:
        meta["camera_id"] = camera_id
    return meta


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"a picture has 1..{MAX_PIXELS} pixels, this is {width} x {height}")
