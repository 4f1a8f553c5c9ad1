"""Pictures laid on their reference."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from procvision_pcb.motion import BAND_PX, warped_locally


@pytest.mark.parametrize("size", [(2 * BAND_PX + 21, 170), (BAND_PX - 20, 90)], ids=["bands", "less than one"])
def test_a_local_warp_is_the_same_in_every_band(size: tuple[int, int]) -> None:
    """As if each pixel's place were worked out alone: the field between its cells' middles, then the affine motion."""
    height, width = size
    random = np.random.default_rng(3)
    image = cv2.GaussianBlur(random.integers(0, 256, size).astype(np.float32), (0, 0), 3.0)
    matrix = np.array([[1.01, 0.03, -2.5], [-0.02, 0.99, 3.25]])
    field = random.uniform(-4, 4, (5, 6, 2)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    added = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    places = [matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] + added[:, :, row] for row in (0, 1)]
    expected = cv2.remap(
        image, *(each.astype(np.float32) for each in places), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.abs(warped_locally(image, matrix, field) - expected).max() < 0.5
