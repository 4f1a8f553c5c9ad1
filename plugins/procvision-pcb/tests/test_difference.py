"""What of a reference is too narrow for the edge tolerance."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_pcb.binarise import Mask, threshold_globally
from procvision_pcb.difference import TILE_PX, _middle, _ridges
from procvision_testing.boards import make_board

REACH_PX = 3


def narrow_lines() -> Mask:
    """Lines of 3 to 6 px that cross the tiles and run along where two of them meet."""
    mask = np.zeros((3 * TILE_PX + 7, 4 * TILE_PX + 30), np.uint8)
    for thickness, at in ((3, TILE_PX), (4, 2 * TILE_PX - 1), (5, 2 * TILE_PX + 20), (6, 3 * TILE_PX - 20)):
        cv2.line(mask, (20, at), (mask.shape[1] - 20, at), 255, thickness)
        cv2.line(mask, (at, 20), (at + 25, mask.shape[0] - 20), 255, thickness)
    return mask


def blots() -> Mask:
    noise = cv2.GaussianBlur(np.random.default_rng(5).random((200, 330)), (0, 0), 2.5)
    return np.where(noise > 0.5, np.uint8(255), np.uint8(0))


def tracks() -> Mask:
    return threshold_globally(make_board(640, 480, seed=11).picture, "dark", "board")[0]


@pytest.mark.parametrize("mask", [narrow_lines(), blots(), tracks()], ids=["lines", "blots", "tracks"])
def test_middles_found_in_tiles_are_those_of_the_whole_picture(mask: NDArray[np.uint8]) -> None:
    """Wherever the tiles meet."""
    size = 2 * REACH_PX + 1
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    far_enough = cv2.distanceTransform(mask, cv2.DIST_L2, 3) > 1.25
    expected = (mask > 0) & (opened == 0) & far_enough & _ridges(mask)
    assert np.count_nonzero(expected) > 20
    np.testing.assert_array_equal(_middle(mask, REACH_PX) > 0, expected)
