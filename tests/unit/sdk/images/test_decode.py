"""JPEG and PNG: right pixels by the stated rules, and an error for whatever is cut or damaged."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.decode import decode
from procvision_sdk.images.meta import ImageMeta

Image = pytest.importorskip("PIL.Image", reason="PNG needs Pillow")
pytest.importorskip("simplejpeg", reason="JPEG needs simplejpeg")

WIDTH, HEIGHT = 96, 64
_ROWS, _COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
SMOOTH = np.stack([_COLUMNS * 2, _ROWS * 3, 255 - _COLUMNS * 2], axis=2).astype(np.uint8)


def meta(encoding: str, width: int = WIDTH, height: int = HEIGHT, bits: int | None = None) -> ImageMeta:
    return ImageMeta(width=width, height=height, encoding=encoding, bits=bits)


def encoded(picture, form: str, **options) -> bytes:
    out = BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


JPEG = encoded(Image.fromarray(SMOOTH), "JPEG", quality=95, subsampling=0)
GREY_JPEG = encoded(Image.fromarray(SMOOTH[:, :, 0]), "JPEG", quality=95)
PNG = encoded(Image.fromarray(SMOOTH), "PNG")


def kind_of(data: bytes, form: str, **size: int) -> str:
    with pytest.raises(CallRefusedError) as caught:
        decode(data, meta(form, **size))
    assert caught.value.error_code == "1002"
    return caught.value.kind


def test_png_is_exact_and_read_only():
    """No pixel differs, none can be changed."""
    array = decode(PNG, meta("png"))
    np.testing.assert_array_equal(array, SMOOTH)
    assert not array.flags.writeable


def test_jpeg_is_close_and_read_only():
    """As close as JPEG is, in the order RGB."""
    array = decode(JPEG, meta("jpeg"))
    assert array.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(array.astype(int) - SMOOTH).max() < 12
    assert not array.flags.writeable


def test_grey_becomes_three_equal_channels():
    """In both formats."""
    grey = Image.fromarray(SMOOTH[:, :, 0])
    for form in ("jpeg", "png"):
        array = decode(encoded(grey, form.upper()), meta(form))
        assert (array[:, :, 0] == array[:, :, 1]).all()
        assert (array[:, :, 0] == array[:, :, 2]).all()
        assert np.abs(array[:, :, 0].astype(int) - SMOOTH[:, :, 0]).max() < 12


def test_grey_jpeg_is_one_channel_seen_three_times():
    """As a raw MONO picture is: an algorithm that wants the brightness has nothing to convert."""
    array = decode(GREY_JPEG, meta("jpeg"), bytearray(WIDTH * HEIGHT * 3))
    assert array.shape == (HEIGHT, WIDTH, 3)
    assert array.strides[2] == 0
    assert not array.flags.writeable


def test_alpha_is_dropped():
    """The colour below a transparent pixel stays what it is."""
    alpha = np.dstack([SMOOTH, np.zeros((HEIGHT, WIDTH), np.uint8)])
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(alpha), "PNG"), meta("png")), SMOOTH)


def test_palette_is_looked_up():
    """Indexes are no pixels."""
    palette = Image.fromarray(SMOOTH).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode(encoded(palette, "PNG"), meta("png")), expected)


def test_sixteen_bits_become_their_high_byte():
    """0x1234 is 0x12, and nothing wraps."""
    deep = (np.arange(HEIGHT * WIDTH, dtype=np.uint32) * 11 % 65536).astype(np.uint16).reshape(HEIGHT, WIDTH)
    array = decode(encoded(Image.fromarray(deep), "PNG"), meta("png"))
    np.testing.assert_array_equal(array[:, :, 1], (deep >> 8).astype(np.uint8))


def test_of_a_grey_png_fewer_bits_may_be_used():
    """As a camera of 12 bits writes it; the 8 highest of those are seen, and what has more is refused."""
    deep = (np.arange(HEIGHT * WIDTH, dtype=np.uint32) * 11 % 4096).astype(np.uint16).reshape(HEIGHT, WIDTH)
    seen = decode(encoded(Image.fromarray(deep), "PNG"), meta("png", bits=12))
    np.testing.assert_array_equal(seen[:, :, 1], (deep >> 4).astype(np.uint8))
    deep[3, 4] = 4096
    with pytest.raises(CallRefusedError, match="a sample is 4096, with 12 bits it is at most 4095") as raised:
        decode(encoded(Image.fromarray(deep), "PNG"), meta("png", bits=12))
    assert raised.value.kind == "image_mismatch"


@pytest.mark.parametrize(("encoding", "bits"), [("jpeg", 12), ("png", 16), ("png", 9)])
def test_bits_that_the_file_does_not_have_are_refused(encoding: str, bits: int):
    """A file of 8 bits is no picture of more."""
    data = encoded(Image.fromarray(SMOOTH), "JPEG" if encoding == "jpeg" else "PNG")
    assert decode(data, meta(encoding, bits=8)).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(CallRefusedError, match="has 8 bits a sample"):
        decode(data, meta(encoding, bits=bits))


def rgb16_png(pixels: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, written by hand: Pillow can't."""
    height, width, _ = pixels.shape

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bit_colour_becomes_its_high_byte():
    """The same rule for three channels."""
    deep = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    np.testing.assert_array_equal(decode(rgb16_png(deep), meta("png")), (deep >> 8).astype(np.uint8))


def test_cmyk_becomes_rgb():
    """White paper is white, full black is black, no cyan is no red's loss."""
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    array = decode(encoded(cmyk, "JPEG", quality=95), meta("jpeg"))
    assert np.abs(array.astype(int) - SMOOTH).mean() < 6


def test_exif_orientation_is_ignored():
    """The pixels are what the camera saw."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif, quality=95, subsampling=0)
    np.testing.assert_array_equal(decode(turned, meta("jpeg")), decode(JPEG, meta("jpeg")))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(("data", "form"), [(JPEG, "jpeg"), (GREY_JPEG, "jpeg"), (PNG, "png")])
def test_cut_picture_is_an_error(data, form, share):
    """Wherever it is cut; never a partly grey one."""
    assert kind_of(data[: int(len(data) * share)], form) == "image_damaged"


def test_picture_without_its_last_bytes_is_an_error():
    """The end marker and the last chunk are part of it."""
    assert kind_of(JPEG[:-2], "jpeg") == "image_damaged"
    assert kind_of(GREY_JPEG[:-2], "jpeg") == "image_damaged"
    assert kind_of(PNG[:-12], "png") == "image_damaged"


def test_any_changed_byte_of_a_png_is_an_error():
    """Its chunks have checksums: a sample of places all over the file."""
    for place in range(0, len(PNG), 37):
        damaged = bytearray(PNG)
        damaged[place] ^= 0x41
        assert kind_of(bytes(damaged), "png") in {"image_damaged", "image_mismatch"}


def test_other_formats_are_errors():
    """Even those that the libraries could read."""
    picture = Image.fromarray(SMOOTH)
    for form in ("BMP", "GIF", "TIFF"):
        assert kind_of(encoded(picture, form), "png") == "image_damaged"
        assert kind_of(encoded(picture, form), "jpeg") == "image_damaged"
    assert kind_of(PNG, "jpeg") == "image_damaged"
    assert kind_of(JPEG, "png") == "image_damaged"


@pytest.mark.parametrize(("data", "form"), [(JPEG, "jpeg"), (PNG, "png")])
def test_size_that_is_not_image_metas_is_an_error(data, form):
    """Before anything is decoded."""
    assert kind_of(data, form, width=WIDTH + 1) == "image_mismatch"
    assert kind_of(data, form, height=HEIGHT - 1) == "image_mismatch"


def test_decompression_bomb_is_refused_by_its_header():
    """A few hundred bytes that claim 60,000 x 60,000 pixels are never unpacked."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")):
        bomb += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    assert kind_of(bomb, "png") == "image_mismatch"
