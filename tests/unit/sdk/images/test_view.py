"""Raw pixels as an array: right colours, no copy, no writing."""

from __future__ import annotations

import numpy as np
import pytest

from procvision_sdk.images.view import rgb_view

WIDTH, HEIGHT = 5, 3
RGB = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
MONO = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("color_space", "memory", "expected"),
    [
        ("RGB", RGB, RGB),
        ("BGR", RGB[:, :, ::-1], RGB),
        ("MONO", MONO, np.stack([MONO] * 3, axis=2)),
    ],
)
def test_view_is_rgb(color_space, memory, expected):
    """Whatever the order in memory."""
    view = rgb_view(bytes(8) + memory.tobytes(), WIDTH, HEIGHT, color_space, offset=8)
    assert view.shape == (HEIGHT, WIDTH, 3)
    assert view.dtype == np.uint8
    np.testing.assert_array_equal(view, expected)


@pytest.mark.parametrize("color_space", ["RGB", "BGR", "MONO"])
def test_view_shares_memory_and_is_read_only(color_space):
    """What changes below it is seen through it; through it nothing can be changed."""
    memory = bytearray(HEIGHT * WIDTH * 3)
    view = rgb_view(memoryview(memory), WIDTH, HEIGHT, color_space)
    memory[:] = b"\x07" * len(memory)
    assert (view == 7).all()
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0] = 1


def test_view_of_too_little_memory_is_refused():
    """It never reads outside."""
    with pytest.raises(ValueError, match="smaller than requested"):
        rgb_view(bytes(HEIGHT * WIDTH * 3 - 1), WIDTH, HEIGHT, "RGB")
