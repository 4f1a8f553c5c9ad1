"""Raw pixels as an array: right colours, no copy, no writing."""

from __future__ import annotations

import numpy as np
import pytest

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.view import deep_rgb, rgb_view

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


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize(("color_space", "channels"), [("RGB", 3), ("BGR", 3), ("MONO", 1)])
def test_of_deep_samples_the_highest_eight_of_the_used_bits_are_seen(bits, color_space, channels):
    """Dark stays dark, the brightest is 255, nothing wraps, and the order of channels is right."""
    top = 2**bits - 1
    deep = np.linspace(0, top, HEIGHT * WIDTH * channels).round().astype("<u2").reshape(HEIGHT, WIDTH, channels)
    seen = deep_rgb(b"x" * 3 + deep.tobytes(), WIDTH, HEIGHT, color_space, bits, 3)
    expected = np.array([[[int(v) * 256 // (top + 1) for v in pixel] for pixel in row] for row in deep], np.uint8)
    expected = expected[:, :, ::-1] if color_space == "BGR" else np.broadcast_to(expected, (HEIGHT, WIDTH, 3))
    np.testing.assert_array_equal(seen, expected)
    assert (seen.min(), seen.max()) == (0, 255)
    assert not seen.flags.writeable


@pytest.mark.parametrize("bits", range(9, 16))
def test_a_sample_with_more_bits_than_are_used_is_refused(bits):
    """It is the picture of another camera, or none."""
    deep = np.full(HEIGHT * WIDTH, 2**bits, "<u2")
    with pytest.raises(CallRefusedError, match=f"a sample is {2**bits}, with {bits} bits it is at most {2**bits - 1}"):
        deep_rgb(deep.tobytes(), WIDTH, HEIGHT, "MONO", bits)
