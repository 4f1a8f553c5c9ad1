"""What libjpeg and Pillow read without a word, though part of it never came; what they refuse, though it is whole."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images import jpeg, png
from procvision_sdk.images.decode import decode
from procvision_sdk.images.meta import ImageMeta

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
pytest.importorskip("simplejpeg", reason="JPEG needs simplejpeg")

WIDTH, HEIGHT = 61, 45
NOISE = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def seen(data: bytes, encoding: str, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return decode(data, ImageMeta(width=width, height=height, encoding=encoding))


def damaged(data: bytes, encoding: str) -> str:
    with pytest.raises(CallRefusedError) as caught:
        seen(data, encoding)
    assert caught.value.kind == "image_damaged"
    return str(caught.value)


# --- JPEG -------------------------------------------------------------------------------------------------------


def jpeg_of(pixels: np.ndarray = NOISE, mode: str | None = None, **options) -> bytes:
    out = BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(out, "JPEG", quality=92, **options)
    return out.getvalue()


def scans(data: bytes) -> list[int]:
    """Where each scan's marker stands."""
    return [start - 4 for marker, start, _ in jpeg._segments(data) if marker == 0xDA]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_scan_of_a_progressive_picture_must_have_come(mode):
    """Whatever scan it ends behind, with an end marker put there; all of them are the picture."""
    whole = jpeg_of(mode=mode, progressive=True)
    places = scans(whole)
    assert len(places) >= 6
    for place in places[1:]:
        assert "scans are missing" in damaged(whole[:place] + b"\xff\xd9", "jpeg")
    assert seen(whole, "jpeg").shape == (HEIGHT, WIDTH, 3)
    for at, place in enumerate(places[1:-1], 1):  # one from the middle: the rest came
        damaged(whole[:place] + whole[places[at + 1] :], "jpeg")


def test_a_plane_of_its_own_that_never_came_is_missed():
    """A sequential file may bring its colours one scan each."""
    whole = jpeg_of(mode="L")
    frame = next((start, end) for marker, start, end in jpeg._segments(whole) if marker == 0xC0)
    body = bytearray(whole[frame[0] : frame[1]])
    body[5] = 2
    body += bytes([9, 0x11, 0])
    two = whole[: frame[0] - 2] + struct.pack(">H", len(body) + 2) + bytes(body) + whole[frame[1] :]
    with pytest.raises(jpeg.JpegError, match="of 128 coefficients 64 never came"):
        jpeg.check_whole(two)


@pytest.mark.parametrize("tail", [b"\0", b"\xff", b"z" * 5000, b"\xff\xd8\xff\xe0" * 40_000, b"\xff\xd9\xff\xda"])
def test_what_lies_behind_the_end_marker_is_none_of_it(tail):
    """A camera maker's trailer, a second picture, of any length."""
    for options in ({}, {"progressive": True}):
        whole = jpeg_of(**options)
        np.testing.assert_array_equal(seen(whole + tail, "jpeg"), seen(whole, "jpeg"))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_picture_whose_trailer_holds_an_end_marker_is_damaged(share):
    """The end is where the scan ends, not where the marker's bytes are found."""
    whole = jpeg_of()
    cut = whole[: int(len(whole) * share)]
    damaged(cut, "jpeg")
    damaged(cut + b"TRAILER \xff\xd9", "jpeg")


@pytest.mark.parametrize(
    ("marker", "text"), [(0xFE, b"made with Adobe"), (0xE2, b"Adobe\0d\0\0\0\0\0\0\0"), (0xEE, b"Ado")]
)
def test_only_adobes_own_marker_says_that_inks_are_inverted(marker, text):
    """Not a text that names Adobe, nor another segment that begins so."""
    with_marker = jpeg_of(mode="CMYK")
    parts = list(jpeg._segments(with_marker))
    place, end = next((start - 4, end) for marker, start, end in parts if marker == 0xEE)
    other = bytes([0xFF, marker]) + struct.pack(">H", len(text) + 2) + text
    without = with_marker[:place] + other + with_marker[end:]
    assert (jpeg.check_whole(with_marker).adobe, jpeg.check_whole(without).adobe) == (True, False)
    plain = with_marker[:place] + with_marker[end:]
    np.testing.assert_array_equal(seen(without, "jpeg"), seen(plain, "jpeg"))
    # A long comment before it hides it from nobody.
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + b"c" * 60_000
    np.testing.assert_array_equal(seen(with_marker[:2] + comment + with_marker[2:], "jpeg"), seen(with_marker, "jpeg"))


def test_the_markers_of_arbitrary_bytes_are_an_error_and_nothing_else():
    """Whatever a file holds: JpegError, never another."""
    whole = jpeg_of(progressive=True)
    rng = np.random.default_rng(3)
    for _ in range(400):
        spoilt = bytearray(whole)
        for at in rng.integers(2, len(whole), 3):
            spoilt[at] = rng.integers(0, 256)
        for read in (jpeg.check_whole, jpeg.header_of):
            try:
                read(bytes(spoilt[: rng.integers(2, len(whole))]))
            except jpeg.JpegError as error:
                assert str(error)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_told(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert jpeg.header_of(jpeg_of(exif=exif)).orientation == orientation
    out = BytesIO()
    Image.fromarray(NOISE).save(out, "PNG", exif=exif)
    assert png.header_of(out.getvalue()).orientation == orientation


# --- PNG --------------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(rows: bytes, bits: int, color_type: int, *, interlace: int = 0, extra: tuple[bytes, ...] = ()) -> bytes:
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, color_type, 0, 0, interlace)
    return (
        png.SIGNATURE
        + chunk(b"IHDR", head)
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def rows_of(bits: int, color_type: int, interlace: int) -> bytes:
    head = png.PngHeader(WIDTH, HEIGHT, bits, color_type, bool(interlace))
    return bytes(head.row_bytes)


PALETTE = chunk(b"PLTE", bytes(range(12)))
KINDS = [(bits, kind) for kind, depths in png._DEPTHS.items() for bits in depths]


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("bits", "color_type"), KINDS)
def test_rows_that_never_came_are_missed_in_every_kind(bits, color_type, interlace):
    """Every CRC and the checksum of the data are right; the last byte is missing, or all but the first row."""
    extra = (PALETTE,) if color_type == 3 else ()
    rows = rows_of(bits, color_type, interlace)
    assert seen(png_of(rows, bits, color_type, interlace=interlace, extra=extra), "png").shape == (HEIGHT, WIDTH, 3)
    for cut in (len(rows) - 1, len(rows) // 2, 0):
        told = damaged(png_of(rows[:cut], bits, color_type, interlace=interlace, extra=extra), "png")
        assert f"there are {cut} of {len(rows)} bytes" in told
    more = png_of(rows + bytes(100_000), bits, color_type, interlace=interlace, extra=extra)
    assert seen(more, "png").max() <= 8


@pytest.mark.parametrize("order", ["none", "after"])
def test_a_palette_must_be_there_before_its_indexes(order):
    rows = rows_of(8, 3, 0)
    data = png_of(rows, 8, 3)
    if order == "after":
        data = data[: -len(chunk(b"IEND", b""))] + PALETTE + chunk(b"IEND", b"")
    assert "no palette" in damaged(data, "png")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ((chunk(b"PLTE", bytes(13)),), "its palette has 13 bytes"),
        ((chunk(b"PLTE", bytes(1)),), "its palette has 1 bytes"),
        ((chunk(b"PLTE", bytes(771)),), "its palette has 771 bytes"),
        ((PALETTE, PALETTE), "two palettes"),
    ],
)
def test_a_palette_is_whole_and_the_only_one(extra, told):
    """Of half a palette Pillow makes a black picture."""
    assert told in damaged(png_of(rows_of(8, 3, 0), 8, 3, extra=extra), "png")


def test_a_second_header_is_an_error():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0))
    assert "two headers" in damaged(png_of(rows_of(8, 2, 0), 8, 2, extra=(head,)), "png")


def test_an_index_beyond_the_palette_has_no_colour():
    rows = bytearray(rows_of(8, 3, 0))
    rows[1] = 4
    assert "the colour 4 of a palette of 4" in damaged(png_of(bytes(rows), 8, 3, extra=(PALETTE,)), "png")


@pytest.mark.parametrize("extra", [
    chunk(b"zTXt", b"Raw\0\0" + zlib.compress(bytes(4_000_000))),
    chunk(b"iCCP", b"broken\0\0" + b"no profile"),
    chunk(b"acTL", b"\0"),
    chunk(b"gAMA", b"\0\0\0\1"),
    chunk(b"pHYs", b""),
])  # fmt: skip
def test_what_is_no_pixel_keeps_no_picture_from_being_read(extra):
    """Pillow has bounds of its own for texts, and opinions on profiles."""
    rows = b"".join(b"\0" + row.tobytes() for row in NOISE)
    np.testing.assert_array_equal(seen(png_of(rows, 8, 2, extra=(extra,)), "png"), NOISE)


def test_a_chunk_that_must_be_understood_and_is_not_is_an_error():
    """As phones' pipelines write them: red and blue are exchanged there."""
    assert "CgBI" in damaged(png_of(rows_of(8, 2, 0), 8, 2, extra=(chunk(b"CgBI", b"\0" * 4),)), "png")


@pytest.mark.slow
def test_a_picture_just_under_the_protocols_bound_is_read():
    """196 megapixels: above 179, Pillow takes a file for an attack."""
    side = 14_000
    deflate = zlib.compressobj(9)
    data = b"".join(deflate.compress(b"\0" + b"\x80" * side) for _ in range(side)) + deflate.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    whole = png.SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    picture = seen(whole, "png", side, side)
    assert picture.shape == (side, side, 3)
    assert picture[-1, -1].tolist() == [128, 128, 128]
