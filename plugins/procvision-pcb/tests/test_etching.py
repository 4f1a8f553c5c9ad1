"""Copper that is thinner or thicker all over is told from a board that lies elsewhere, and from defects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_pcb.binarise import Mask
from procvision_pcb.compare import Reference
from procvision_pcb.difference import ToleratedReference
from procvision_pcb.errors import NotComparableError
from procvision_pcb.etching import Edges
from procvision_testing.boards import make_board

SQUARE = np.ones((3, 3), np.uint8)
STILL = np.eye(2, 3)


def comb(seed: int) -> Mask:
    """Copper from the left, with teeth: most edges face right, none left, some up and as many down."""
    random = np.random.default_rng(seed)
    copper = np.zeros((400, 400), np.uint8)
    copper[:, :150] = 255
    for top in range(20, 400, 100):
        copper[top : top + 50, : int(random.integers(180, 240))] = 255
    return copper


def grown(copper: Mask, px: int) -> Mask:
    change = cv2.dilate if px > 0 else cv2.erode
    return np.asarray(change(copper, SQUARE, iterations=abs(px)), dtype=np.uint8)


def edges(copper: Mask) -> Edges:
    return Edges(copper, ToleratedReference(copper, 2).edge)


def shifted(copper: Mask, right: int, down: int) -> Mask:
    moved = np.float64([[1, 0, right], [0, 1, down]])
    return np.asarray(cv2.warpAffine(copper, moved, copper.shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def picture(copper: Mask) -> NDArray[np.uint8]:
    return np.asarray(255 - copper, dtype=np.uint8)


@pytest.mark.parametrize("px", [-3, -2, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_found_where_a_shift_would_do_for_most_edges(seed: int, px: int) -> None:
    """The picture was laid on the reference by that shift."""
    copper = comb(seed)
    assert edges(copper).inward_px(shifted(grown(copper, px), -px, 0), STILL) == pytest.approx(-px, abs=0.7)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (-4, 2), (0, -5)])
def test_a_shift_is_no_distance(right: int, down: int) -> None:
    """Whichever way most edges face."""
    copper = comb(7)
    assert edges(copper).inward_px(shifted(copper, right, down), STILL) == 0.0


def test_defects_are_no_distance() -> None:
    """Bites into a third of all edges, which no distance explains."""
    copper = comb(3)
    bitten = copper.copy()
    for row in range(20, 400, 40):
        cv2.circle(bitten, (int(np.flatnonzero(copper[row])[-1]), row), 8, 0, -1)
    assert edges(copper).inward_px(bitten, STILL) == 0.0


def test_a_reference_with_hardly_an_edge_says_nothing() -> None:
    """A picture with copper in one corner, and one with none at all inside the border."""
    for size in (12, 2):
        copper = np.zeros((200, 200), np.uint8)
        copper[:size, :size] = 255
        assert edges(copper).inward_px(grown(copper, 3), STILL) == 0.0


@pytest.mark.parametrize("px", [-3, 3])
@pytest.mark.parametrize("seed", range(3))
def test_an_etched_board_is_refused_with_how_far_its_edges_lie_in_or_out(seed: int, px: int) -> None:
    """Where its edges face one way, too, and never NG."""
    copper = comb(seed)
    with pytest.raises(NotComparableError, match=r"copper's edges lie [2-4]\.\d px (inside|outside)") as refused:
        Reference(picture(copper)).compare(picture(grown(copper, px)))
    assert refused.value.reason == "edges"


def test_an_etched_board_with_defects_keeps_them() -> None:
    """The distance explains the edges, not the bites: within the bound they are found as on any other board."""
    board = make_board(640, 640, seed=77)
    etched = np.asarray(cv2.dilate(board.picture, SQUARE), dtype=np.uint8)
    cv2.circle(etched, (320, 320), 12, 255 - int(etched[320, 320]), -1)
    assert any(finding.score >= 0.5 for finding in Reference(board.picture).compare(etched).findings)
