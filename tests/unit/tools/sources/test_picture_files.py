"""What a picture file's header says of it."""

from __future__ import annotations

import io

import pytest

from procvision_tools.sources.picture_files import PictureFileError, load

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
    assert (file.width, file.height, file.color_space, file.encoding) == (33, 21, color_space, kind.lower())
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
