"""`image_meta`: what is accepted, and refusals that name the field and the bound."""

from __future__ import annotations

import pytest

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.meta import check_meta


def test_width_and_height_are_enough():
    """Everything else has a default."""
    meta = check_meta({"width": 4, "height": 3})
    assert (meta.color_space, meta.encoding, meta.raw_bytes) == ("RGB", "raw", 36)
    assert [check_meta({"width": 4, "height": 3, "bits": bits}).raw_bytes for bits in (8, 9, 16)] == [36, 72, 72]


def test_unknown_fields_are_ignored():
    """Old and new sides must be able to talk."""
    assert check_meta({"width": 4, "height": 3, "gain_db": 2.5, "color_space": "MONO"}).raw_bytes == 12


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"height": 3}, "width"),
        ({"width": "4", "height": 3}, "width"),
        ({"width": 4.5, "height": 3}, "width"),
        ({"width": True, "height": 3}, "width"),
        ({"width": None, "height": 3}, "width"),
        ({"width": 0, "height": 3}, "0 x 3"),
        ({"width": 4, "height": -3}, "4 x -3"),
        ({"width": 20_000, "height": 20_000}, "200000000"),
        ({"width": 2**62, "height": 2**62}, "200000000"),
        ({"width": 4, "height": 3, "color_space": "RGBA"}, "color_space"),
        ({"width": 4, "height": 3, "encoding": "bmp"}, "encoding"),
        ({"width": 4, "height": 3, "timestamp_ms": "now"}, "timestamp_ms"),
        ({"width": 4, "height": 3, "bits": 7}, "bits is 7"),
        ({"width": 4, "height": 3, "bits": 17}, "bits is 17"),
        ({"width": 4, "height": 3, "bits": 12.0}, "bits"),
    ],
)
def test_wrong_meta_is_refused(value, words):
    """1006, naming what is wrong."""
    with pytest.raises(CallRefusedError, match=words) as caught:
        check_meta(value)
    assert (caught.value.error_code, caught.value.kind) == ("1006", "image_meta")


def test_pixel_limit_is_a_setting():
    """And it is exact."""
    assert check_meta({"width": 10, "height": 10}, max_pixels=100).width == 10
    with pytest.raises(CallRefusedError):
        check_meta({"width": 10, "height": 10}, max_pixels=99)
