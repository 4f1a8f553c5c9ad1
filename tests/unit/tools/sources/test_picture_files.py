"""What a picture file's header says of it."""

from __future__ import annotations

import io
import os
import re

import numpy as np
import pytest

from procvision_tools.sources.picture_files import PictureFileError, load, look, unused_bits

Image = pytest.importorskip("PIL.Image", reason="Pillow makes the files")


def saved(path, mode, kind, **options):
    out = io.BytesIO()
    Image.new(mode, (33, 21)).save(out, kind, **options)
    path.write_bytes(out.getvalue())
    return path


@pytest.mark.parametrize(
    ("mode", "kind", "options", "color_space"),
    [
        ("L", "JPEG", {}, "MONO"),
        ("RGB", "JPEG", {}, "RGB"),
        ("RGB", "JPEG", {"progressive": True}, "RGB"),
        ("RGB", "JPEG", {"exif": b"Exif\x00\x00" + b"\xff\xc0" * 300}, "RGB"),
        ("CMYK", "JPEG", {}, "RGB"),
        ("L", "PNG", {}, "MONO"),
        ("LA", "PNG", {}, "MONO"),
        ("I;16", "PNG", {}, "MONO"),
        ("RGB", "PNG", {}, "RGB"),
        ("RGBA", "PNG", {}, "RGB"),
        ("P", "PNG", {}, "RGB"),
    ],
)
def test_the_header_tells_size_and_channels(mode, kind, options, color_space, tmp_path):
    file = load(saved(tmp_path / "p", mode, kind, **options))
    told = file.header
    assert (file.width, file.height, told.color_space, told.encoding) == (33, 21, color_space, kind.lower())
    assert look(tmp_path / "p") == told
    assert file.data == (tmp_path / "p").read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_header_cut_anywhere_is_an_error(kind, tmp_path):
    whole = saved(tmp_path / "p", "L", kind).read_bytes()
    for length in range(24):
        (tmp_path / "p").write_bytes(whole[:length])
        with pytest.raises(PictureFileError):
            load(tmp_path / "p")


def test_another_format_is_named_by_its_first_bytes(tmp_path):
    with pytest.raises(PictureFileError, match=r"p is no picture.*starts with 42 4d[^\n]*\nhint: convert it"):
        load(saved(tmp_path / "p", "L", "BMP"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(PictureFileError, match="starts with nothing"):
        load(tmp_path / "empty")


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(PictureFileError, match="can't be read"):
        load(tmp_path)


def test_a_header_behind_a_long_profile_is_found_by_a_look_too(tmp_path):
    file = saved(tmp_path / "p", "RGB", "JPEG", icc_profile=bytes(200_000))
    assert (look(file).width, look(file).height) == (33, 21)


def test_a_name_that_is_no_text_is_told_by_escapes(tmp_path):
    path = tmp_path / os.fsdecode(b"2\xe4.png")
    path.write_bytes(b"nothing")
    with pytest.raises(PictureFileError) as raised:
        load(path)
    assert "2\\xe4.png is no picture" in str(raised.value)
    str(raised.value).encode()


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.png")
    for read in (load, look):
        with pytest.raises(PictureFileError, match=r"p\.png can't be read: it is no regular file"):
            read(tmp_path / "p.png")


@pytest.mark.parametrize(
    ("highest", "kind", "told"),
    [
        (4095, np.uint16, "the lowest 12 alone: of a 12-bit camera\\? --bits 12"),
        (2100, np.uint16, "the lowest 12 alone"),
        (1023, np.uint16, "--bits 10"),
        (16383, np.uint16, "--bits 14"),
        (16384, np.uint16, None),
        (65535, np.uint16, None),
        (255, np.uint16, None),
        (15, np.uint8, None),
    ],
)
def test_deep_pictures_that_use_the_low_bits_alone_are_told(highest, kind, told, tmp_path):
    paths = []
    for number in range(3):
        pixels = np.zeros((6, 7), kind)
        pixels[2, number] = highest
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    (tmp_path / "x.png").write_bytes(b"no picture")
    notes = unused_bits([tmp_path / "x.png", *paths], None)
    assert bool(notes) == bool(told)
    assert told is None or re.search(told, notes[0])
    assert unused_bits(paths, 12) == ()
